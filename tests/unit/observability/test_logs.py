"""Logs: events with fields, for machines or people, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from arklex_runtime.observability.logs import get_logger, setup_logging
from arklex_runtime.security.redaction import Redactor


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_hold_events_with_fields_from_both_worlds() -> None:
    stream = io.StringIO()
    setup_logging("json", "info", stream=stream)
    get_logger("arklex.run", run="r1").info("run started", graph="support", at=1.5, odd={1, 2}, thing=object)
    logging.getLogger("other").warning("%s is slow", "disk", extra={"task": "t"})
    get_logger().debug("unseen")
    first, second = lines(stream)
    assert (first["event"], first["level"], first["logger"]) == ("run started", "info", "arklex.run")
    assert (first["run"], first["graph"], first["at"], first["odd"]) == ("r1", "support", 1.5, [1, 2])
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["task"], second["level"]) == ("disk is slow", "t", "warning")


def test_secrets_are_redacted_wherever_they_hide_even_those_learned_later() -> None:
    stream = io.StringIO()
    values: list[str] = []
    setup_logging("json", stream=stream, redactor=lambda: Redactor(values))
    values.append('canary-"4711"')
    secret = values[0]

    class Holds:
        def __str__(self) -> str:
            return f"Holds({secret})"

    try:
        raise ValueError(secret)
    except ValueError:
        get_logger().exception(f"failed with {secret}", nested=[{"k": secret}], thing=Holds())
    logging.getLogger("other").error("leak %s", secret)
    assert "canary" not in stream.getvalue() and len(lines(stream)) == 2
    assert lines(stream)[0]["thing"] == "Holds(***)"


def test_the_console_is_for_people() -> None:
    stream = io.StringIO()
    setup_logging("console", "DEBUG", stream=stream, redactor=lambda: Redactor(["canary-4711"]))
    get_logger("arklex").debug("task failed", task="t", token="canary-4711")
    try:
        raise ValueError("canary-4711")
    except ValueError:
        logging.getLogger("other").exception("broken")
    text = stream.getvalue()
    assert "task failed" in text and "task=t" in text and "Traceback" in text and "canary" not in text and "\x1b" not in text


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="log level 'loud' is none of"):
        setup_logging("json", "loud")
