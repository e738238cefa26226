"""JSON Schema as pydantic writes it, to the structural OpenAPI v3 schema that Kubernetes takes (operator-practice.md)."""

from __future__ import annotations

from typing import Any, TypeAlias

from arklex_api.crd.rules import DURATION_RULES, FIELD_RULES, MODEL_RULES
from arklex_api.durations import DURATION_PATTERN

Schema: TypeAlias = dict[str, Any]

_KEPT = ("format", "minLength", "maxLength", "pattern", "minItems", "maxItems", "minProperties", "maxProperties", "enum")
_ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True, "nullable": True}
_REF = "#/$defs/"


def convert(source: Schema, definitions: Schema, owner: str) -> Schema:
    """The structural schema of ``source``; ``owner`` is the model whose field it is, for messages.

    References are inlined, ``T | None`` is T (the API server prunes nulls), any JSON is preserved as it is. Raises ValueError
    for what a structural schema cannot say.
    """
    source, owner = _resolved(source, definitions, owner)
    kind = source.get("type")
    if kind is None and "enum" not in source and "const" not in source:
        if "anyOf" in source:
            raise ValueError(f"{owner}: a union is not structural")
        return {**_described(source), **_ANY}
    converted: Schema = {"type": kind or "string", **_described(source), **{k: source[k] for k in _KEPT if k in source}}
    if "const" in source:
        converted["enum"] = [source["const"]]
    if kind == "object":
        converted.update(_object(source, definitions, owner))
    elif kind == "array":
        converted["items"] = convert(source["items"], definitions, owner)
        converted["x-kubernetes-list-type"] = "atomic"
    elif kind in ("integer", "number"):
        converted.update(_numeric(source, kind))
    elif converted.get("pattern") == DURATION_PATTERN:
        converted["x-kubernetes-validations"] = DURATION_RULES
    return converted


def _resolved(source: Schema, definitions: Schema, owner: str) -> tuple[Schema, str]:
    """``source`` with its reference followed and null taken out; siblings (the field's description) win."""
    while True:
        if "$ref" in source:
            owner = source["$ref"].removeprefix(_REF)
            target = definitions[owner]
        else:
            options = [option for option in source.get("anyOf", ()) if option != {"type": "null"}]
            if len(options) != 1:
                return source, owner
            target = options[0]
        source = {**target, **{key: value for key, value in source.items() if key not in ("$ref", "anyOf")}}


def _described(source: Schema) -> Schema:
    description = source.get("description")
    if not description:
        return {}
    text = " ".join(str(description).replace("``", "").split())
    default = source.get("default")
    if isinstance(default, (bool, int, float)) or (isinstance(default, str) and default):
        text += f" Default: {str(default).lower() if isinstance(default, bool) else default}."
    return {"description": text}


def _numeric(source: Schema, kind: str) -> Schema:
    """Bounds; OpenAPI v3.0 writes an exclusive one as a flag beside it."""
    found: Schema = {"format": "int64"} if kind == "integer" else {}
    for keyword, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if keyword in source:
            found[keyword] = source[keyword]
        elif exclusive in source:
            found[keyword], found[exclusive] = source[exclusive], True
    return found


def _object(source: Schema, definitions: Schema, owner: str) -> Schema:
    if "properties" not in source:
        values = source.get("additionalProperties", True)
        if values in (True, {}):
            return {"x-kubernetes-preserve-unknown-fields": True}
        return {"additionalProperties": convert(values, definitions, owner)}
    properties = {name: _field(name, value, definitions, owner) for name, value in source["properties"].items()}
    found: Schema = {"properties": properties}
    if source.get("required"):
        found["required"] = source["required"]
    return {**found, **MODEL_RULES.get(owner, {})}


def _field(name: str, source: Schema, definitions: Schema, owner: str) -> Schema:
    return {**convert(source, definitions, owner), **FIELD_RULES.get((owner, name), {})}
