"""From whatever was raised to a sentence and an exit code."""

from __future__ import annotations

import os
import sys
import traceback

from arklex_api.problems import ManifestError, Problem
from arklex_runtime.cli.terminal import Terminal
from arklex_runtime.errors import ArklexError


class Refused(ManifestError):
    """Bad input that a command found by itself."""

    @classmethod
    def of(cls, path: str, reason: str, message: str) -> Refused:
        """One problem."""
        return cls([Problem(path, reason, message)])


class Interrupted(Exception):
    """A run was broken off by the environment; it can be resumed with ``command``."""

    def __init__(self, cause: BaseException, command: str) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.command = command


def report(error: BaseException, terminal: Terminal) -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, Interrupted):
        code = report(error.cause, terminal)
        terminal.note(f"The run is kept; go on with: {error.command}")
        return code if code == 3 else 3
    if isinstance(error, ManifestError):
        terminal.problems(error.problems)
        return 2
    if isinstance(error, ArklexError):
        terminal.problems([Problem("", error.reason, str(error))])
        return error.exit_code
    if isinstance(error, OSError):
        terminal.problems([Problem("", "Environment", _os_message(error))])
        return 3
    if isinstance(error, ValueError | LookupError):
        terminal.problems([Problem("", "Invalid", str(error))])
        return 2
    return _unexpected(error, terminal)


def _os_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _unexpected(error: BaseException, terminal: Terminal) -> int:
    """Our own mistake: say so, and where."""
    if os.environ.get("ARKLEX_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    frame = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    place = f" at {os.path.basename(frame.filename)}:{frame.lineno}" if frame else ""
    message = f"{type(error).__name__}{place}: {error} (a defect of arklex: ARKLEX_DEBUG=1 shows the whole trace)"
    terminal.problems([Problem("", "InternalError", message)])
    return 3
