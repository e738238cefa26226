"""Conversations in the library's shape."""

from __future__ import annotations

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, SystemPromptPart, TextPart, UserPromptPart

from arklex_runtime.workers.llm.inputs import Message


def history_of(messages: list[Message]) -> tuple[list[ModelMessage], str]:
    """All but the last of ``messages``, and the last one's content, which is the prompt."""
    return [_message(each) for each in messages[:-1]], messages[-1].content


def _message(message: Message) -> ModelMessage:
    if message.role == "assistant":
        return ModelResponse(parts=[TextPart(message.content)])
    if message.role == "system":
        return ModelRequest(parts=[SystemPromptPart(message.content)])
    return ModelRequest(parts=[UserPromptPart(message.content)])
