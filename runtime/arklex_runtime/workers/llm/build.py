"""Checks a Worker's ``llm`` and finds its key, without importing the provider's library."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from arklex_api.base import JSON
from arklex_api.worker import LLM
from arklex_runtime.security.secrets import USUAL_VARIABLES, SecretNotFoundError
from arklex_runtime.workers.base import WorkerServices
from arklex_runtime.workers.llm.source import ModelSource, OutputMode
from arklex_runtime.workers.llm.worker import LLMWorker


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider needs: a module, and the extra of pydantic-ai-slim that brings it."""

    module: str
    extra: str


_OPENAI = Provider("openai", "openai")
PROVIDERS: Mapping[str, Provider] = {
    "anthropic": Provider("anthropic", "anthropic"),
    "bedrock": Provider("boto3", "bedrock"),
    "cerebras": _OPENAI,
    "cohere": Provider("cohere", "cohere"),
    "deepseek": _OPENAI,
    "fireworks": _OPENAI,
    "google": Provider("google.genai", "google"),
    "groq": Provider("groq", "groq"),
    "huggingface": Provider("huggingface_hub", "huggingface"),
    "mistral": Provider("mistralai", "mistral"),
    "ollama": _OPENAI,
    "openai": _OPENAI,
    "openai-chat": _OPENAI,
    "openrouter": _OPENAI,
    "together": _OPENAI,
    "vllm": _OPENAI,
    "xai": Provider("xai_sdk", "xai"),
}
"""The providers by name. Any other name works too with a baseUrl, as an OpenAI-compatible service."""

OWN_URL = frozenset({"anthropic", "google", "groq", "mistral"})
"""Providers with a protocol of their own whose ``baseUrl`` moves that; with others it means an OpenAI-compatible service."""


class LLMConfigError(ValueError):
    """A Worker's model cannot work; ``field`` (below spec) and ``reason`` (CamelCase) say where and why."""

    def __init__(self, field: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason


def build_llm(llm: LLM, config: Mapping[str, JSON], services: WorkerServices) -> LLMWorker:
    """The worker that speaks to ``llm``. Raises LLMConfigError."""
    _check_provider(llm)
    key = _key(llm, services)
    source = ModelSource(llm.provider, llm.model, llm.base_url, key, _compatible(llm), _output_mode(llm, config))
    return LLMWorker(source, services.clock)


def _check_provider(llm: LLM) -> None:
    provider = PROVIDERS.get(llm.provider)
    if provider is None and llm.base_url is None:
        known = ", ".join(sorted(PROVIDERS))
        message = f"provider {llm.provider!r} is unknown: use one of {known}, or give the baseUrl of a service like OpenAI's"
        raise LLMConfigError("llm.provider", "ProviderUnknown", message)
    needed = [Provider("pydantic_ai", "openai"), provider if provider and not _compatible(llm) else _OPENAI]
    missing = next((each for each in needed if not _installed(each.module)), None)
    if missing is not None:
        extra = needed[-1].extra
        message = f"provider {llm.provider!r} is not installed: pip install 'arklex-operator[llm]' 'pydantic-ai-slim[{extra}]'"
        raise LLMConfigError("llm.provider", "ProviderNotInstalled", message)


def _compatible(llm: LLM) -> bool:
    """Whether the model is behind an OpenAI-compatible URL of the user's own."""
    return llm.base_url is not None and llm.provider not in OWN_URL


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _key(llm: LLM, services: WorkerServices) -> str | None:
    """The key; only a key that the manifest names goes to a URL that the manifest names."""
    name = "openai" if llm.provider == "openai-chat" else llm.provider
    if llm.api_key_secret_ref is not None:
        try:
            return services.secrets.resolve(llm.api_key_secret_ref, name)
        except SecretNotFoundError as error:
            raise LLMConfigError("llm.apiKeySecretRef", "SecretNotFound", str(error)) from error
    if llm.base_url is not None:
        return None
    key = services.secrets.usual(name)
    if key is None and name in USUAL_VARIABLES:
        message = f"provider {llm.provider!r} needs a key: give apiKeySecretRef, or set {USUAL_VARIABLES[name]}"
        raise LLMConfigError("llm.apiKeySecretRef", "SecretNotFound", message)
    return key


def _output_mode(llm: LLM, config: Mapping[str, Any]) -> OutputMode:
    given = config.get("outputMode", "native" if _compatible(llm) else "auto")
    if given not in get_args(OutputMode):
        message = f"config.outputMode {given!r} is none of {', '.join(get_args(OutputMode))}"
        raise LLMConfigError("config.outputMode", "Invalid", message)
    return cast(OutputMode, given)
