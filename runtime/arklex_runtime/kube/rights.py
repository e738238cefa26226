"""What the runtime's ServiceAccount needs of RBAC, exactly: in each namespace it watches, or in all."""

from __future__ import annotations

from arklex_api.base import GROUP

RULES: tuple[dict[str, list[str]], ...] = (
    {"apiGroups": [GROUP], "resources": ["workers"], "verbs": ["list", "watch"]},
    {"apiGroups": [GROUP], "resources": ["taskgraphs", "taskgraphruns"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [GROUP], "resources": ["taskgraphs/status", "taskgraphruns/status"], "verbs": ["patch"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
)
"""PolicyRules of a Role or ClusterRole. No create, update or delete of any object of ours, no Secrets."""
