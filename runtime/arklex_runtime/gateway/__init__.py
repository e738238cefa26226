"""The HTTP door of the runtime."""
