"""The durable engine, pure: ``(program, state, event) -> commands``. No clock, no I/O, no randomness of its own."""
