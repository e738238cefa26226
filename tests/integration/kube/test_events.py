"""Kubernetes events on a real API server: few, and counted where they repeat. Metrics of the link."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from arklex_runtime.kube.measures import LinkCollector
from tests.controlplane import ControlPlane
from tests.integration.kube.bed import Bed, call, eventually, graph, run, worker

pytestmark = pytest.mark.apiserver


@pytest.fixture
def bed(control_plane: ControlPlane, tmp_path: Path) -> Bed:
    return Bed(control_plane, tmp_path)


async def test_retries_are_one_event_with_a_count(bed: Bed) -> None:
    def boom(inputs: Any) -> None:
        raise RuntimeError("not yet")

    retry = {"limit": 5, "backoff": {"initial": "10ms", "factor": 1}}
    async with bed.replica(kubeconfig=bed.account(), boom=boom) as running:
        await bed.apply(worker("boom"), graph("g", call("a", "boom", retry=retry)), run("r", "g"))
        assert "'a'" in await bed.event("r", "TaskRetrying")
        assert "not yet" in await bed.event("r", "RunFailed")

        async def counted() -> bool:
            found = json.loads(await asyncio.to_thread(bed.kubectl, "get", "events.events.k8s.io", "--output=json"))["items"]
            series = [(each.get("series") or {}).get("count") for each in found if each["reason"] == "TaskRetrying"]
            assert len(series) == 1
            return series == [5]

        await eventually(counted)
        assert running.link.events.dropped == 0
        described = await asyncio.to_thread(bed.kubectl, "describe", "tgr/r")
        assert "RunStarted" in described and "TaskRetrying" in described


async def test_the_links_numbers_are_metrics(bed: Bed) -> None:
    registry = CollectorRegistry()
    async with bed.replica() as running:
        registry.register(LinkCollector(running.link))
        await bed.apply(worker("echo"), graph("g", call("a")), run("r", "g"))
        await bed.phase("tgr/r", "Succeeded")
        text = generate_latest(registry).decode()
        assert 'arklex_kube_lists_total{kind="TaskGraphRun"} 1.0' in text
        assert 'arklex_kube_watch_age_seconds{kind="Worker"}' in text
        assert "arklex_kube_status_writes_total 0.0" not in text
