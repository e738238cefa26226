"""What pods do with their attempts: tools and their limits, containers, secrets, logs, probes, a fenced Redis user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from arklex_api.base import API_VERSION
from arklex_api.worker import Worker
from arklex_runtime.dispatch.streams.wire import POD_COMMANDS
from arklex_runtime.orchestrator.requests import Request
from tests.faults.ledger import BEGIN, read_ledger
from tests.pods import KEYS, Cluster, PodProcess, ended, graph, program, run, task, until, worker

pytestmark = pytest.mark.redis


def of_type(kind: str, name: str, **spec: Any) -> Worker:
    body = {"apiVersion": API_VERSION, "kind": "Worker", "metadata": {"name": name}, "spec": {"type": kind, **spec}}
    return Worker.model_validate(body)


class Server:
    """An HTTP server of the test; ``calls`` are (monotonic time, headers, JSON body)."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Any, Any]] = []
        self.port = 0
        self.answer: Any = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Server]:
        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.calls.append((time.monotonic(), request.headers, body))
        found = self.answer(request, body) if self.answer else web.json_response({"ok": True})
        assert isinstance(found, web.StreamResponse)
        return found


def calling(url: str, count: int, timeout: str = "60s", **tool: Any) -> Any:
    definition = {"name": "tickets", "http": {"method": "POST", "url": url, "body": {"n": "${input.n}"}}, **tool}
    each = {
        "name": "call",
        "tool": "tickets",
        "forEach": {"items": list(range(count))},
        "with": {"n": "${item}"},
        "timeout": timeout,
    }
    return graph(maxParallel=100, tools=[definition], tasks=[each], output="${size(tasks.call.output)}")


async def test_tools_are_called_by_their_worker_with_its_secrets(cluster: Cluster) -> None:
    secret = cluster.folder / "secrets" / "tickets"
    secret.mkdir(parents=True)
    (secret / "token").write_text("s3cr3t-token\n")
    tools = of_type("tool", "tools")
    async with Server().serve() as server, cluster.host() as host:
        server.answer = lambda request, body: web.json_response({"echo": request.headers["Authorization"], "n": body["n"]})
        cluster.pod(tools)
        auth = {"method": "POST", "url": f"http://127.0.0.1:{server.port}/", "body": {"n": "${input.n}"},
                "auth": {"secretRef": {"name": "tickets", "key": "token"}}}  # fmt: skip
        document = await run(host, program(calling("http://x/", 2, http=auth), tools))
        assert document["phase"] == "Succeeded", document
        assert [call[1]["Authorization"] for call in server.calls] == ["Bearer s3cr3t-token"] * 2
        assert "s3cr3t" not in str(document)
        assert document["tasks"]["call"]["output"][0]["body"]["echo"] == "Bearer ***"
        stored = await host.journal.load(document["run"])
        assert stored is not None and b"s3cr3t" not in b"".join(stored.events) + stored.document


async def test_a_tools_limit_is_shared_by_all_runtimes(cluster: Cluster) -> None:
    """Two replicas, four calls in any second between them; whoever waits has no attempt and fails none."""
    tools = of_type("tool", "tools", concurrency=50)
    async with Server().serve() as server, cluster.host() as one, cluster.host(f"sqlite:///{cluster.folder / 'b.db'}") as two:
        await working(cluster.pod(tools))
        limited = program(
            calling(f"http://127.0.0.1:{server.port}/", 8, rateLimit={"requestsPerMinute": 1000, "burst": 4}), tools
        )
        documents = await asyncio.gather(run(one, limited), run(two, limited))
        assert [d["output"] for d in documents] == [8, 8]
        assert [d["tasks"]["call"]["attempts"] for d in documents] == [8, 8]
        times = sorted(at for at, _, _ in server.calls)
        assert len(times) == 16 and times[-1] - times[0] >= 2.5


async def test_handlers_that_call_tools_share_its_limit(cluster: Cluster) -> None:
    """Two pods call a tool from within their attempts: two calls in any second between them."""
    work = worker(concurrency=1)
    async with Server().serve() as server, cluster.host() as host:
        for _ in range(2):
            await working(cluster.pod(work))
        tool = {
            "name": "tickets",
            "http": {"method": "POST", "url": f"http://127.0.0.1:{server.port}/", "body": {"n": "${input.n}"}},
            "rateLimit": {"requestsPerMinute": 1000, "burst": 2},
        }
        both = graph(tools=[tool], tasks=[task(name, "tools", given={"calls": 3}) for name in ("a", "b")])
        assert (await run(host, program(both, work)))["phase"] == "Succeeded"
        times = sorted(at for at, _, _ in server.calls)
        assert len(times) == 6 and times[-1] - times[0] >= 1.5


