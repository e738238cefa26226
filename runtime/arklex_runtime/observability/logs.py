"""Logs as events with fields: JSON lines for machines, a console for people; the standard library's loggers included."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from structlog.typing import Processor

    from arklex_runtime.security.redaction import Redactor

Format = Literal["json", "console"]

STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every LogRecord has; anything else is a field of the event."""


class TaskLog(logging.LoggerAdapter[logging.Logger]):
    """A task's logger: its lines carry the run, the task and the attempt."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the fields."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **kwargs.get("extra", {})}}


def setup_logging(
    format: Format = "console",
    level: str = "INFO",
    *,
    stream: TextIO | io.TextIOBase | None = None,
    redactor: Callable[[], Redactor] | None = None,
) -> None:
    """Sends every logger's events to ``stream`` (stderr); called once, by the process's ``main``.

    An event is ``{event, level, logger, timestamp (RFC 3339 UTC), …fields}``; fields come from structlog's bound values
    and from the standard library's ``extra``. ``redactor`` is asked at every event, so that it may know later secrets.
    Raises ValueError for an unknown level.
    """
    import structlog

    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is none of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _extra_fields],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(format, out, redactor)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str = "arklex", **fields: Any) -> Any:
    """A logger whose events carry ``fields``: ``get_logger("arklex.run", run=id).info("run started", graph=name)``."""
    import structlog

    return structlog.stdlib.get_logger(name).bind(**fields)


def _ending(format: Format, out: TextIO | io.TextIOBase, redactor: Callable[[], Redactor] | None) -> list[Processor]:
    import structlog

    redact: list[Processor] = [] if redactor is None else [_redacting(redactor)]
    if format == "json":
        trace = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
        return [trace, _as_json, *redact, structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]
    render = structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, _as_json, *redact, render]


def _redacting(redactor: Callable[[], Redactor]) -> Processor:
    def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        found: MutableMapping[str, Any] = redactor().json(event)
        return found

    return redact


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Fields that are no JSON as text, so that what is redacted is what is written."""
    return {str(key): _plain(value) for key, value in event.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return str(value)


def _extra_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The standard library's ``extra``, as fields."""
    record = event.get("_record")
    if record is not None:
        event.update({key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS and key not in event})
    return event
