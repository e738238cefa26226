"""Attempts over Redis Streams, between the runtime and the worker pods (docs/decisions/0006)."""
