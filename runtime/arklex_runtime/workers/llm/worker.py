"""The llm worker: actions generate, classify and chat over any provider that pydantic-ai speaks to."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arklex_api.base import JSON
from arklex_runtime.errors import TaskError
from arklex_runtime.security.redaction import Redactor
from arklex_runtime.workers.base import AsyncWorker, TaskContext
from arklex_runtime.workers.llm.inputs import Chat, Classify, Generate, parse
from arklex_runtime.workers.llm.labels import read_label
from arklex_runtime.workers.llm.source import ModelSource
from arklex_runtime.workers.llm.structured import shape_of

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from arklex_runtime.workers.llm.client import Answer, Call

_CLIENT = "arklex_runtime.workers.llm.client"
_CLASSIFY = "Classify the text. Answer with exactly one of these labels: {labels}."
_TEXT_INSTEAD = ("InvalidOutput", "InvalidInput")


class LLMWorker(AsyncWorker):
    """Speaks to one model.

    ``generate``: with {prompt, system?, schema?, maxTokens?, temperature?, tools?} gives {text, usage, model, finishReason},
    or {value, …} for a schema. ``chat``: with {messages: [{role, content}], …} gives the same as text. ``classify``: with
    {text, labels, system?} gives {label, usage, model}. ``usage`` is {inputTokens, outputTokens}.
    TaskErrors: RateLimited (details.retryAfter seconds), Unavailable, Timeout, Denied, InvalidInput, InvalidOutput (the
    model did not follow the schema), Failed (too many rounds of tools).
    """

    def __init__(self, source: ModelSource, clock: Callable[[], float]) -> None:
        """``clock`` is epoch seconds, as are deadlines."""
        self._source = source
        self._clock = clock
        self._model: Model | None = None
        self._redactor = Redactor([source.api_key] if source.api_key else [])

    async def execute(self, inputs: JSON, context: TaskContext) -> JSON:
        """The output of ``context.action`` (default generate) on ``inputs``."""
        asked = parse(context.action, inputs)
        limit = context.time_left(self._clock())
        try:
            async with asyncio.timeout(limit):
                return await self._act(asked, context, limit)
        except TimeoutError:
            raise TaskError("Timeout", f"{self._source.name}: no answer within the task's time") from None

    async def aclose(self) -> None:
        """Closes the provider's connections; a later task opens new ones."""
        model, self._model = self._model, None
        if model is not None:
            async with model:  # the library's own client is closed with the last user of its model
                pass

    async def _act(self, asked: Generate | Classify | Chat, context: TaskContext, limit: float | None) -> JSON:
        # The library takes seconds to import: not on the event loop.
        if _CLIENT not in sys.modules:
            await asyncio.to_thread(importlib.import_module, _CLIENT)
        from arklex_runtime.workers.llm.client import Call
        from arklex_runtime.workers.llm.messages import history_of
        from arklex_runtime.workers.llm.tools import function_tools

        tools = function_tools(asked.tools, context)
        call = Call("", asked.system, (), None, tools, asked.max_tokens, asked.temperature, limit)
        if isinstance(asked, Classify):
            return await self._classify(asked, call)
        if isinstance(asked, Chat):
            history, prompt = history_of(asked.messages)
            return _text(await self._ask(replace(call, prompt=prompt, history=history)))
        shape = shape_of(asked.schema_) if asked.schema_ is not None else None
        answer = await self._ask(replace(call, prompt=asked.prompt, shape=shape))
        return _text(answer) if shape is None else {"value": shape.unwrap(answer.value), **_meta(answer)}

    async def _classify(self, asked: Classify, call: Call) -> JSON:
        """By a schema that allows only the labels; by reading plain text where the model or its server cannot do that."""
        instructions = _CLASSIFY.format(labels=", ".join(asked.labels))
        system = f"{asked.system}\n{instructions}" if asked.system else instructions
        call = replace(call, prompt=asked.text, system=system, temperature=call.temperature or 0.0)
        try:
            answer = await self._ask(replace(call, shape=shape_of({"enum": asked.labels})))
            return {"label": answer.value["value"], **_meta(answer)}
        except TaskError as error:
            if error.type not in _TEXT_INSTEAD:
                raise
        answer = await self._ask(call)
        label = read_label(answer.value, asked.labels)
        if label is None:
            words = " ".join(answer.value.split())[:200]
            raise TaskError("InvalidOutput", f"{self._source.name}: the answer {words!r} names none or several of the labels")
        return {"label": label, **_meta(answer)}

    async def _ask(self, call: Call) -> Answer:
        from arklex_runtime.workers.llm import client
        from arklex_runtime.workers.llm.failures import LIBRARY_ERRORS, provider_error

        try:
            if self._model is None:
                self._model = client.make_model(self._source)
            return await client.ask(self._model, call, self._source.output_mode)
        except LIBRARY_ERRORS as error:
            raise provider_error(error, self._source.name, self._redactor) from None


def _text(answer: Answer) -> dict[str, Any]:
    return {"text": answer.value, **_meta(answer)}


def _meta(answer: Answer) -> dict[str, Any]:
    return {"usage": answer.usage, "model": answer.model, "finishReason": answer.finish_reason}
