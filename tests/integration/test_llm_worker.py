"""The llm worker against a real model (SmolLM2 behind llama.cpp's server), and against a provider that fails."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar

import pytest
from aiohttp import web

from arklex_api.worker import Worker
from arklex_runtime.errors import TaskError
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.workers import TaskContext, WorkerServices, build_worker
from arklex_runtime.workers.llm.build import PROVIDERS

pytestmark = pytest.mark.model
KEY = "sk-canary-4711"


class Closing:
    """A worker that is closed after each task, so that no test leaves a connection behind."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    async def execute(self, inputs: Any, context: TaskContext) -> Any:
        try:
            return await self.worker.execute(inputs, context)
        finally:
            await self.worker.aclose()


def llm_worker(base_url: str, *, key: bool = False, config: dict[str, Any] | None = None) -> Closing:
    llm: dict[str, Any] = {"provider": "openai", "model": "smollm2", "baseUrl": base_url}
    if key:
        llm["apiKeySecretRef"] = {"name": "openai", "key": "apiKey"}
    spec = {"type": "llm", "llm": llm, "config": config or {}}
    document = {"apiVersion": "arklex.ai/v1alpha1", "kind": "Worker", "metadata": {"name": "assistant"}, "spec": spec}
    secrets = SecretResolver({"openai": {"apiKey": KEY}}, environ={"OPENAI_API_KEY": "sk-not-for-strangers"})
    return Closing(build_worker(Worker.model_validate(document), WorkerServices(secrets=secrets)))


def context(action: str | None, **more: Any) -> TaskContext:
    return TaskContext(run_id="r", task_name="t", action=action, **more)


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    command = [sys.executable, "-m", "arklex_runtime.demo.model_server"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            assert process.wait(30) == 0


async def test_generate_gives_text_usage_and_model(model_url: str) -> None:
    output = await llm_worker(model_url).execute(
        {"prompt": "What is the capital of France?", "system": "Answer in one sentence.", "maxTokens": 24, "temperature": 0},
        context("generate"),
    )
    assert "Paris" in output["text"]
    assert output["model"] == "smollm2" and output["finishReason"] in ("stop", "length")
    assert output["usage"]["inputTokens"] > 5 and 0 < output["usage"]["outputTokens"] <= 24


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (
            {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
                "required": ["city", "large"],
                "additionalProperties": False,
            },
            dict,
        ),
        ({"type": "integer", "minimum": 0, "maximum": 9}, int),
        ({"enum": ["red", "green"]}, str),
    ],
)
async def test_a_schema_gives_a_value_of_that_shape(model_url: str, schema: dict[str, Any], kind: type) -> None:
    asked = {"prompt": "Describe Paris.", "schema": schema, "maxTokens": 80, "temperature": 0}
    output = await llm_worker(model_url).execute(asked, context("generate"))
    assert isinstance(output["value"], kind) and "text" not in output
    if isinstance(output["value"], dict):
        assert set(output["value"]) == {"city", "large"}


@pytest.mark.parametrize("mode", ["native", "prompted", "tool"])
async def test_classify_gives_one_of_the_labels_however_the_model_is_asked(model_url: str, mode: str) -> None:
    labels = ["billing", "bug", "other"]
    asked = {"text": "I was billed twice for my order, please refund the invoice.", "labels": labels, "maxTokens": 60}
    outcome: Any
    try:
        outcome = (await llm_worker(model_url, config={"outputMode": mode}).execute(asked, context("classify")))["label"]
    except TaskError as error:
        outcome = error.type
    # So small a model may name no label in free text: then that is said.
    assert outcome in (labels if mode == "native" else [*labels, "InvalidOutput"])


async def test_chat_takes_the_conversation_so_far(model_url: str) -> None:
    messages = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "What is my name?"},
    ]
    asked = {"messages": messages, "maxTokens": 16, "temperature": 0}
    assert (await llm_worker(model_url).execute(asked, context("chat")))["text"]
    provider = Provider(lambda asked: says("Ada."))
    output = await provider.use(lambda url: llm_worker(url).execute(asked, context("chat")))
    assert output["text"] == "Ada." and provider.asked[0]["messages"] == messages
    assert (provider.asked[0]["max_completion_tokens"], provider.asked[0]["temperature"]) == (16, 0)


async def test_a_deadline_ends_the_call(model_url: str) -> None:
    worker = llm_worker(model_url)
    asked = {"prompt": "Count to a million in words.", "maxTokens": 3000}
    await worker.execute({"prompt": "Hi", "maxTokens": 1}, context("generate"))
    with pytest.raises(TaskError) as caught:
        await worker.execute(asked, context("generate", deadline=time.time() + 0.3))
    assert caught.value.type == "Timeout"


