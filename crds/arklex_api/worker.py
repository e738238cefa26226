"""The Worker kind: a pool of one kind of worker (design.md, "The kinds"; the guide's Worker Pool and AutoScaler)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Conditions, Count, Duration, KubeModel, NamedObject, ObservedGeneration, SecretKeyRef, Time
from arklex_api.paths import Steps

WorkerType = Literal["rag", "database", "browser", "llm", "tool", "custom"]
HANDLER_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_HANDLER = re.compile(HANDLER_PATTERN)

Cidr = Annotated[str, Field(min_length=1, max_length=64)]


class LLM(KubeModel):
    """Which model a worker speaks to."""

    provider: Annotated[
        str, Field(min_length=1, max_length=63, description="Provider, such as openai, anthropic, google or ollama.")
    ] = "openai"
    model: Annotated[str, Field(min_length=1, max_length=253, description="The provider's name of the model.")]
    api_key_secret_ref: Annotated[SecretKeyRef | None, Field(description="The Secret key that holds the API key.")] = None
    base_url: Annotated[
        str | None,
        Field(max_length=2048, pattern=r"^https?://", description="Where the provider's API is; its own address when absent."),
    ] = None


class Scaling(KubeModel):
    """Thresholds of the guide's AutoScaler, as shares of a pool's load."""

    min_replicas: Annotated[int, Field(ge=0, le=1000, description="Fewest pods; 0 where the cluster can scale to zero.")] = 2
    max_replicas: Annotated[int, Field(ge=1, le=1000, description="Most pods.")] = 10
    scale_up_threshold: Annotated[
        float, Field(gt=0, le=10, description="Load above which a pod is added, as a share of the pool.")
    ] = 0.8
    scale_down_threshold: Annotated[
        float, Field(ge=0, le=10, description="Load below which a pod is removed, as a share of the pool.")
    ] = 0.2
    cooldown_seconds: Annotated[int, Field(ge=0, le=1800, description="Seconds between two changes of the number of pods.")] = (
        300
    )
    step: Annotated[int, Field(ge=1, le=100, description="Pods added or removed at once.")] = 1

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """Bounds in their order."""
        if self.min_replicas > self.max_replicas:
            yield (
                ("minReplicas",),
                f"is {self.min_replicas}, more than maxReplicas {self.max_replicas}: lower it, or raise maxReplicas",
            )
        if self.scale_down_threshold >= self.scale_up_threshold:
            up, down = self.scale_up_threshold, self.scale_down_threshold
            yield ("scaleDownThreshold",), f"is {down:g}; it must be less than scaleUpThreshold {up:g}"


class CircuitBreaker(KubeModel):
    """When a worker that keeps failing is left alone for a while."""

    failure_threshold: Annotated[int, Field(ge=1, le=1000, description="Failures within the window that open the breaker.")] = 5
    window: Annotated[Duration, Field(description="How far back failures count, as a Go duration.")] = "1m"
    open_for: Annotated[Duration, Field(description="How long it stays open before a probe, as a Go duration.")] = "30s"
    half_open_probes: Annotated[
        int, Field(ge=1, le=100, description="Tasks let through as probes; all must succeed to close it.")
    ] = 1


class EgressRule(KubeModel):
    """Where a worker may connect to, besides what every worker needs."""

    cidr: Annotated[Cidr, Field(description="Addresses in CIDR notation, such as 10.0.0.0/8.")]
    except_: Annotated[list[Cidr], Field(alias="except", max_length=32, description="Parts of cidr that stay closed.")] = []
    ports: Annotated[
        list[Annotated[int, Field(ge=1, le=65535)]], Field(max_length=32, description="TCP ports; all when empty.")
    ] = []

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """Networks that are networks, exceptions inside them."""
        whole = _network(self.cidr)
        if whole is None:
            yield ("cidr",), f"'{self.cidr}' is not a network: write it like 10.0.0.0/8"
        for index, text in enumerate(self.except_):
            part = _network(text)
            if part is None:
                yield ("except", index), f"'{text}' is not a network: write it like 10.1.0.0/16"
            elif whole is not None and not _inside(part, whole):
                yield ("except", index), f"{text} does not lie in {self.cidr}"


class WorkerSpec(KubeModel):
    """A pool of long-lived, autoscaled workers of one type."""

    type: Annotated[WorkerType, Field(description="What the workers do.")]
    config: Annotated[
        dict[str, JSON],
        Field(max_length=64, description="Settings of the type. For custom: handler (package.module:callable) "
              "or, for a container of one's own, port; the rest goes to the handler."),
    ] = {}  # fmt: skip
    llm: Annotated[LLM | None, Field(description="The model to speak to; required for type llm.")] = None
    concurrency: Annotated[int, Field(ge=1, le=1000, description="Tasks at once in each pod.")] = 10
    scaling: Annotated[Scaling, Field(description="How many pods there are, and when that changes.")] = Scaling()
    circuit_breaker: Annotated[CircuitBreaker | None, Field(description="When to leave the pool alone; never when absent.")] = (
        None
    )
    drain_seconds: Annotated[
        int,
        Field(
            ge=0, le=86400, description="Seconds a pod that is to stop may take for the tasks it holds; then they are released."
        ),
    ] = 30
    egress: Annotated[
        list[EgressRule] | None,
        Field(
            max_length=64,
            description="Where pods may connect to. Without it llm and browser reach the internet's port 443, others nothing.",
        ),
    ] = None
    template: Annotated[
        dict[str, JSON] | None,
        Field(max_length=16, description="Overlay of the pod template, merged by name as kubectl patch would."),
    ] = None

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """What the type asks for."""
        if self.type == "llm" and self.llm is None:
            yield ("llm",), "is required for type llm: give at least llm.model"
        if self.type == "custom":
            yield from self._custom()

    def _custom(self) -> Iterable[tuple[Steps, str]]:
        handler, port = self.config.get("handler"), self.config.get("port")
        if handler is None and port is None:
            yield ("config", "handler"), "is required for type custom: package.module:callable, e.g. handlers:greet"
        elif handler is not None and not (isinstance(handler, str) and _HANDLER.match(handler)):
            yield ("config", "handler"), "must be written package.module:callable, e.g. handlers:greet"
        if port is not None and (type(port) is not int or not 1 <= port <= 65535):
            yield ("config", "port"), "must be a port number from 1 to 65535"


class WorkerStatus(KubeModel):
    """What the operator observes of the pool."""

    observed_generation: ObservedGeneration = None
    replicas: Annotated[Count | None, Field(description="Pods there are.")] = None
    ready_replicas: Annotated[Count | None, Field(description="Pods that take tasks.")] = None
    desired_replicas: Annotated[Count | None, Field(description="Pods there should be.")] = None
    queued: Annotated[Count | None, Field(description="Tasks that wait for a slot.")] = None
    in_flight: Annotated[Count | None, Field(description="Tasks in progress.")] = None
    load: Annotated[
        str | None,
        Field(max_length=16, description="max((cpu + memory) / 2, (queued + in flight) / slots), as a decimal; 1.00 is full."),
    ] = None
    last_scale_time: Annotated[Time | None, Field(description="When the number of pods last changed.")] = None
    conditions: Conditions = []


class Worker(NamedObject):
    """A pool of workers of one kind, scaled on how busy it is."""

    api_version: Literal["arklex.ai/v1alpha1"]
    kind: Literal["Worker"]
    spec: Annotated[WorkerSpec, Field(description="The pool.")]
    status: Annotated[WorkerStatus | None, Field(description="What is observed of it.")] = None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text) if "/" in text else None
    except ValueError:
        return None


def _inside(part: ipaddress.IPv4Network | ipaddress.IPv6Network, whole: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return part.version == whole.version and part.overlaps(whole) and part.prefixlen >= whole.prefixlen
