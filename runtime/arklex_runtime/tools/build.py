"""Makes the ToolRegistry of a graph from ``spec.tools``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from arklex_api.expressions import TemplateError
from arklex_api.problems import ManifestError, Problem
from arklex_api.schema import SchemaError
from arklex_api.tool import Tool
from arklex_runtime.security.secrets import SecretNotFoundError
from arklex_runtime.tools.http import HttpTool
from arklex_runtime.tools.registry import ToolRegistry
from arklex_runtime.workers.base import WorkerServices

if TYPE_CHECKING:
    import aiohttp

_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade"})


def build_tools(tools: Sequence[Tool], services: WorkerServices) -> ToolRegistry:
    """The graph's tools; nothing is connected to yet.

    Raises ManifestError with every problem found: expressions, schemas, secrets that are missing, headers and URLs that
    would be unsafe. ``services.http`` must be given where there are tools.
    """
    registry = ToolRegistry()
    problems: list[Problem] = []
    for index, tool in enumerate(tools):
        path = f"spec.tools[{index}]"
        try:
            registry.register_tool(tool.name, _build(tool, path, services))
        except TemplateError as error:
            problems.extend(error.problems)
        except SchemaError as error:
            problems.append(Problem(f"{path}.inputSchema", "SchemaInvalid", str(error)))
        except ManifestError as error:
            problems.extend(error.problems)
    if problems:
        raise ManifestError(problems)
    return registry


def _build(tool: Tool, path: str, services: WorkerServices) -> HttpTool:
    made = HttpTool(tool, _sessions(services), _authorization(tool, path, services), services.clock, path)
    for name in tool.http.headers:
        if name.lower() in _OURS:
            raise _refused(f"{path}.http.headers.{name}", "HeaderForbidden", f"header {name} is set by the client: remove it")
    if made.url.has_credentials:
        raise _refused(f"{path}.http.url", "CredentialInUrl", "put credentials into auth.secretRef, not into the URL")
    if tool.http.auth is not None and not made.url.host_is_literal:
        message = "with auth the host must be written out: else an input could send the secret anywhere"
        raise _refused(f"{path}.http.url", "HostNotLiteral", message)
    return made


def _sessions(services: WorkerServices) -> Callable[[], aiohttp.ClientSession]:
    if services.http is None:
        raise ValueError("tools need WorkerServices.http")
    return services.http


def _authorization(tool: Tool, path: str, services: WorkerServices) -> str | None:
    """The Authorization header: the secret, after ``Bearer`` where it is a bare token."""
    if tool.http.auth is None:
        return None
    where = f"{path}.http.auth.secretRef"
    try:
        value = services.secrets.resolve(tool.http.auth.secret_ref)
    except SecretNotFoundError as error:
        raise _refused(where, "SecretNotFound", str(error)) from None
    if not value.isprintable():
        raise _refused(where, "SecretInvalid", "the secret holds a control character: an Authorization header cannot")
    return value if " " in value else f"Bearer {value}"


def _refused(path: str, reason: str, message: str) -> ManifestError:
    return ManifestError([Problem(path, reason, message)])
