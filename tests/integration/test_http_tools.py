"""HTTP tools against a real server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from arklex_api.problems import ManifestError
from arklex_api.tool import Tool
from arklex_runtime.errors import TaskError
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.tools.addresses import AddressPolicy
from arklex_runtime.tools.build import build_tools
from arklex_runtime.tools.sessions import HttpSessions
from arklex_runtime.workers import TaskContext, WorkerServices

TOKEN = "canary-token-4711"


class Server:
    """Answers ``/say/STATUS`` and a few special paths; remembers every request."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.asked.append({"method": request.method, "path": request.raw_path, "headers": request.headers, "body": body})
        parts = request.path.strip("/").split("/")
        if parts[0] == "say":
            return web.json_response({"said": TOKEN}, status=int(parts[1]), headers={"Retry-After": "9", "X-Request-Id": "i"})
        if parts[0] == "raw":
            return web.Response(body=RAW[parts[1]][1], content_type=RAW[parts[1]][0])
        if parts[0] == "gzip":
            packed = gzip.compress(b" " * (3 << 20))
            return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})
        if parts[0] == "to":
            return web.Response(status=int(parts[1]), headers={"Location": request.query["where"]})
        if parts[0] == "slow":
            await asyncio.sleep(60)
        return web.json_response({"path": request.raw_path, "body": body})


