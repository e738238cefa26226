"""What every kind shares: the pydantic base, JSON, names, durations, metadata and conditions.

Attributes are snake_case in Python and camelCase in a manifest. Types are the API server's: ``"5"`` is no number. Unknown fields
are refused; the operator, which must not break on a newer CRD, validates with ``extra="ignore"``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from arklex_api.durations import check_duration

JSON: TypeAlias = Any
"""A JSON value: None, bool, int (int64), float (finite), str, list or dict with string keys."""

GROUP = "arklex.ai"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=LABEL_PATTERN)]
"""A DNS label (RFC 1123), as Kubernetes names ports and Services."""

Text = Annotated[str, Field(max_length=4096)]
"""A human sentence or an expression: at most 4,096 characters."""

Duration = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(check_duration)]
"""A Go duration, positive: ``500ms``, ``1h30m``."""


class KubeModel(BaseModel):
    """Base of everything that appears in a manifest."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)

    def given(self, field: str) -> bool:
        """Whether the manifest names ``field`` (a Python attribute), null included: presence decides, not null."""
        return field in self.model_fields_set


class ObjectMeta(KubeModel):
    """The part of Kubernetes' ObjectMeta that arklex reads; everything else in it is carried along untouched."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: str = "default"
    uid: str | None = None
    generation: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Condition(KubeModel):
    """A Kubernetes condition (KEP-1623), with its own observedGeneration so that ``kubectl wait`` is not misled."""

    type: Annotated[str, Field(max_length=64)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(max_length=128)]
    message: Annotated[str, Field(max_length=4096)] = ""
    last_transition_time: Annotated[str, Field(max_length=32)] | None = None
    observed_generation: int | None = None


class SecretKeyRef(KubeModel):
    """One key of a Secret of the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    key: Annotated[str, Field(min_length=1, max_length=253)]
