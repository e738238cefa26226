"""One call of a model through pydantic-ai: the only module that knows how to make its models and agents."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai import Agent, ModelRetry, NativeOutput, PromptedOutput, StructuredDict, Tool, ToolOutput
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider_class
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

from arklex_api.base import JSON
from arklex_runtime.workers.llm.source import ModelSource, OutputMode
from arklex_runtime.workers.llm.structured import Shape

OUTPUT_RETRIES = 2
"""How often the model is told what is wrong with its answer before the attempt fails."""

MAX_ROUNDS = 12
"""Requests of one call at most: rounds of tools and corrections."""

KEYLESS = "no-key"
"""Sent to a service of the user's own without a key: the clients refuse an empty one, and would look in the environment."""

_SCHEMA_PROMPT = "Answer with JSON that follows this schema, and with nothing else:\n{schema}"


@dataclass(slots=True)
class Call:
    """What is asked of the model. ``timeout`` in seconds."""

    prompt: str
    system: str | None = None
    history: Sequence[ModelMessage] = ()
    shape: Shape | None = None
    tools: Sequence[Tool[None]] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    timeout: float | None = None


@dataclass(slots=True)
class Answer:
    """What came back; ``value`` is text, or the object of the call's shape."""

    value: Any
    model: str
    usage: dict[str, int] = field(default_factory=dict)
    finish_reason: str | None = None


def make_model(source: ModelSource) -> Model:
    """The library's model; it connects to nothing yet. Raises the library's UserError."""
    if source.compatible and source.base_url is not None:
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

        key = source.api_key or KEYLESS
        provider = OpenAICompatibleProvider(source.provider, base_url=source.base_url, api_key=key)
        return OpenAIChatModel(source.model, provider=provider)
    return infer_model(f"{source.provider}:{source.model}", provider_factory=lambda name: _provider(name, source))


async def ask(model: Model, call: Call, mode: OutputMode) -> Answer:
    """The model's answer to ``call``. Raises the library's exceptions, and what tools raise."""
    agent: Agent[None, Any] = Agent(
        model, output_type=_output_type(call.shape, mode), instructions=call.system, tools=call.tools, retries=OUTPUT_RETRIES
    )
    if call.shape is not None:
        _hold_to(agent, call.shape)
    result = await agent.run(
        call.prompt,
        message_history=list(call.history) or None,
        model_settings=_settings(call),
        usage_limits=UsageLimits(request_limit=MAX_ROUNDS),
    )
    usage = {"inputTokens": result.usage.input_tokens, "outputTokens": result.usage.output_tokens}
    response = result.response
    return Answer(result.output, response.model_name or model.model_name, usage, response.finish_reason)


def _provider(name: str, source: ModelSource) -> Provider[Any]:
    kind = infer_provider_class(name)
    takes = inspect.signature(kind).parameters
    key = source.api_key or (KEYLESS if source.base_url is not None else None)
    given = {"api_key": key, "base_url": source.base_url}
    return kind(**{key: value for key, value in given.items() if value is not None and key in takes})


def _output_type(shape: Shape | None, mode: OutputMode) -> Any:
    if shape is None:
        return str
    kind = StructuredDict(shape.schema, name="answer")
    match mode:
        case "native":
            return NativeOutput(kind, name="answer", template=_SCHEMA_PROMPT)
        case "prompted":
            return PromptedOutput(kind, name="answer")
        case "tool":
            return ToolOutput(kind, name="answer")
    return kind


def _hold_to(agent: Agent[None, Any], shape: Shape) -> None:
    @agent.output_validator
    def check(answer: dict[str, JSON]) -> dict[str, JSON]:
        problem = shape.problem(answer)
        if problem is not None:
            raise ModelRetry(f"The answer does not follow the schema. {problem}")
        return answer


def _settings(call: Call) -> ModelSettings:
    """Retries are the engine's, durable and counted: the provider's client makes none of its own."""
    settings = ModelSettings(max_retries=0)
    if call.max_tokens is not None:
        settings["max_tokens"] = call.max_tokens
    if call.temperature is not None:
        settings["temperature"] = call.temperature
    if call.timeout is not None:
        settings["timeout"] = call.timeout
    return settings
