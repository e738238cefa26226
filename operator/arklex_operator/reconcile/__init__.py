"""Pure: from observed objects to what is to be applied, created, deleted and said."""
