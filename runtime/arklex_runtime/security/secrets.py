"""Where the value of a secretRef comes from, embedded (semantics.md, "Manifests")."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from arklex_api.base import SecretKeyRef

USUAL_VARIABLES: Mapping[str, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GOOGLE_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
    "cohere": "CO_API_KEY",
    "huggingface": "HF_TOKEN",
    "deepseek": "DEEPSEEK_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "xai": "XAI_API_KEY",
    "together": "TOGETHER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
}
"""The variable in which each provider's own client looks for its key."""


class SecretNotFoundError(LookupError):
    """No source holds the secret; the words name all that were tried, never a value."""


class SecretResolver:
    """Finds secrets in Secret documents, then in ``ARKLEX_SECRET_<NAME>_<KEY>``, then in the provider's usual variable.

    Remembers every value it gives, so that a Redactor can keep them out of what is stored and shown.
    """

    def __init__(
        self, documents: Mapping[str, Mapping[str, str]] | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        """``documents`` is {name: {key: decoded value}}; ``environ`` defaults to the process's environment."""
        self._documents = documents or {}
        self._environ = os.environ if environ is None else environ
        self._given: set[str] = set()

    def resolve(self, ref: SecretKeyRef, provider: str | None = None) -> str:
        """The value of ``ref``; ``provider`` adds its usual variable as the last resort. Raises SecretNotFoundError."""
        document = self._documents.get(ref.name, {})
        variable = variable_of(ref)
        value = document.get(ref.key) or self._environ.get(variable) or self._usual(provider)
        if value:
            return self._give(value)
        tried = [f"a Secret {ref.name!r} with key {ref.key!r}", f"the variable {variable}"]
        if provider and provider in USUAL_VARIABLES:
            tried.append(USUAL_VARIABLES[provider])
        raise SecretNotFoundError(f"secret {ref.name}/{ref.key} is not set: give {' or '.join(tried)}")

    def usual(self, provider: str) -> str | None:
        """The value of the provider's usual variable, None where it is unset or empty."""
        value = self._usual(provider)
        return self._give(value) if value else None

    def values(self) -> frozenset[str]:
        """Every value given so far."""
        return frozenset(self._given)

    def all_values(self) -> frozenset[str]:
        """Every value that the documents hold or that was given: what must appear nowhere."""
        held = {value for document in self._documents.values() for value in document.values()}
        return frozenset(held | self._given)

    def _usual(self, provider: str | None) -> str | None:
        variable = USUAL_VARIABLES.get(provider) if provider else None
        return self._environ.get(variable) if variable else None

    def _give(self, value: str) -> str:
        value = value.strip()
        self._given.add(value)
        return value


def variable_of(ref: SecretKeyRef) -> str:
    """The environment variable of a secretRef: upper case, all but letters and digits as ``_``."""
    return re.sub(r"[^A-Z0-9]", "_", f"ARKLEX_SECRET_{ref.name}_{ref.key}".upper())
