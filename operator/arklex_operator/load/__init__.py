"""Pure: a Worker's load, and what the HPA is told of it."""
