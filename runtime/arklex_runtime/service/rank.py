"""Who acts first, without asking each other: rendezvous hashing over the replicas that live. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def rank(key: str, me: str, members: Sequence[str]) -> int:
    """The place of ``me`` among ``members`` for ``key``: 0 acts, the others wait their turn.

    When a member goes, only the keys it was first for change their first; one that is not a member counts as the last.
    """
    mine = _weight(key, me)
    return sum(1 for member in members if member != me and (_weight(key, member), member) > (mine, me))


def _weight(key: str, member: str) -> bytes:
    return hashlib.blake2b(f"{member}\0{key}".encode(), digest_size=8).digest()
