"""CEL in ``${…}`` (semantics.md, "Expressions")."""
