"""Tools: external calls that tasks and LLM workers make by name (the guide's ToolRegistry)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from arklex_api.base import JSON, Duration, KubeModel, Name, SecretKeyRef, Text
from arklex_api.paths import Steps

HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderValue = Annotated[str, Field(max_length=4096, pattern=r"^[^\r\n\x00]*$")]


class HttpAuth(KubeModel):
    """The Secret whose key holds the value of the Authorization header (``Bearer`` is added to a bare token)."""

    secret_ref: Annotated[SecretKeyRef, Field(description="The key that holds the Authorization header, or a bare token.")]


class HttpTool(KubeModel):
    """An HTTP call; url, headers and body may hold ``${…}`` over ``input``, the task's resolved ``with``."""

    method: Annotated[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], Field(description="HTTP method.")] = "GET"
    url: Annotated[
        str,
        Field(
            min_length=1, max_length=2048, pattern=r"^(https?://|\$\{)", description="Where to call: http or https, with ${…}."
        ),
    ]
    headers: Annotated[
        dict[HeaderName, HeaderValue], Field(max_length=64, description="Headers, with ${…}; a credential belongs in auth.")
    ] = {}
    body: Annotated[JSON, Field(description="Body: text as it is, any other JSON as JSON, with ${…}.")] = None
    auth: Annotated[HttpAuth | None, Field(description="Where the Authorization header comes from.")] = None


class RateLimit(KubeModel):
    """At most requestsPerMinute in any 60 s and burst in any 1 s (the guide's RateLimiter)."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000, description="Calls in any 60 seconds.")]
    burst: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="Calls in any one second; requestsPerMinute when absent.")
    ] = None


class Tool(KubeModel):
    """An external tool that tasks (and LLM workers) call by name."""

    name: Annotated[Name, Field(description="Name of the tool: a DNS label, unique in the graph.")]
    description: Annotated[Text, Field(description="What it does, for the model that chooses it.")] = ""
    http: Annotated[HttpTool, Field(description="The HTTP call.")]
    input_schema: Annotated[
        dict[str, JSON] | None, Field(max_length=64, description="JSON Schema (draft 2020-12) that a call's input must match.")
    ] = None
    timeout: Annotated[
        Duration, Field(description="Bound of one call, waiting for its rate limit included, as a Go duration.")
    ] = "30s"
    rate_limit: Annotated[RateLimit | None, Field(description="How often it may be called, over all runs.")] = None
    worker: Annotated[
        Name | None, Field(description="The Worker of type tool that calls it. Without it the only one there is.")
    ] = None

    def broken_rules(self) -> Iterable[tuple[Steps, str]]:
        """A credential in plain sight is refused."""
        for name in self.http.headers:
            if name.lower() == "authorization" and self.http.auth is not None:
                yield ("http", "headers", name), "given beside auth, which sets it: remove one"
