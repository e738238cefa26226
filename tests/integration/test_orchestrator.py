"""The Python API of the guide, over a real SQLite journal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from arklex_api.problems import ManifestError
from arklex_runtime import (
    DependencyResolver,
    ExecutionContext,
    Orchestrator,
    TaskExecutor,
    TaskGraphEngine,
    ToolRegistry,
    WorkerNotFoundError,
    WorkerPool,
)
from arklex_runtime.errors import AlreadyDecided, ApprovalNotFound, RunFinished, RunNotFound, ValidationError
from arklex_runtime.orchestrator import Request, RunFailed
from arklex_runtime.workers.base import TaskContext


def graph(*tasks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "g"}, "spec": {"tasks": list(tasks), **spec}}


def call(name: str, worker: str = "echo", inputs: Any = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "worker": worker, "with": inputs or {}, **fields}


def echo(inputs: dict[str, Any]) -> dict[str, Any]:
    return inputs


def orchestrator(db: Path | None = None, **workers: Any) -> Orchestrator:
    made = Orchestrator(db=str(db) if db else "sqlite://")
    for name, worker in {"echo": echo, **workers}.items():
        made.add_worker(name, worker)
    return made


CHAIN = graph(
    call("a", inputs={"text": "${query}", "by": "${context.user}"}),
    call("b", inputs={"text": "${tasks.a.output.text}!"}),
    output="${tasks.b.output.text}",
)


def test_run_gives_the_document_of_the_run() -> None:
    with orchestrator() as made:
        result = made.run(CHAIN, "hello", {"user": "ada"})
        assert (result.phase, result.output, result.ok, result.error) == ("Succeeded", "hello!", True, None)
        assert result.results == {"a": {"text": "hello", "by": "ada"}, "b": {"text": "hello!"}}
        assert set(result) == {"run", "graph", "phase", "output", "error", "startedAt", "finishedAt", "tasks"}
        assert b'arklex_runs_total{graph="g"} 1.0' in made.monitoring.render()


async def test_run_inside_a_running_loop_says_to_use_arun() -> None:
    made = orchestrator()
    with pytest.raises(RuntimeError, match="arun"):
        made.run(CHAIN, "hello")


async def test_a_failed_run_is_a_result_unless_check_is_asked_for() -> None:
    def boom(_: Any) -> None:
        raise RuntimeError("kaboom")

    async with orchestrator(boom=boom) as made:
        result = await made.arun(graph(call("a", "boom")))
        assert (result.phase, result.output) == ("Failed", None)
        error = result["tasks"]["a"]["error"]
        assert (error["type"], error["message"], error["details"]) == ("Failed", "kaboom", {"class": "RuntimeError"})
        with pytest.raises(RunFailed, match="kaboom") as caught:
            await made.arun(graph(call("a", "boom")), check=True)
        assert caught.value.result.phase == "Failed"


class Shout:
    def process(self, context: ExecutionContext) -> ExecutionContext:
        context.query = context.query.upper()
        return context


class Sign:
    async def process(self, context: ExecutionContext) -> ExecutionContext:
        await asyncio.sleep(0)
        context.context["user"] = "middleware"
        return context


class Refuse:
    def process(self, context: ExecutionContext) -> ExecutionContext:
        raise PermissionError("not today")


async def test_middleware_changes_and_refuses_runs_in_its_order() -> None:
    async with orchestrator() as made:
        made.middleware += [Shout(), Sign()]
        result = await made.arun(CHAIN, "hello")
        assert result.results["a"] == {"text": "HELLO", "by": "middleware"}
        made.middleware.append(Refuse())
        with pytest.raises(PermissionError, match="not today"):
            await made.arun(CHAIN, "hello")
        assert len(await (await made.host()).journal.list_runs()) == 1


async def test_bad_graphs_and_inputs_run_nothing() -> None:
    async with orchestrator() as made:
        with pytest.raises(ManifestError, match="no Worker 'nobody'"):
            await made.arun(graph(call("a", "nobody")))
        with pytest.raises(ManifestError, match="circle"):
            await made.arun(graph(call("a", dependsOn=["b"]), call("b", dependsOn=["a"])))
        typed = graph(call("a"), input={"schema": {"type": "object", "required": ["n"]}})
        with pytest.raises(ValidationError, match="n"):
            await made.arun(typed, input={})
        with pytest.raises(ValidationError, match="10000"):
            await made.arun(CHAIN, "x" * 10_001)
        assert await (await made.host()).journal.list_runs() == []


async def test_sessions_are_shared_and_merged_over_runs() -> None:
    counting = graph(
        call("seen", inputs={"before": "${has(session.count) ? session.count : 0}"}),
        call("count", dependsOn=["seen"], saveState={"count": {"$increment": 1}, "last": "${query}"}),
        output="${tasks.seen.output.before}",
    )
    async with orchestrator() as made:
        first = [await made.arun(counting, f"q{i}", session_id="s", check=True) for i in range(3)]
        assert [result.output for result in first] == [0, 1, 2]
        await asyncio.gather(*[made.arun(counting, "at once", session_id="s", check=True) for _ in range(20)])
        assert await (await made.host()).journal.get_session("s") == {"count": 23, "last": "at once"}
        assert (await made.arun(counting, "alone")).output == 0


async def test_a_cached_result_serves_other_runs_and_no_other_input() -> None:
    calls: list[Any] = []

    def slow(inputs: dict[str, Any]) -> int:
        calls.append(inputs)
        return len(calls)

    cached = graph(call("a", "slow", {"q": "${query}"}, cache={"ttl": "1h"}), output="${tasks.a.output}")
    async with orchestrator(slow=slow) as made:
        runs = [await made.arun(cached, query, check=True) for query in ("x", "x", "y", "x")]
    assert [run.output for run in runs] == [1, 1, 2, 1]
    assert [run["tasks"]["a"]["cached"] for run in runs] == [False, True, False, True]
    assert [run["tasks"]["a"]["attempts"] for run in runs] == [1, 0, 1, 0]


@pytest.mark.redis
async def test_a_cached_result_is_found_in_redis_by_a_process_with_another_journal(redis_url: str) -> None:
    def count(_: Any) -> int:
        calls.append(1)
        return len(calls)

    calls: list[int] = []
    cached = graph(call("a", "count", {"q": "${query}"}, cache={"ttl": "1h"}), output="${tasks.a.output}")
    outputs = []
    for _ in range(2):
        async with Orchestrator(redis_url=redis_url) as made:
            made.add_worker("count", count)
            outputs.append((await made.arun(cached, "x", check=True)).output)
    assert outputs == [1, 1]


async def test_python_tools_are_called_by_name() -> None:
    class Adder:
        rate_limit = 1000

        async def execute(self, inputs: dict[str, int]) -> int:
            return inputs["a"] + inputs["b"]

    tools = ToolRegistry()
    tools.register_tool("add", Adder())
    async with Orchestrator(tools=tools) as made:
        result = await made.arun(graph({"name": "sum", "tool": "add", "with": {"a": 2, "b": 3}}, output="${tasks.sum.output}"))
        assert result.output == 5


async def test_handlers_see_their_context_and_cannot_change_what_others_read() -> None:
    seen: list[TaskContext] = []

    async def look(inputs: dict[str, Any], context: TaskContext) -> dict[str, Any]:
        seen.append(context)
        inputs["items"].append("mine")
        if context.attempt == 1:
            raise RuntimeError("once more")
        return inputs

    retried = graph(
        {"name": "list", "value": {"items": ["a"]}},
        call("a", "look", "${tasks.list.output}", action="peek", timeout="5s", retry=ONCE_MORE),
        output="${tasks.list.output.items}",
    )  # fmt: skip
    async with orchestrator(look=look) as made:
        result = await made.arun(retried, check=True)
    assert result.output == ["a"]
    assert [context.attempt for context in seen] == [1, 2]
    assert len({context.idempotency_key for context in seen}) == 1
    assert (seen[0].task_name, seen[0].action, seen[0].run_id) == ("a", "peek", result.run_id)
    assert seen[0].deadline is not None


ONCE_MORE = {"limit": 1, "backoff": {"initial": "1ms"}}

APPROVAL = graph(
    {"name": "ok", "approval": {"message": "Send ${query}?", "schema": {"type": "object", "required": ["why"]}}},
    {"name": "sent", "value": "${tasks.ok.output.data.why}"},
    output="${tasks.sent.output}",
)


async def test_the_first_decision_on_an_approval_stands() -> None:
    async with orchestrator() as made:
        host = await made.host()
        asked = asyncio.Event()
        host.on_approval = lambda _driver, _task, _message: asked.set()
        driver = await host.start(made._program(APPROVAL, None), Request("it"))
        await asked.wait()
        run = driver.run_id
        assert (await host.document(run))["tasks"]["ok"]["message"] == "Send it?"
        with pytest.raises(ValidationError, match="why"):
            await host.approve(run, "ok", approved=True, data={})
        with pytest.raises(ApprovalNotFound):
            await host.approve(run, "sent", approved=True)
        with pytest.raises(RunNotFound):
            await host.approve("g-nothing", "ok", approved=True)
        await host.approve(run, "ok", approved=True, by="ada", data={"why": "because"})
        await host.approve(run, "ok", approved=True, by="ada", data={"why": "because"})
        with pytest.raises(AlreadyDecided):
            await host.approve(run, "ok", approved=False)
        assert await driver.ended == "Succeeded"
        assert host.finished_document(driver)["output"] == "because"
        with pytest.raises(AlreadyDecided):
            await host.approve(run, "ok", approved=False)


async def test_a_cancelled_run_runs_its_finally_tasks() -> None:
    started = asyncio.Event()

    async def hang(_: Any) -> None:
        started.set()
        await asyncio.sleep(3600)

    hanging = graph(call("a", "hang"), call("b", dependsOn=["a"]), **{"finally": [{"name": "f", "value": "${run.phase}"}]})
    async with orchestrator(hang=hang) as made:
        host = await made.host()
        driver = await host.start(made._program(hanging, None), Request())
        await started.wait()
        await host.cancel(driver.run_id, "enough")
        assert await driver.ended == "Cancelled"
        document = host.finished_document(driver)
        assert [document["tasks"][name]["phase"] for name in ("a", "b", "f")] == ["Cancelled", "Skipped", "Succeeded"]
        assert document["tasks"]["f"]["output"] == "Cancelled"
        assert document["error"]["message"] == "enough"
        with pytest.raises(RunFinished):
            await host.cancel(driver.run_id)


async def test_closing_gives_back_what_runs_and_a_later_host_goes_on(tmp_path: Path) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def wait(inputs: dict[str, Any]) -> dict[str, Any]:
        started.set()
        await release.wait()
        return inputs

    waiting = graph(call("a", inputs={"n": 1}), call("b", "wait", "${tasks.a.output}"), output="${tasks.b.output.n}")
    first = orchestrator(tmp_path / "j.db", wait=wait)
    host = await first.host()
    driver = await host.start(first._program(waiting, None), Request())
    await started.wait()
    await first.aclose()
    release.set()
    async with orchestrator(tmp_path / "j.db", wait=wait) as second:
        host = await second.host()
        again = await host.resume(driver.run_id)
        assert not isinstance(again, dict)
        assert await again.ended == "Succeeded"
        document = host.finished_document(again)
        assert document["output"] == 1
        assert (document["tasks"]["a"]["attempts"], document["tasks"]["b"]["attempts"]) == (1, 2)
        assert again.state.open == {}
        events = [entry["event"] for entry in await host.history(driver.run_id)]
        assert events.count("Interrupted") == 1 and "Lost" not in events
        assert await host.resume(driver.run_id) == document


async def test_retry_is_a_new_run_that_keeps_what_succeeded() -> None:
    broken = [True]
    calls: list[str] = []

    def flaky(inputs: dict[str, Any]) -> dict[str, Any]:
        calls.append(inputs["n"])
        if inputs["n"] == "b" and broken[0]:
            raise RuntimeError("not yet")
        return inputs

    steps = graph(
        *[call(n, "flaky", {"n": n}, dependsOn=before) for n, before in (("a", []), ("b", ["a"]), ("c", ["b"]))],
        output="${tasks.c.output.n}",
    )
    async with orchestrator(flaky=flaky) as made:
        failed = await made.arun(steps, "q")
        host = await made.host()
        broken[0] = False
        driver = await host.retry(failed.run_id)
        assert await driver.ended == "Succeeded"
        document = host.finished_document(driver)
        assert calls == ["a", "b", "b", "c"]
        assert document["run"] != failed.run_id and document["output"] == "c"
        assert document["tasks"]["a"]["reused"] is True and document["tasks"]["a"]["attempts"] == 0
        again = await host.retry(driver.run_id, "b")
        assert await again.ended == "Succeeded"
        assert calls[4:] == ["b", "c"]
        with pytest.raises(ValidationError, match="nothing"):
            await host.retry(driver.run_id, "nothing")


async def test_a_failing_worker_is_left_alone_for_a_while() -> None:
    calls: list[int] = []

    def failing(_: Any) -> None:
        calls.append(1)
        raise RuntimeError("down")

    manifest = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: failing}
spec: {type: custom, config: {handler: "registered:handler"}, circuitBreaker: {failureThreshold: 3, openFor: 1h}}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: g}
spec:
  tasks:
  - {name: a, worker: failing, retry: {limit: 5, backoff: {initial: 1ms, max: 2ms}}}
"""
    async with orchestrator(failing=failing) as made:
        result = await made.arun(manifest)
    assert len(calls) == 3
    assert result["tasks"]["a"]["error"]["type"] == "Unavailable"
    assert "circuit breaker" in result["tasks"]["a"]["error"]["message"]


