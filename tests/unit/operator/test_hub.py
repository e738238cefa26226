"""What a controller writes, another one hears of."""

from __future__ import annotations

from typing import Any

from arklex_operator.cluster.hub import Watch
from arklex_operator.cluster.store import Shelf
from arklex_operator.manifests.kinds import WORKER


def pool(version: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "n", "name": "w", "uid": "u", "resourceVersion": version}}


def test_a_state_that_our_own_write_has_shown_is_told_when_it_comes_back() -> None:
    heard: list[str] = []
    watch = Watch(Shelf(WORKER), changed=[lambda value: heard.append(value["metadata"]["resourceVersion"])])
    watch.take("ADDED", pool("5"))
    watch.shelf.put(pool("7"))
    watch.take("MODIFIED", pool("6"))
    assert heard == ["5"], "an older state is no news"
    watch.take("MODIFIED", pool("7"))
    assert heard == ["5", "7"]
    watch.take("DELETED", pool("7"))
    assert heard == ["5", "7", "7"]