def test_one_worker_serves_several_event_loops(model_url: str) -> None:
    worker = llm_worker(model_url)
    for _ in range(2):
        assert asyncio.run(worker.execute({"prompt": "Hi", "maxTokens": 2}, context(None)))["text"]


Answer = Callable[[dict[str, Any]], web.Response]


class Provider:
    """An OpenAI-compatible service whose answers a test decides; remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        self.asked.append(await request.json())
        return self.answer(self.asked[-1])

    async def use(self, act: Callable[[str], Awaitable[Any]]) -> Any:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await act(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        finally:
            await runner.cleanup()


def says(content: str | None, tool_calls: list[dict[str, Any]] | None = None, finish: str = "stop") -> web.Response:
    message = {"role": "assistant", "content": content, **({"tool_calls": tool_calls} if tool_calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tool_calls else finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    document = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return web.json_response(document)


def fails(status: int, body: Any = None, **headers: str) -> Answer:
    return lambda asked: web.json_response(body or {"error": {"message": f"no, {KEY}"}}, status=status, headers=headers)


@pytest.mark.parametrize(
    ("answer", "kind", "retryable", "details"),
    [
        (fails(429, **{"Retry-After": "7"}), "RateLimited", None, {"status": 429, "retryAfter": 7.0}),
        (
            fails(429, {"error": {"message": "pay", "code": "insufficient_quota", "type": "insufficient_quota"}}),
            "RateLimited",
            False,
            {"status": 429},
        ),
        (fails(500), "Unavailable", None, {"status": 500}),
        (fails(503), "Unavailable", None, {"status": 503}),
        (fails(401), "Denied", False, {"status": 401}),
        (fails(403), "Denied", False, {"status": 403}),
        (fails(400), "InvalidInput", False, {"status": 400}),
        (fails(404), "InvalidInput", False, {"status": 404}),
        (fails(408), "Timeout", None, {"status": 408}),
        (lambda asked: web.Response(text="<html>"), "InvalidOutput", None, None),
        (lambda asked: says(None), "InvalidOutput", None, None),
    ],
)
async def test_a_failing_provider_is_told_apart_and_asked_once(
    answer: Answer, kind: str, retryable: bool | None, details: Any
) -> None:
    provider = Provider(answer)
    with pytest.raises(TaskError) as caught:
        await provider.use(lambda url: llm_worker(url, key=True).execute({"prompt": "Hi"}, context("generate")))
    assert (caught.value.type, caught.value.retryable) == (kind, retryable)
    assert caught.value.details == details
    assert KEY not in caught.value.message and KEY not in repr(caught.value)
    assert kind == "InvalidOutput" or len(provider.asked) == 1


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(TaskError) as caught:
        await llm_worker("http://127.0.0.1:9/v1").execute({"prompt": "Hi"}, context("generate"))
    assert caught.value.type == "Unavailable"


@pytest.mark.parametrize(("key", "sent"), [(True, f"Bearer {KEY}"), (False, "Bearer no-key")])
async def test_only_the_key_that_the_manifest_names_goes_to_its_url(key: bool, sent: str) -> None:
    provider = Provider(lambda asked: says("hello"))
    output = await provider.use(lambda url: llm_worker(url, key=key).execute({"prompt": "Hi"}, context(None)))
    assert output == {"text": "hello", "usage": {"inputTokens": 3, "outputTokens": 2}, "model": "m", "finishReason": "stop"}
    assert [headers["Authorization"] for headers in provider.headers] == [sent]


async def test_an_answer_that_breaks_the_schema_is_corrected_within_bounds() -> None:
    answers = iter(['{"n": 12}', '{"n": 3}'])
    provider = Provider(lambda asked: says(next(answers)))
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}
    asked = {"prompt": "A number", "schema": schema}
    output = await provider.use(lambda url: llm_worker(url).execute(asked, context("generate")))
    assert output["value"] == {"n": 3}
    assert "answer.n: 12 is greater than the maximum of 9" in json.dumps(provider.asked[1]["messages"])
    stubborn = Provider(lambda asked: says("not json at all"))
    with pytest.raises(TaskError) as caught:
        await stubborn.use(lambda url: llm_worker(url).execute(asked, context("generate")))
    assert caught.value.type == "InvalidOutput" and len(stubborn.asked) == 3


async def test_definitions_are_inlined_and_recursive_ones_are_refused() -> None:
    provider = Provider(lambda asked: says('{"value": ["a"]}'))
    schema = {"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {"type": "string"}}}
    asked: dict[str, Any] = {"prompt": "List", "schema": schema}
    output = await provider.use(lambda url: llm_worker(url).execute(asked, context("generate")))
    assert output["value"] == ["a"]
    asked["schema"] = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "array", "items": {"$ref": "#/$defs/x"}}}}
    with pytest.raises(TaskError) as caught:
        await provider.use(lambda url: llm_worker(url).execute(asked, context("generate")))
    assert caught.value.type == "InvalidInput" and len(provider.asked) == 1


async def test_classify_reads_plain_text_where_the_server_knows_no_schemas() -> None:
    provider = Provider(lambda asked: fails(400)(asked) if "response_format" in asked else says("It is a **Bug**, I think."))
    asked = {"text": "It crashes", "labels": ["billing", "bug"]}
    output = await provider.use(lambda url: llm_worker(url).execute(asked, context("classify")))
    assert output["label"] == "bug"


class Stock:
    description = "How many are in stock"
    input_schema: ClassVar[dict[str, Any]] = {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def execute(self, inputs: dict[str, Any], context: TaskContext) -> Any:
        self.asked.append((inputs, context.idempotency_key))
        if inputs["sku"] == "?":
            raise TaskError("InvalidInput", "sku ? does not exist")
        if inputs["sku"] == "!":
            raise TaskError("Unavailable", "the warehouse is closed")
        return {"left": 4}


def call(sku: str, number: int = 1) -> list[dict[str, Any]]:
    return [{"id": f"c{number}", "type": "function", "function": {"name": "stock", "arguments": json.dumps({"sku": sku})}}]


async def test_a_model_calls_the_graphs_tools_and_learns_of_bad_arguments() -> None:
    stock, registry = Stock(), ToolRegistry()
    registry.register_tool("stock", stock)
    answers = iter([says(None, call("?")), says(None, call("a1", 2)), says("four left")])
    provider = Provider(lambda asked: next(answers))
    asked = {"prompt": "How many?", "tools": ["stock"]}
    act = context("generate", tools=registry, idempotency_key="k")
    output = await provider.use(lambda url: llm_worker(url).execute(asked, act))
    assert output["text"] == "four left" and stock.asked == [({"sku": "?"}, ""), ({"sku": "a1"}, "")]
    assert provider.asked[0]["tools"][0]["function"]["parameters"]["required"] == ["sku"]
    assert "sku ? does not exist" in json.dumps(provider.asked[1]) and '\\"left\\":4' in json.dumps(provider.asked[2])


async def test_a_tool_that_fails_fails_the_task_and_an_endless_talk_ends() -> None:
    registry = ToolRegistry()
    registry.register_tool("stock", Stock())
    asked = {"prompt": "How many?", "tools": ["stock"]}
    closed = Provider(lambda asked: says(None, call("!")))
    with pytest.raises(TaskError, match="the warehouse is closed") as caught:
        await closed.use(lambda url: llm_worker(url).execute(asked, context("generate", tools=registry)))
    assert caught.value.type == "Unavailable"
    endless = Provider(lambda asked: says(None, call("a1")))
    with pytest.raises(TaskError) as caught:
        await endless.use(lambda url: llm_worker(url).execute(asked, context("generate", tools=registry)))
    assert caught.value.type == "Failed" and len(endless.asked) == 12


@pytest.mark.parametrize(
    ("action", "inputs", "words"),
    [
        ("summarise", {}, "action 'summarise' is none of generate, classify, chat"),
        ("generate", "text", "must be a map"),
        ("generate", {}, "with.prompt: Field required"),
        ("generate", {"prompt": 3}, "with.prompt"),
        ("generate", {"prompt": "a", "promt": "b"}, "with.promt: Extra inputs are not permitted"),
        ("generate", {"prompt": "a", "schema": {"type": "objekt"}}, "with.schema is not a valid JSON Schema"),
        ("generate", {"prompt": "a", "tools": ["absent"]}, "no tool 'absent' (it has: none)"),
        ("classify", {"text": "a", "labels": []}, "with.labels"),
        ("classify", {"text": "a", "labels": ["x", "x"]}, "holds a label twice"),
        ("chat", {"messages": [{"role": "robot", "content": ""}]}, "with.messages[0].role"),
        ("chat", {"messages": [{"role": "assistant", "content": ""}]}, "must end with a message of role user"),
    ],
)
async def test_bad_inputs_are_refused_before_anything_is_sent(action: str, inputs: Any, words: str) -> None:
    with pytest.raises(TaskError) as caught:
        await llm_worker("http://127.0.0.1:9/v1").execute(inputs, context(action))
    assert caught.value.type == "InvalidInput" and words in caught.value.message


def test_every_provider_of_the_table_is_known_to_the_library() -> None:
    from pydantic_ai.providers import infer_provider_class

    for name, provider in PROVIDERS.items():
        found = ""
        try:
            infer_provider_class(name)
        except ImportError as error:
            found = str(error)
        assert not found or f"pydantic-ai-slim[{provider.extra}]" in found
