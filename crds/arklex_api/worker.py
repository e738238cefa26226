"""The Worker kind: a pool of one kind of worker (design.md, "The kinds"; the guide's Worker Pool and AutoScaler)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Condition, Duration, KubeModel, ObjectMeta, SecretKeyRef

WorkerType = Literal["rag", "database", "browser", "llm", "tool", "custom"]


class LLM(KubeModel):
    """Which model a worker speaks to."""

    provider: Annotated[str, Field(min_length=1, max_length=63)] = "openai"
    model: Annotated[str, Field(min_length=1, max_length=253)]
    api_key_secret_ref: SecretKeyRef | None = None
    base_url: Annotated[str, Field(max_length=2048, pattern=r"^https?://")] | None = None


class Scaling(KubeModel):
    """Thresholds of the guide's AutoScaler, as shares of a pool's load."""

    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 2
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 10
    scale_up_threshold: Annotated[float, Field(gt=0, le=10)] = 0.8
    scale_down_threshold: Annotated[float, Field(ge=0, le=10)] = 0.2
    cooldown_seconds: Annotated[int, Field(ge=0, le=1800)] = 300
    step: Annotated[int, Field(ge=1, le=100)] = 1


class CircuitBreaker(KubeModel):
    """When a worker that keeps failing is left alone for a while."""

    failure_threshold: Annotated[int, Field(ge=1, le=1000)] = 5
    window: Duration = "1m"
    open_for: Duration = "30s"
    half_open_probes: Annotated[int, Field(ge=1, le=100)] = 1


class EgressRule(KubeModel):
    """Where a worker may connect to, besides what every worker needs."""

    cidr: Annotated[str, Field(max_length=64)]
    except_: Annotated[list[Annotated[str, Field(max_length=64)]], Field(alias="except", max_length=32)] = []
    ports: Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(max_length=32)] = []


class WorkerSpec(KubeModel):
    """A pool of long-lived, autoscaled workers of one type."""

    type: WorkerType
    config: Annotated[dict[str, JSON], Field(max_length=64)] = {}
    llm: LLM | None = None
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 10
    scaling: Scaling = Scaling()
    circuit_breaker: CircuitBreaker | None = None
    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = 30
    egress: Annotated[list[EgressRule], Field(max_length=64)] | None = None
    template: dict[str, JSON] | None = None


class WorkerStatus(KubeModel):
    """What the operator observes of the pool."""

    observed_generation: int | None = None
    replicas: int | None = None
    ready_replicas: int | None = None
    desired_replicas: int | None = None
    queued: int | None = None
    in_flight: int | None = None
    load: Annotated[str, Field(max_length=16)] | None = None
    last_scale_time: Annotated[str, Field(max_length=32)] | None = None
    conditions: Annotated[list[Condition], Field(max_length=16)] = []


class Worker(KubeModel):
    """A pool of workers of one kind, scaled on how busy it is."""

    api_version: Literal["arklex.ai/v1alpha1"]
    kind: Literal["Worker"]
    metadata: ObjectMeta
    spec: WorkerSpec
    status: WorkerStatus | None = None
