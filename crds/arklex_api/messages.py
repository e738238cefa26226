"""Pydantic's validation errors as problems for people: which field, what is wrong, what to write instead."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from arklex_api.durations import DURATION_PATTERN
from arklex_api.paths import Steps
from arklex_api.suggest import Suggester

_LABEL_HINT = "use lower-case letters, digits and '-', at most 63, starting and ending with a letter or digit"
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
}
MAX_PROBLEMS = 200
"""Problems of one object that are told."""

_REASONS = {"missing": "Required", "extra_forbidden": "UnknownField", "rules": "Invalid"}

Writer: TypeAlias = Callable[[Mapping[str, Any], Any], str]
_WRITERS: dict[str, Writer] = {
    "string_too_short": lambda c, v: (
        "must not be empty" if c["min_length"] == 1 else f"needs {c['min_length']} characters or more"
    ),
    "string_too_long": lambda c, v: f"has {len(v)} characters; at most {c['max_length']} are allowed",
    "too_short": lambda c, v: (
        "must not be empty" if c["min_length"] == 1 else f"needs {c['min_length']} entries or more, has {c['actual_length']}"
    ),
    "too_long": lambda c, v: f"has {len(v)} entries; at most {c['max_length']} are allowed",
    "greater_than": lambda c, v: f"is {v}; it must be more than {_number(c['gt'])}",
    "greater_than_equal": lambda c, v: f"is {v}; it must be {_number(c['ge'])} or more",
    "less_than": lambda c, v: f"is {v}; it must be less than {_number(c['lt'])}",
    "less_than_equal": lambda c, v: f"is {v}; it must be {_number(c['le'])} or less",
    "value_error": lambda c, v: str(c["error"]),
    "missing": lambda c, v: "is required",
}


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[tuple[Steps, str, str]]:
    """(path, reason, message) of what pydantic found in a ``model``: the first MAX_PROBLEMS, then how many more there are."""
    details, suggest = error.errors(include_url=False), Suggester()
    found = [each for detail in details[:MAX_PROBLEMS] for each in _problems(detail, model, suggest)]
    if len(details) > MAX_PROBLEMS:
        found.append(((), "TooManyProblems", f"{len(details) - MAX_PROBLEMS} more problems in this object"))
    return found


def _problems(detail: ErrorDetails, model: type[BaseModel], suggest: Suggester) -> list[tuple[Steps, str, str]]:
    kind, loc, context = detail["type"], detail["loc"], detail.get("ctx", {})
    if kind == "rules":
        return [(loc + tuple(below), "Invalid", message) for below, message in context["rules"]]
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
    return [(loc, _REASONS.get(kind, "Invalid"), _message(detail, context, model, suggest))]


def _message(detail: ErrorDetails, context: Mapping[str, Any], model: type[BaseModel], suggest: Suggester) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown(detail["loc"], model, suggest)
    if kind == "literal_error":
        return _choice(value, context["expected"], suggest)
    if kind == "string_pattern_mismatch":
        return _pattern(value, context["pattern"])
    if kind in _KINDS:
        return _wrong_type(_KINDS[kind], value)
    writer = _WRITERS.get(kind)
    return writer(context, value) if writer is not None else detail["msg"]


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wrong_type(wanted: str, value: Any) -> str:
    hint = ""
    if wanted == "text" and isinstance(value, bool):
        hint = ": quote it (YAML takes bare y, n, yes, no, on and off for booleans)"
    elif wanted == "text" and isinstance(value, (int, float)):
        hint = ": quote it"
    elif wanted in ("a whole number", "a number", "true or false") and isinstance(value, str):
        hint = ": remove the quotes" if value and len(value) < 32 else ""
    return f"must be {wanted}, not {kind_of(value)}{hint}"


def kind_of(value: Any) -> str:
    """What a JSON value is, for a message; long values are not repeated."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {excerpt(value)}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "a map"


def excerpt(value: Any) -> str:
    """``value`` quoted and cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _choice(value: Any, expected: str, suggest: Suggester) -> str:
    options = [part for part in expected.replace(" or ", ", ").replace("'", "").split(", ") if part]
    near = suggest.near(value, options) if isinstance(value, str) else None
    hint = f"; did you mean {near!r}?" if near else ""
    return f"{excerpt(value)} is not one of {', '.join(options)}{hint}"


def _pattern(value: Any, pattern: str) -> str:
    if pattern == DURATION_PATTERN:
        return f"{excerpt(value)} is not a duration: write it like 500ms, 30s or 1h30m"
    if "https?://" in pattern:
        return f"{excerpt(value)} is not allowed: begin it with http:// or https://"
    hint = _LABEL_HINT if pattern.startswith("^[a-z0-9]") else f"it must match {pattern}"
    return f"{excerpt(value)} is not allowed: {hint}"


def _unknown(loc: Steps, model: type[BaseModel], suggest: Suggester) -> str:
    name = str(loc[-1])
    owner = _model_at(model, loc[:-1])
    fields = _fields(owner) if owner is not None else []
    by_lower = {field.lower().replace("_", "").replace("-", ""): field for field in fields}
    near = by_lower.get(name.lower().replace("_", "").replace("-", "")) or suggest.near(name, fields)
    hint = f", did you mean {near!r}?" if near else f": known are {', '.join(fields)}" if fields else ""
    return f"unknown field {excerpt(name)}{hint}"


@cache
def _fields(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], loc: Steps) -> type[BaseModel] | None:
    found: type[BaseModel] | None = model
    for step in loc:
        if found is None or isinstance(step, int):
            continue
        field = next((f for n, f in found.model_fields.items() if (f.alias or n) == step), None)
        found = _model_in(field.annotation) if field is not None else None
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model an annotation speaks of, through Annotated, Optional and list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in typing.get_args(annotation) if (model := _model_in(arg)) is not None), None)
