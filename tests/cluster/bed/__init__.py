"""A real single-node Kubernetes for the tests, built from Go modules and run in a network namespace of its own.

``python -m tests.cluster.bed build | up | down | status``; nothing is pulled from a container registry.
"""
