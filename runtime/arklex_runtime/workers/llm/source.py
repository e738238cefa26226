"""Where a model is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

OutputMode = Literal["native", "tool", "prompted", "auto"]
"""How a schema is asked for: the provider's JSON mode, a tool's arguments, the prompt, or what the library thinks best."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """All that is needed to make the client of one model.

    ``compatible``: behind an OpenAI-compatible ``base_url`` of the user's own. ``api_key`` None: the service has none.
    """

    provider: str
    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    compatible: bool = False
    output_mode: OutputMode = "auto"

    @property
    def name(self) -> str:
        """``provider:model``, as messages call it."""
        return f"{self.provider}:{self.model}"
