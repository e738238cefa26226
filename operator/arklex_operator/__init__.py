"""The Kubernetes operator: handlers (kopf, thin) -> reconcile (pure) -> manifests (pure builders) -> cluster (only I/O)."""
