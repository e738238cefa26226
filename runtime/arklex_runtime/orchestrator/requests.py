"""What a run is given, and the name it gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from arklex_api.base import JSON
from arklex_api.jsonvalue import check_json
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import ValidationError
from arklex_runtime.state.records import NOWHERE, Origin

MAX_QUERY = 10_000
"""Characters of a query at the most."""


@dataclass(slots=True)
class Request:
    """What one run is given. ``run_id`` is made up where it is None."""

    query: str = ""
    input: JSON = None
    context: dict[str, JSON] = field(default_factory=dict)
    session_id: str | None = None
    run_id: str | None = None
    origin: Origin = NOWHERE


def accept(program: Program, request: Request) -> tuple[JSON, dict[str, JSON]]:
    """The input and the context, as JSON and as the graph's schema wants it. Raises ValidationError."""
    if len(request.query) > MAX_QUERY:
        raise ValidationError(f"query has {len(request.query)} characters, more than {MAX_QUERY}")
    try:
        check_json(request.query, what="query")
        context: dict[str, JSON] = check_json(request.context, what="context")
        given = check_json({} if request.input is None else request.input, what="input")
        return program.inputs[program.root].accept(given, "input"), context
    except ValueError as error:
        raise ValidationError(str(error)) from None


def new_run_id(graph: str, at: float, random: Callable[[], float]) -> str:
    """``<graph>-<16 digits of base 32>``, a DNS label: milliseconds since the epoch (48 bits), then 32 random bits.

    Ids of one graph sort by time, and runs of the same moment lie side by side in the journal (docs/decisions/0002).
    """
    millis, luck = int(at * 1000), int(random() * (1 << 32))
    high, low = divmod((millis << 32) | luck, 1 << 40)
    return "-".join((graph[:40].rstrip("-."), _base32(high) + _base32(low)))


_PAIRS = [a + b for a in "0123456789abcdefghijklmnopqrstuv" for b in "0123456789abcdefghijklmnopqrstuv"]


def _base32(bits: int) -> str:
    """40 bits as 8 digits that sort as the number does (RFC 4648's extended hex alphabet)."""
    return _PAIRS[bits >> 30] + _PAIRS[bits >> 20 & 1023] + _PAIRS[bits >> 10 & 1023] + _PAIRS[bits & 1023]