async def test_a_task_at_its_tools_limit_times_out_without_an_attempt(cluster: Cluster) -> None:
    tools = of_type("tool", "tools")
    async with Server().serve() as server, cluster.host() as host:
        cluster.pod(tools)
        url, limit = f"http://127.0.0.1:{server.port}/", {"requestsPerMinute": 1}
        assert (await run(host, program(calling(url, 1, rateLimit=limit), tools)))["output"] == 1
        document = await run(host, program(calling(url, 1, "500ms", rateLimit=limit), tools))
        assert document["tasks"]["call"]["error"]["type"] == "Timeout", document
        assert document["tasks"]["call"]["attempts"] == 0 and len(server.calls) == 1


async def test_a_tool_that_nobody_calls_is_refused_with_the_field(cluster: Cluster) -> None:
    from arklex_api.problems import ManifestError

    async with cluster.host() as host:
        with pytest.raises(ManifestError, match="make a Worker of type tool in namespace default"):
            await host.start(program(calling("http://x/", 1)), Request())
        both = program(calling("http://x/", 1), of_type("tool", "a"), of_type("tool", "b"))
        with pytest.raises(ManifestError, match=r"by the Workers a, b: name one in spec.tools\[\].worker"):
            await host.start(both, Request())


async def test_a_container_in_any_language(cluster: Cluster) -> None:
    async with Server().serve() as server, cluster.host() as host:

        def answer(request: web.Request, body: Any) -> web.StreamResponse:
            if body["action"] == "fail":
                return web.json_response({"type": "OutOfPaper", "message": "no paper", "retryable": False}, status=500)
            if body["action"] == "text":
                return web.Response(text="not JSON")
            return web.json_response({"got": body["inputs"], "attempt": body["attempt"], "key": body["idempotencyKey"]})

        server.answer = answer
        box = of_type("custom", "box", config={"port": server.port})
        cluster.pod(box)
        spec = [
            task("good", "greet", "box", given={"x": 1}),
            task("bad", "fail", "box", onError="continue", retry={"limit": 3}),
            task("odd", "text", "box", onError="continue"),
        ]
        document = await run(host, program(graph(tasks=spec), box))
        good, bad, odd = (document["tasks"][name] for name in ("good", "bad", "odd"))
        assert good["output"]["got"] == {"x": 1} and good["output"]["attempt"] == 1 and len(good["output"]["key"]) == 32
        assert bad["error"]["type"] == "OutOfPaper" and bad["attempts"] == 1
        assert odd["error"]["type"] == "InvalidOutput"


@pytest.mark.parametrize("handler", ["work", "block"])
async def test_an_attempts_lines_are_kept_without_secrets(cluster: Cluster, handler: str) -> None:
    secret = cluster.folder / "secrets" / "any"
    secret.mkdir(parents=True)
    (secret / "key").write_text("hush-hush")
    work = worker(handler=handler)
    cluster.pod(work, name="pod-x")
    talk = graph(tasks=[task("talk", "log", given={"text": "hush-hush and more"}), task("quiet", "echo")])
    async with cluster.host() as host:
        document = await run(host, program(talk, work))
        logs = await host.journal.attempt_logs(document["run"])
    (one,) = logs
    assert (one.key, one.attempt, one.pod, one.node) == ("talk", 1, "pod-x", "node-1")
    for line in ("printed *** and more", "warned *** and more", "WARNING logged *** and more place=here", "ERROR other ***"):
        assert line in one.text, one.text
    assert document["tasks"]["talk"]["output"]["text"] == "*** and more"


async def test_outputs_are_bounded_and_large_ones_pass(cluster: Cluster) -> None:
    work = worker()
    cluster.pod(work)
    size = (1 << 20) - 2
    spec = [
        task("fits", "big", forEach={"items": list(range(8))}, given={"size": size}),
        task("not", "big", given={"size": size + 1}, onError="continue"),
    ]
    async with cluster.host() as host:
        document = await run(host, program(graph(tasks=spec), work))
        assert [len(text) for text in document["tasks"]["fits"]["output"]] == [size] * 8
        assert document["tasks"]["not"]["error"]["type"] == "InvalidOutput"


async def test_more_than_a_thousand_wait_in_memory(cluster: Cluster) -> None:
    work = worker(concurrency=1)
    many = graph(
        maxParallel=1500,
        tasks=[task("each", "echo", forEach={"items": "${input.items}"}, given={"i": "${item}"})],
        output="${size(tasks.each.output)}",
    )
    async with cluster.host() as host, cluster.redis() as redis:
        driver = await host.start(program(many, work), Request(input={"items": list(range(1500))}))
        for _ in range(500):
            (length,) = await redis.send(("XLEN", KEYS.jobs("work")))
            if length == 1000:
                break
            await asyncio.sleep(0.02)
        assert length == 1000
        cluster.pod(worker(concurrency=100))
        assert (await ended(driver))["output"] == 1500
    assert sum(entry.kind == BEGIN for entry in read_ledger(cluster.ledger)) == 1500


