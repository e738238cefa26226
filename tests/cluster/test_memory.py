"""A pod whose handlers hold too much of its memory: it takes nothing more, says so, and goes on when they let go."""

from __future__ import annotations

from tests.cluster.kube import ENDED, Kube, graph, run_of, step, worker


def test_a_full_pod_claims_nothing_until_memory_is_free(space: Kube) -> None:
    pool = worker("probe", scaling={"minReplicas": 1, "maxReplicas": 1}, concurrency=8)
    resources = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    pool["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    space.apply(pool, graph("greedy", [step("a", "fill", given={"share": 0.85})]), graph("modest", [step("a", "echo")]))
    for name in ("greedy", "modest"):
        space.until_condition("taskgraph", name, "WorkersReady")
    (pod,) = space.all("pods", "--selector=arklex.ai/worker=probe")
    name = pod["metadata"]["name"]

    def says(short: float) -> bool:
        text = space("get", "--raw", f"/api/v1/namespaces/{space.namespace}/pods/{name}:9090/proxy/metrics")
        return f'arklex_worker_memory_short{{namespace="{space.namespace}",worker="probe"}} {short}' in text

    space.create(run_of("greedy", "greedy"))
    space.until(lambda: says(1.0), "the pod says that memory is short")
    for n in range(3):
        space.create(run_of(f"modest-{n}", "modest"))
    space.until(lambda: space.status("worker", "probe").get("queued") == 3, "three wait, though seven slots are free")
    assert says(1.0) and space.status("worker", "probe")["inFlight"] == 1

    space.patch("taskgraphrun", "greedy", {"spec": {"cancel": True}})
    for n in range(3):
        assert space.until_phase("taskgraphrun", f"modest-{n}", ENDED)["phase"] == "Succeeded"
    assert says(0.0) and space.status("taskgraphrun", "greedy")["phase"] == "Cancelled"
    log = space("logs", name)
    assert log.index("memory is short: claiming nothing more") < log.index("memory has come free: claiming again")
    after = space.get("pod", name) or {}
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
