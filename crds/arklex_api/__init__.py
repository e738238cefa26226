"""The kinds of arklex.ai/v1alpha1, their lint and their CRDs. Imports no I/O library, nor operator or runtime."""