async def test_an_open_breaker_refuses_at_once(cluster: Cluster) -> None:
    work = worker(circuitBreaker={"failureThreshold": 2, "openFor": "1h"})
    cluster.pod(work)
    spec = [
        task("a", "fail", onError="continue", retry={"limit": 1, "backoff": {"initial": "1ms"}}),
        task("b", "echo", dependsOn=["a"], onError="continue"),
    ]
    async with cluster.host() as host:
        document = await run(host, program(graph(tasks=spec), work))
        assert "circuit breaker" in document["tasks"]["b"]["error"]["message"]


async def test_a_context_says_what_a_handler_may_know(cluster: Cluster) -> None:
    work = worker()
    cluster.pod(work)
    async with cluster.host() as host:
        document = await run(host, program(graph(tasks=[task("who", "who", timeout="1h")]), work))
        found = document["tasks"]["who"]["output"]
        assert found["attempt"] == 1 and len(found["key"]) == 32 and 3000 < found["left"] <= 3600


async def test_runs_that_share_a_session(cluster: Cluster) -> None:
    work = worker()
    cluster.pod(work)
    counted = graph(tasks=[task("t", "echo", saveState={"total": {"$increment": 1}})])
    async with cluster.host() as host:
        drivers = [await host.start(program(counted, work), Request(session_id="s")) for _ in range(5)]
        for driver in drivers:
            assert (await ended(driver))["phase"] == "Succeeded"
        assert await host.journal.get_session("s") == {"total": 5}


async def working(pod: PodProcess) -> Any:
    """Wait until the pod claims; what it said."""
    return await until(lambda: pod.said("working"), "the pod")


async def probe(pod: PodProcess, path: str) -> tuple[int, str]:
    said = await working(pod)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{said['port']}{path}") as answer:
        return answer.status, await answer.text()


async def test_probes_and_metrics(cluster: Cluster) -> None:
    work = worker(concurrency=7)
    pod = cluster.pod(work)
    async with cluster.host() as host:
        assert (await run(host, program(graph(tasks=[task("t", "echo")]), work)))["phase"] == "Succeeded"
    assert await probe(pod, "/healthz") == (200, "ok\n")
    assert await probe(pod, "/readyz") == (200, "ok\n")
    _, text = await probe(pod, "/metrics")
    labels = 'namespace="default",worker="work"'
    assert f"arklex_worker_slots{{{labels}}} 7.0" in text
    assert f"arklex_worker_in_flight{{{labels}}} 0.0" in text
    assert 'arklex_worker_attempts_total{namespace="default",outcome="succeeded",worker="work"} 1.0' in text
    assert f"arklex_worker_attempt_seconds_count{{{labels}}} 1.0" in text
    assert "heartbeat_age_seconds" in text


async def test_a_pod_works_with_the_rights_that_it_is_given(cluster: Cluster) -> None:
    """The ACL user of its namespace: enough for everything, and nothing of another namespace."""
    async with cluster.redis() as redis:
        rules = ["on", ">pw", "resetkeys", "~arklex:{default}:*", "resetchannels", "-@all"]
        rules += [f"+{command}" for command in POD_COMMANDS.split()]
        (made,) = await redis.send(("ACL", "SETUSER", "arklex-default", *rules))
        assert made == b"OK"
        folder = cluster.folder / "connection"
        folder.mkdir()
        (folder / "username").write_text("arklex-default")
        (folder / "password").write_text("pw")
        work = worker(drainSeconds=1)
        pod = cluster.pod(work)
        try:
            async with cluster.host() as host:
                document = await run(host, program(graph(tasks=[task("t", "log", given={"text": "x"})]), work))
                assert document["phase"] == "Succeeded"
                hung = await host.start(program(graph(tasks=[task("t", "sleep", given={"seconds": 600})]), work), Request())
                await until(lambda: len(read_ledger(cluster.ledger)) >= 3, "the second attempt")
                await host.cancel(hung.run_id)
                await ended(hung)
            pod.process.terminate()
            assert pod.wait() == 0
            assert [line for line in pod.lines() if line["level"] in ("error", "warning") and line["logger"] != "arklex.task"
                    and line["logger"] != "elsewhere"] == []  # fmt: skip
            (log,) = await redis.send(("ACL", "LOG"))
            assert log == []
        finally:
            await redis.send(("ACL", "DELUSER", "arklex-default"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "rag"}, "type 'rag' is not in this version: use custom, llm or tool"),
        ({"type": "custom", "config": {"handler": "no_such_module:f"}}, "no module 'no_such_module'"),
    ],
)
async def test_a_worker_that_cannot_be_says_why(cluster: Cluster, spec: dict[str, Any], words: str) -> None:
    kind = spec.pop("type")
    pod = cluster.pod(of_type(kind, "odd", **spec))
    assert pod.wait() == 2
    assert any(words in line["event"] for line in pod.lines()), pod.lines()
