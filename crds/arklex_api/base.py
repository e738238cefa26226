"""What every kind shares: the pydantic base, JSON, names, durations, metadata and conditions.

Attributes are snake_case in Python and camelCase in a manifest. Types are the API server's: ``"5"`` is no number, and a null is
as good as absent, except where a field takes any JSON. Unknown fields are refused; the operator, which must not break on a
newer CRD, validates with ``extra="ignore"``. Descriptions become the CRD's, and with them ``kubectl explain``; the converter
adds the default to each.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from arklex_api.durations import DURATION_PATTERN, check_duration
from arklex_api.paths import Steps, render

JSON: TypeAlias = Any
"""A JSON value: None, bool, int (int64), float (finite), str, list or dict with string keys."""

GROUP = "arklex.ai"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DATA_KEY_PATTERN = r"^[-._a-zA-Z0-9]+$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=LABEL_PATTERN)]
"""A DNS label (RFC 1123), as Kubernetes names ports and Services."""

Text = Annotated[str, Field(max_length=4096)]
"""A human sentence or an expression: at most 4,096 characters."""

Duration = Annotated[
    str, Field(min_length=1, max_length=32, json_schema_extra={"pattern": DURATION_PATTERN}), AfterValidator(check_duration)
]
"""A Go duration, positive: ``500ms``, ``1h30m``."""

Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""An RFC 3339 time, UTC."""

Count = Annotated[int, Field(ge=0)]


class KubeModel(BaseModel):
    """Base of everything that appears in a manifest."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)

    def given(self, field: str) -> bool:
        """Whether the manifest names ``field`` (a Python attribute), null included: presence decides, not null."""
        return field in self.model_fields_set

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """What is wrong between fields that are each right: (path below this model, by alias; message)."""
        return ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """As the API server prunes it, but for fields of any JSON, where null is a value."""
        if not isinstance(data, dict) or None not in data.values():
            return data
        keeps = _takes_null(cls)
        return {key: value for key, value in data.items() if value is not None or key in keeps}

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        broken = list(self.broken_rules())
        if broken:
            text = "; ".join(f"{render(steps)}: {message}" if steps else message for steps, message in broken)
            raise PydanticCustomError("rules", "{text}", {"text": text, "rules": broken})
        return self


@cache
def _takes_null(model: type[BaseModel]) -> frozenset[str]:
    fields = ((name, field) for name, field in model.model_fields.items() if field.annotation is Any)
    return frozenset(key for name, field in fields for key in (name, field.alias or name))


class ObjectMeta(KubeModel):
    """The part of Kubernetes' ObjectMeta that arklex reads; everything else in it is carried along untouched."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)] = ""
    generate_name: Annotated[str | None, Field(max_length=253)] = None
    namespace: Name = "default"
    uid: str | None = None
    generation: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """An object has a name, or asks the API server for one."""
        if not self.name and not self.generate_name:
            yield ("name",), "is required"


class NamedObject(KubeModel):
    """An object whose name labels what is made for it (Deployments, pods, metrics): a DNS label, at most 63 characters."""

    metadata: ObjectMeta

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """The name's length and dots."""
        if len(self.metadata.name) > 63 or "." in self.metadata.name:
            yield ("metadata", "name"), "must be a DNS label: at most 63 of lower-case letters, digits and '-', no dots"


class Condition(KubeModel):
    """A Kubernetes condition (KEP-1623), with its own observedGeneration so that ``kubectl wait`` is not misled."""

    type: Annotated[str, Field(min_length=1, max_length=64, description="What the condition speaks of, in CamelCase.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it holds.")]
    reason: Annotated[str, Field(max_length=128, description="Why, for machines, in CamelCase.")]
    message: Annotated[str, Field(max_length=2048, description="Why, for people; names the field and the fix.")] = ""
    last_transition_time: Annotated[Time | None, Field(description="When status last changed.")] = None
    observed_generation: Annotated[
        Count | None, Field(description="The metadata.generation that the condition was judged for.")
    ] = None


Conditions = Annotated[list[Condition], Field(max_length=16, description="Observations of the object, one for each type.")]
ObservedGeneration = Annotated[Count | None, Field(description="The metadata.generation that this status was derived from.")]


class SecretKeyRef(KubeModel):
    """One key of a Secret of the same namespace."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN, description="Name of the Secret, in this namespace."),
    ]
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=DATA_KEY_PATTERN, description="Key in the Secret's data.")]
