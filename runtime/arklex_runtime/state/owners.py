"""Who lives: an owner of runs holds a lock on a file beside the SQLite database, and its death releases it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from weakref import WeakMethod

from arklex_runtime.errors import DatabaseUnavailable


class OwnerLock:
    """A lock (flock) on ``<database>.owners/<id>``, from ``hold`` to ``release`` or the end of the process.

    A child made by fork closes its copy: it must not keep its dead parent's runs from being claimed.
    """

    def __init__(self, database: Path, owner: str) -> None:
        self._folder = database.with_name(database.name + ".owners")
        self._path = self._folder / owner
        self._owner = owner
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether this process holds the lock now."""
        return self._fd >= 0

    def hold(self) -> None:
        """Take the lock. Raises DatabaseUnavailable (readonly, full) when the file cannot be made."""
        if self.held:
            return
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise DatabaseUnavailable("full" if full else "readonly", str(error)) from error
        forked = WeakMethod(self._forked)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self.held:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._forked()
            with contextlib.suppress(OSError):
                self._folder.rmdir()

    def alive(self, owner: str) -> bool:
        """Whether somebody holds the lock of ``owner``; a dead owner's file is removed."""
        if owner == self._owner:
            return True
        path = self._folder / owner
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            with contextlib.suppress(OSError):
                path.unlink()
            return False
        finally:
            os.close(fd)

    def _forked(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