RAW: dict[str, tuple[str, bytes]] = {
    "empty": ("application/json", b""),
    "text": ("text/plain", "grüße".encode()),
    "problem": ("application/problem+json", b'{"a":1}'),
    "broken": ("application/json", b"{"),
    "nan": ("application/json", b"[NaN]"),
    "huge": ("application/json", b"[1e999]"),
    "int": ("application/json", b"[9223372036854775808]"),
    "deep": ("application/json", b"[" * 100_000),
    "png": ("image/png", b"\x89PNG\xff\xfe"),
    "large": ("text/plain", b"x" * ((1 << 20) + 1)),
    "largest": ("text/plain", b"x" * (1 << 20)),
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def call(http: dict[str, Any], inputs: Any = None, *, policy: AddressPolicy | None = None, **more: Any) -> Any:
    context = more.pop("context", None)
    sessions = HttpSessions(policy)
    services = WorkerServices(SecretResolver({"api": {"token": TOKEN, "basic": "Basic abc"}}, environ={}), http=sessions)
    tool = Tool.model_validate({"name": "api", "http": http, **more})
    try:
        return await build_tools([tool], services).call("api", inputs, context)
    finally:
        await sessions.aclose()


async def fails(http: dict[str, Any], inputs: Any = None, **more: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        await call(http, inputs, **more)
    assert TOKEN not in caught.value.message
    return caught.value


async def test_values_go_into_url_headers_and_body(server: Server) -> None:
    http = {
        "method": "POST",
        "url": f"{server.url}/users/${{input.name}}/orders?q=${{input.q}}&n=${{input.n}}&literal=a%20b c",
        "headers": {"X-Tags": "${input.tags}", "X-Name": "Mr ${input.name}"},
        "body": {"name": "${input.name}", "tags": "${input.tags}", "text": "n is ${input.n}"},
        "auth": {"secretRef": {"name": "api", "key": "token"}},
    }
    inputs = {"name": "a/../b ü", "q": "x&admin=1#?", "n": 3, "tags": ["p", 1]}
    output = await call(http, inputs, context=TaskContext("r", "t", idempotency_key="key-1"))
    asked = server.asked[0]
    assert asked["path"] == "/users/a%2F..%2Fb%20%C3%BC/orders?q=x%26admin%3D1%23%3F&n=3&literal=a%20b%20c"
    assert asked["headers"]["X-Tags"] == '["p",1]' and asked["headers"]["X-Name"] == "Mr a/../b ü"
    assert asked["headers"]["Authorization"] == f"Bearer {TOKEN}" and asked["headers"]["Idempotency-Key"] == "key-1"
    assert asked["headers"]["Content-Type"] == "application/json"
    assert asked["body"] == '{"name":"a/../b ü","tags":["p",1],"text":"n is 3"}'
    assert output["status"] == 200 and output["body"]["path"] == asked["path"]


async def test_text_bodies_own_headers_and_schemes_are_left_as_they_are(server: Server) -> None:
    http = {
        "method": "PUT",
        "url": f"{server.url}/x",
        "body": "hello ${input.who}",
        "headers": {"Content-Type": "text/markdown", "Idempotency-Key": "own"},
        "auth": {"secretRef": {"name": "api", "key": "basic"}},
    }
    await call(http, {"who": "you"}, context=TaskContext("r", "t", idempotency_key="key-1"))
    headers = server.asked[0]["headers"]
    assert server.asked[0]["body"] == "hello you" and headers["Authorization"] == "Basic abc"
    assert headers["Content-Type"] == "text/markdown" and headers["Idempotency-Key"] == "own"
    await call({"url": f"{server.url}/x"}, None, context=TaskContext("r", "t", idempotency_key="key-1"))
    assert "Idempotency-Key" not in server.asked[1]["headers"] and server.asked[1]["body"] == ""


async def test_a_base_or_a_host_may_come_from_the_input(server: Server) -> None:
    output = await call({"url": "${input.base}/items/${input.id}"}, {"base": server.url, "id": "a b"})
    assert output["body"]["path"] == "/items/a%20b"
    port = server.url.rpartition(":")[2]
    assert (await call({"url": "http://${input.host}:${input.port}/"}, {"host": "127.0.0.1", "port": int(port)}))[
        "status"
    ] == 200


@pytest.mark.parametrize(
    ("http", "inputs", "words"),
    [
        ({"url": "{server}/${input.part}/x"}, {"part": ".."}, "segment '.' or '..'"),
        ({"url": "{server}/${input.part}/x"}, {"part": "."}, "segment '.' or '..'"),
        ({"url": "{server}/${input.missing}"}, {}, "no field 'missing'"),
        ({"url": "${input.base}"}, {"base": "file:///etc/passwd"}, "not an http:// or https:// URL"),
        ({"url": "${input.base}"}, {"base": "http://user:pw@host/"}, "not an http:// or https:// URL"),
        ({"url": "http://${input.host}/"}, {"host": "a@b"}, "not a host name"),
        ({"url": "http://${input.host}/"}, {"host": "a/b"}, "not a host name"),
        ({"url": "{server}/", "headers": {"X-A": "${input.a}"}}, {"a": "b\r\nX-Evil: 1"}, "header X-A holds a control"),
    ],
)
async def test_an_input_cannot_leave_its_place(server: Server, http: dict[str, Any], inputs: Any, words: str) -> None:
    error = await fails({**http, "url": http["url"].replace("{server}", server.url)}, inputs)
    assert error.type == "InvalidInput" and words in error.message and not server.asked


async def test_the_input_is_held_against_its_schema(server: Server) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    error = await fails({"url": f"{server.url}/x"}, {"n": "3"}, inputSchema=schema)
    assert error.type == "InvalidInput" and "input.n" in error.message and not server.asked


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "InvalidInput", False),
        (401, "Denied", False),
        (403, "Denied", False),
        (404, "InvalidInput", False),
        (408, "Timeout", None),
        (422, "InvalidInput", False),
        (429, "RateLimited", None),
        (500, "Unavailable", None),
        (503, "Unavailable", None),
        (504, "Timeout", None),
        (304, "InvalidOutput", False),
    ],
)
async def test_statuses_become_error_types(server: Server, status: int, kind: str, retryable: bool | None) -> None:
    http = {"url": f"{server.url}/say/{status}?key={TOKEN}", "auth": {"secretRef": {"name": "api", "key": "token"}}}
    error = await fails(http)
    assert (error.type, error.retryable) == (kind, retryable)
    assert error.details == {"status": status, "retryAfter": 9.0} and str(status) in error.message


async def test_the_output_keeps_few_headers(server: Server) -> None:
    output = await call({"url": f"{server.url}/say/201"})
    assert output == {
        "status": 201,
        "headers": {"content-type": "application/json; charset=utf-8", "x-request-id": "i"},
        "body": {"said": TOKEN},
    }
    assert (await call({"method": "HEAD", "url": f"{server.url}/say/200"}))["body"] is None


