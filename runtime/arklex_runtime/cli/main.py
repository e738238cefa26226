"""The entry point: parses, runs a command, and turns whatever goes wrong into a sentence and an exit code.

0 succeeded; 1 the run failed or was cancelled; 2 invalid input, nothing ran; 3 the environment (database locked, corrupt,
newer; disk full), resumable; 130 SIGINT and 143 SIGTERM, resumable (semantics.md, "The command line's documents").
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from arklex_runtime.cli.terminal import Terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's); returns its exit code. Bad input never ends in a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] in (["worker"], ["runtime"]):
        signal.signal(signal.SIGTERM, _nothing_begun)
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    terminal = Terminal(wants_json(arguments))
    try:
        code = _dispatch(arguments, terminal)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from arklex_runtime.cli.failures import report

        return report(error, terminal)


def _nothing_begun(_number: int, _frame: object) -> None:
    """SIGTERM while a pod's process is still importing; as process 1 it would not be heard otherwise."""
    os._exit(0)


def _open_standard_streams() -> None:
    """Give 0, 1 and 2 to the null device where they are closed: a database opened there would be written over."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--output json`` is among the arguments, so that even a misspelt command line is answered in JSON."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any((name, value) == ("--output", "json") or name == "--output=json" for name, value in pairs)


def _dispatch(arguments: list[str], terminal: Terminal) -> int:
    from arklex_runtime.cli.app import app

    try:
        found: Any = app(arguments, prog_name="arklex", standalone_mode=False, obj=terminal)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _usage(error, terminal)
    return found if isinstance(found, int) else 0


def _usage(error: Any, terminal: Terminal) -> int:
    """A misspelt command line: typer's own message, with how the command is used."""
    from arklex_api.problems import Problem

    context = getattr(error, "ctx", None)
    message = str(error.format_message())
    if context is not None:
        terminal.note(context.get_usage())
        terminal.note(f"Try '{context.command_path} --help'.")
    terminal.problems([Problem("", "Usage", message or "missing command")])
    return 2
