"""Versions of a TaskGraph: what ``spec.run`` runs once for each of them (cluster.md, "Runs").

The operator starts the run of a version, the runtime finds it again to say how far it is: both by what is here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from arklex_api.base import JSON
from arklex_api.objects import normalised

DIGEST = "arklex.ai/digest"
"""Annotation. Of a TaskGraph: its name, ``/`` and the digest of what its spec.run ran last; a backup keeps it, and a copy under
another name does not count it. Of a TaskGraphRun that was made for spec.run: the digest of the version that it runs."""

RERUN = "arklex.ai/rerun"
"""Annotation of a TaskGraph, a person's: another value makes another version."""

RUN_BY = ("input", "tasks", "finally", "output", "llm", "tools", "run")
"""Fields of a spec that a version depends on."""


def version_of(spec: Mapping[str, JSON], rerun: str | None) -> str:
    """The digest of the version that a TaskGraph's ``spec``, as the API server has it, and the annotation RERUN make."""
    return again(digest_of(spec), rerun)


def digest_of(spec: Mapping[str, JSON]) -> str:
    """The digest of what a run of ``spec`` depends on."""
    return _digest({key: spec[key] for key in RUN_BY if key in spec})


def again(digest: str, rerun: str | None) -> str:
    """The digest of the version that the token ``rerun`` makes of the same spec."""
    return _digest([digest, rerun]) if rerun else digest


def _digest(value: JSON) -> str:
    """SHA-256 of canonical JSON, hexadecimal: keys sorted, no spaces."""
    text = json.dumps(normalised(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def run_name(graph: str, uid: str, digest: str) -> str:
    """The name of the TaskGraphRun of a version of the TaskGraph called ``graph`` with this UID."""
    return f"{graph}-{uid[:8]}-{digest[:8]}"