@pytest.mark.parametrize(
    ("name", "body"), [("empty", None), ("text", "grüße"), ("problem", {"a": 1}), ("largest", "x" * (1 << 20))]
)
async def test_bodies_are_json_or_text(server: Server, name: str, body: Any) -> None:
    assert (await call({"url": f"{server.url}/raw/{name}"}))["body"] == body


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("raw/broken", "not valid JSON"),
        ("raw/nan", "NaN is no JSON number"),
        ("raw/huge", "too large"),
        ("raw/int", "does not fit in 64 bits"),
        ("raw/deep", "nested too deeply"),
        ("raw/png", "is not text (image/png)"),
        ("raw/large", "larger than 1 MiB"),
        ("gzip", "larger than 1 MiB"),
    ],
)
async def test_an_answer_that_cannot_be_kept_is_refused(server: Server, path: str, words: str) -> None:
    error = await fails({"url": f"{server.url}/{path}"})
    assert error.type == "InvalidOutput" and words in error.message


@pytest.mark.parametrize(("status", "method", "body"), [(301, "GET", ""), (303, "GET", ""), (307, "POST", '{"a":1}')])
async def test_redirects_stay_with_their_host(server: Server, status: int, method: str, body: str) -> None:
    http = {"method": "POST", "url": f"{server.url}/to/{status}?where=/x", "body": {"a": 1}}
    assert (await call(http))["body"]["path"] == "/x"
    assert (server.asked[1]["method"], server.asked[1]["body"]) == (method, body)


@pytest.mark.parametrize(
    "where", ["http://169.254.169.254/latest", "http://localhost:1/", "//other.invalid/x", "file:///etc/passwd"]
)
async def test_redirects_to_elsewhere_are_refused(server: Server, where: str) -> None:
    error = await fails({"url": f"{server.url}/to/302?where={where}"})
    assert error.type in ("Denied", "Unavailable") and len(server.asked) == 1


async def test_redirects_in_circles_end(server: Server) -> None:
    error = await fails({"url": f"{server.url}/to/302?where=/to/302%3Fwhere=/to/302"})
    assert error.type in ("InvalidOutput", "Unavailable") and len(server.asked) <= 6


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/latest",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
    ],
)
async def test_metadata_is_refused_in_every_spelling(url: str) -> None:
    error = await fails({"url": url}, policy=AddressPolicy(allow_private=True), timeout="5s")
    # A host of digits alone is no valid URL to begin with.
    assert error.type == ("InvalidInput" if "2852039166" in url else "Denied"), error.message


async def test_private_addresses_can_be_refused_by_number_and_by_name(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        error = await fails({"url": f"http://{host}:{port}/"}, policy=AddressPolicy(allow_private=False))
        assert error.type == "Denied" and "private addresses are not allowed" in error.message
    assert not server.asked


async def test_a_slow_tool_times_out_by_its_own_time_or_the_tasks(server: Server) -> None:
    assert (await fails({"url": f"{server.url}/slow"}, timeout="100ms")).type == "Timeout"
    context = TaskContext("r", "t", deadline=time.time() + 0.1)
    assert (await fails({"url": f"{server.url}/slow"}, context=context)).type == "Timeout"


async def test_a_tool_that_is_not_there_is_unavailable() -> None:
    assert (await fails({"url": "http://127.0.0.1:9/"})).type == "Unavailable"


@pytest.mark.parametrize(
    ("http", "path", "words"),
    [
        ({"url": "http://a/${tasks.x}"}, "spec.tools[0].http.url", "tasks"),
        ({"url": "http://a/${input.x"}, "spec.tools[0].http.url", "}"),
        ({"url": "http://u:p@a/"}, "spec.tools[0].http.url", "auth.secretRef"),
        ({"url": "http://a/", "headers": {"Host": "b"}}, "spec.tools[0].http.headers.Host", "remove it"),
        ({"url": "http://a/", "body": {"x": "${query}"}}, "spec.tools[0].http.body.x", "query"),
        (
            {"url": "http://${input.h}/", "auth": {"secretRef": {"name": "api", "key": "token"}}},
            "spec.tools[0].http.url",
            "the host must be written out",
        ),
        (
            {"url": "http://a/", "auth": {"secretRef": {"name": "api", "key": "absent"}}},
            "spec.tools[0].http.auth.secretRef",
            "ARKLEX_SECRET_API_ABSENT",
        ),
    ],
)
async def test_a_tool_that_cannot_work_is_refused_with_its_field(http: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        await call(http)
    assert caught.value.problems[0].path == path and words in caught.value.problems[0].message
