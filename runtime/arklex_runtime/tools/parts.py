"""The compiled parts of an HTTP tool, each checked against its field."""

from __future__ import annotations

from dataclasses import dataclass

from arklex_api.expressions import Template, TemplateError, compile_template
from arklex_api.problems import ManifestError, Problem
from arklex_api.schema import JsonSchema, SchemaError
from arklex_api.tool import Tool
from arklex_runtime.security.secrets import SecretNotFoundError
from arklex_runtime.tools.templates import ROOTS, UrlTemplate
from arklex_runtime.workers.base import WorkerServices

_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade"})


@dataclass(frozen=True, slots=True)
class ToolParts:
    """What a call needs; ``authorization`` is the whole header."""

    url: UrlTemplate
    headers: dict[str, Template]
    body: Template | None
    schema: JsonSchema
    authorization: str | None


def tool_parts(tool: Tool, path: str, services: WorkerServices) -> ToolParts:
    """The parts of ``tool``, which is at ``path`` (``spec.tools[0]``). Raises ManifestError."""
    http = tool.http
    try:
        url = UrlTemplate(http.url, f"{path}.http.url")
        headers = {
            name: compile_template(value, path=f"{path}.http.headers.{name}", roots=ROOTS)
            for name, value in http.headers.items()
        }
        body = compile_template(http.body, path=f"{path}.http.body", roots=ROOTS) if http.given("body") else None
    except TemplateError as error:
        raise ManifestError(error.problems) from None
    schema = JsonSchema(tool.input_schema or {})
    try:
        schema.check()
    except SchemaError as error:
        raise refused(f"{path}.inputSchema", "SchemaInvalid", str(error)) from None
    _check_headers(tool, path)
    _check_url(tool, url, f"{path}.http.url")
    return ToolParts(url, headers, body, schema, _authorization(tool, path, services))


def refused(path: str, reason: str, message: str) -> ManifestError:
    """A ManifestError of one problem."""
    return ManifestError([Problem(path, reason, message)])


def _check_headers(tool: Tool, path: str) -> None:
    for name in tool.http.headers:
        if name.lower() in _OURS:
            raise refused(f"{path}.http.headers.{name}", "HeaderForbidden", f"header {name} is set by the client: remove it")


def _check_url(tool: Tool, url: UrlTemplate, path: str) -> None:
    if url.has_credentials:
        raise refused(path, "CredentialInUrl", "put credentials into auth.secretRef, not into the URL")
    if tool.http.auth is not None and not url.host_is_literal:
        raise refused(
            path, "HostNotLiteral", "with auth the host must be written out: else an input decides who gets the secret"
        )


def _authorization(tool: Tool, path: str, services: WorkerServices) -> str | None:
    """The Authorization header: the secret, after ``Bearer`` where it is a bare token."""
    if tool.http.auth is None:
        return None
    where = f"{path}.http.auth.secretRef"
    try:
        value = services.secrets.resolve(tool.http.auth.secret_ref)
    except SecretNotFoundError as error:
        raise refused(where, "SecretNotFound", str(error)) from None
    if not value.isprintable():
        raise refused(where, "SecretInvalid", "the secret holds a control character: an Authorization header cannot")
    return value if " " in value else f"Bearer {value}"