async def test_a_workers_concurrency_bounds_async_handlers_over_all_runs() -> None:
    running, most = [0], [0]

    async def busy(_: Any) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.001)
        running[0] -= 1

    wide = graph(call("a", "busy", forEach={"items": list(range(30))}))
    async with orchestrator(busy=busy) as made:
        await asyncio.gather(*[made.arun(wide, check=True) for _ in range(3)])
    assert most[0] == 10


def test_the_guides_engine_and_pool() -> None:
    pool = WorkerPool(max_workers=2)
    pool.add_worker("echo", echo)
    with pytest.raises(WorkerNotFoundError, match="Worker not found: nobody"):
        pool.execute_task("nobody", {})
    assert pool.execute_task("echo", {"x": 1}) == {"x": 1}
    engine = TaskGraphEngine(TaskExecutor(pool))
    outputs = engine.execute(CHAIN, ExecutionContext("hi", {"user": "u"}))
    assert outputs == {"a": {"text": "hi", "by": "u"}, "b": {"text": "hi!"}}
    assert engine.execution_plan == {"g": [["a"], ["b"]]}
    assert DependencyResolver().resolve(CHAIN) == ["a", "b"]
    with pytest.raises(ManifestError, match="circle"):
        DependencyResolver().resolve(graph(call("a", dependsOn=["b"]), call("b", dependsOn=["a"])))
