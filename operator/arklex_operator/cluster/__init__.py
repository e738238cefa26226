"""All I/O of the operator: the API server, Redis' access lists, the Lease."""
