"""kopf's handlers: they wake reconciles and do nothing else."""
