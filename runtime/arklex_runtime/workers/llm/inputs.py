"""The inputs of an llm worker's actions, checked before anything is sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from arklex_api.base import JSON
from arklex_runtime.errors import TaskError

ACTIONS = ("generate", "classify", "chat")


class Common(BaseModel):
    """What every action takes. ``tools`` names tools of the graph that the model may call."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)

    system: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tools: list[str] = []


class Generate(Common):
    """``schema`` (JSON Schema) asks for a value of that shape instead of text."""

    prompt: Annotated[str, Field(min_length=1)]
    schema_: Annotated[dict[str, JSON] | None, Field(alias="schema")] = None


class Classify(Common):
    """``text`` belongs to exactly one of ``labels``."""

    text: str
    labels: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=1000)]


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: Literal["system", "user", "assistant"]
    content: str


class Chat(Common):
    """``messages`` so far, the last one the user's; the output is the assistant's next."""

    messages: Annotated[list[Message], Field(min_length=1)]


def parse(action: str | None, inputs: JSON) -> Generate | Classify | Chat:
    """The inputs of ``action`` (default generate). Raises TaskError InvalidInput, which names the field."""
    kinds: dict[str, type[Generate] | type[Classify] | type[Chat]] = {"generate": Generate, "classify": Classify, "chat": Chat}
    kind = kinds.get(action or "generate")
    if kind is None:
        raise _invalid(f"action {action!r} is none of {', '.join(ACTIONS)}")
    if not isinstance(inputs, dict):
        raise _invalid(f"with must be a map with the inputs of {action or 'generate'}, not {type(inputs).__name__}")
    try:
        parsed = kind.model_validate(inputs)
    except ValidationError as error:
        raise _invalid("; ".join(_problem(each) for each in error.errors(include_url=False))) from None
    if isinstance(parsed, Classify) and len(set(parsed.labels)) != len(parsed.labels):
        raise _invalid("with.labels holds a label twice")
    if isinstance(parsed, Chat) and parsed.messages[-1].role != "user":
        raise _invalid("with.messages must end with a message of role user")
    return parsed


def _problem(error: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return f"with{path}: {error['msg']}"


def _invalid(message: str) -> TaskError:
    return TaskError("InvalidInput", message, retryable=False)
