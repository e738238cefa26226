"""Objects as the API server returns them, to models: read leniently, with numbers as the loader makes them.

An API server takes JSON ten thousand levels deep; what nests deeper than a file may is refused before anything recurses.
Lenient: a newer CRD may have fields that this version does not know. They are passed over, where the loader, which reads what a
person has just written, refuses them. ``status`` is left out: whoever reads an object's spec must not fail over its status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from arklex_api.base import API_VERSION, JSON, KubeModel
from arklex_api.messages import problems_of
from arklex_api.paths import render
from arklex_api.problems import ManifestError, Problem
from arklex_api.scalars import INT64_MAX, INT64_MIN, integral
from arklex_api.yamlread import MAX_DEPTH

Model = TypeVar("Model", bound=KubeModel)


def read_object(model: type[Model], value: Mapping[str, JSON]) -> Model:
    """``value``, an object of ``model``'s kind, without its status. Raises ManifestError with every problem found."""
    if _deeper(value, MAX_DEPTH):
        raise ManifestError([Problem("", "TooDeep", f"nested deeper than {MAX_DEPTH} levels")])
    read = {"apiVersion": API_VERSION, "kind": model.__name__}
    read |= {key: normalised(value[key]) for key in ("metadata", "spec") if key in value}
    try:
        return model.model_validate(read, by_alias=True, by_name=False, extra="ignore")
    except ValidationError as error:
        found = problems_of(error, model)
        raise ManifestError([Problem(render(steps), reason, message) for steps, reason, message in found]) from error


def _deeper(value: JSON, levels: int) -> bool:
    """Whether lists and maps in ``value`` nest deeper than ``levels``; without recursion."""
    level: list[Any] = [value]
    for _ in range(levels):
        level = [item for each in level for item in _held(each) if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


def _held(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value


def normalised(value: Any) -> JSON:
    """JSON with numbers as the loader makes them, whoever parsed it: an integral float is an int, one beyond int64 a float.

    The API server prints 1e20 as ``100000000000000000000``, which Python reads as an int.
    """
    if isinstance(value, dict):
        return {key: normalised(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normalised(item) for item in value]
    if type(value) is float:
        return integral(value)
    if type(value) is int and not INT64_MIN <= value <= INT64_MAX:
        return float(value)
    return value
