"""The external metrics API that the HPA asks."""
