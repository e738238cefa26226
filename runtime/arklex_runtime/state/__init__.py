"""Durable state: the journal of runs, sessions, caches, connection pools. See ``journal`` for the contract."""
