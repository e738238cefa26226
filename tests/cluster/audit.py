"""Who wrote what, as the API server's audit log of the bed says it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = ("create", "update", "patch", "delete", "deletecollection")
NOTHING_STORED = ("selfsubjectaccessreviews", "subjectaccessreviews", "tokenreviews", "token")
"""Resources and subresources whose creation is a question."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write that the API server carried out; ``what`` is the resource, with a subresource ``taskgraphs/status``."""

    at: datetime
    user: str
    verb: str
    what: str
    namespace: str
    name: str

    def __str__(self) -> str:
        account = self.user.removeprefix("system:serviceaccount:")
        return f"{self.at:%H:%M:%S} {account}: {self.verb} {self.what} {self.namespace}/{self.name}"


@dataclass
class Audit:
    """An audit log from where it ended when this was made."""

    log: Path
    start: int = 0

    def __post_init__(self) -> None:
        self.start = self.start or self.log.stat().st_size

    def writes(self, users: Iterable[str]) -> list[Write]:
        """The writes since then by users whose names begin with one of these, without renewals of leases."""
        prefixes = tuple(users)
        with self.log.open("rb") as file:
            file.seek(self.start)
            lines = file.read().splitlines()
        records = (
            json.loads(line) for line in lines if any(prefix.encode() in line for prefix in prefixes) and line[-1:] == b"}"
        )
        return [_write(one) for one in records if one["user"]["username"].startswith(prefixes) and _counts(one)]


def _counts(record: dict[str, Any]) -> bool:
    about = record.get("objectRef") or {}
    done = record["stage"] == "ResponseComplete" and record["responseStatus"].get("code", 500) < 300
    asked = about.get("resource") in NOTHING_STORED or about.get("subresource") in NOTHING_STORED
    return done and record["verb"] in WRITES and not asked and about.get("resource") != "leases"


def _write(record: dict[str, Any]) -> Write:
    about = record["objectRef"]
    what = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    at = datetime.fromisoformat(record["stageTimestamp"])
    return Write(at, record["user"]["username"], record["verb"], what, about.get("namespace", ""), about.get("name", ""))


def counted(writes: Iterable[Write]) -> dict[str, int]:
    """How many writes there were, by account, verb and resource."""
    found = Counter(f"{one.user.rpartition(':')[2]} {one.verb} {one.what}" for one in writes)
    return dict(sorted(found.items()))
