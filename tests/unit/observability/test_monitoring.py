"""What a run's document counts as."""

from __future__ import annotations

from typing import Any

from arklex_runtime.observability.monitoring import Monitoring


def document(phase: str = "Succeeded", **more: Any) -> dict[str, Any]:
    tasks = {
        "a": {"phase": "Succeeded", "attempts": 2, "cached": False},
        "b": {"phase": "Succeeded", "attempts": 0, "cached": True},
        "c": {"phase": "Skipped", "attempts": 0, "cached": False},
        "d": {"phase": "Failed", "attempts": 1, "cached": False},
    }
    times = {"startedAt": "2026-01-01T00:00:00.000Z", "finishedAt": "2026-01-01T00:00:02.500Z"}
    return {"run": "r", "graph": "support", "phase": phase, "tasks": tasks, **times, **more}


def value(monitoring: Monitoring, name: str, **labels: str) -> float | None:
    return monitoring.registry.get_sample_value(name, labels or {"graph": "support"})


def test_runs_and_their_tasks_are_counted_by_graph() -> None:
    monitoring = Monitoring()
    for phase in ("Succeeded", "Failed", "Cancelled"):
        monitoring.record_execution(document(phase))
    found = {
        name: value(monitoring, name)
        for name in (
            "arklex_runs_total",
            "arklex_runs_failed_total",
            "arklex_runs_cancelled_total",
            "arklex_run_duration_seconds_sum",
            "arklex_tasks_total",
            "arklex_tasks_skipped_total",
            "arklex_tasks_failed_total",
            "arklex_tasks_cached_total",
            "arklex_task_attempts_total",
        )
    }
    assert list(found.values()) == [3, 1, 1, 7.5, 12, 3, 3, 3, 9]


def test_attempts_and_calls_are_timed_by_worker_and_tool() -> None:
    monitoring = Monitoring()
    monitoring.record_attempt("support", "assistant", 0.2)
    monitoring.record_attempt("support", "assistant", 0.4, failed=True)
    monitoring.record_tool_call("support", "tickets", 0.1, failed=True)
    by_worker, by_tool = {"graph": "support", "worker": "assistant"}, {"graph": "support", "tool": "tickets"}
    assert value(monitoring, "arklex_worker_attempt_seconds_count", **by_worker) == 2
    assert value(monitoring, "arklex_worker_attempts_failed_total", **by_worker) == 1
    assert value(monitoring, "arklex_tool_call_seconds_count", **by_tool) == 1
    assert value(monitoring, "arklex_tool_calls_failed_total", **by_tool) == 1


def test_names_and_labels_keep_the_rules_and_processes_are_apart() -> None:
    monitoring = Monitoring()
    monitoring.record_execution(document())
    monitoring.record_attempt("support", "assistant", 0.2)
    for family in monitoring.registry.collect():
        assert family.name.startswith("arklex_")
        for sample in family.samples:
            assert set(sample.labels) <= {"graph", "worker", "tool", "le"}
            base = sample.name.removesuffix("_created").removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
            assert sample.name.endswith("_created") or base.endswith(("_total", "_seconds"))
    assert value(Monitoring(), "arklex_runs_total") is None
    assert b'arklex_runs_total{graph="support"} 1.0' in monitoring.render()


def test_a_document_with_little_in_it_is_counted_too() -> None:
    monitoring = Monitoring()
    monitoring.record_execution({"graph": "g", "phase": "Running", "startedAt": None, "finishedAt": None, "tasks": {}})
    assert value(monitoring, "arklex_runs_total", graph="g") == 1
    assert value(monitoring, "arklex_run_duration_seconds_count", graph="g") in (None, 0)
