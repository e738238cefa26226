"""The runtime's process: one replica that owns runs, and hands them over."""
