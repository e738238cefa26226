"""Tools: what tasks and models call by name."""
