"""The guide's MemoryManager and MemoryMonitor: shed caches before the kernel sheds the process."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_UNLIMITED = 1 << 60
"""cgroup v1 writes an absurd number where it means none."""


class MemoryMonitor:
    """How full memory is: of the cgroup (v2, then v1), else of the machine; a limit above the machine's memory is none.

    What can be given back at once counts as free: the cgroup's inactive file cache, as in Kubernetes' working set.
    """

    def __init__(self, root: str | Path = "/") -> None:
        """``root`` is where ``proc`` and ``sys`` are."""
        self._proc = Path(root) / "proc"
        self._cgroups = Path(root) / "sys/fs/cgroup"

    def get_memory_usage(self) -> float:
        """Used share of the limit, 0.0 to 1.0; 0.0 where the system tells nothing."""
        used, limit = self.read()
        return min(1.0, max(0.0, used / limit)) if limit > 0 else 0.0

    def read(self) -> tuple[int, int]:
        """(used, limit) in bytes."""
        meminfo = self._meminfo()
        total = meminfo.get("MemTotal", 0)
        for used, limit, stat, inactive in self._candidates():
            bound, current = _number(limit), _number(used)
            if bound is not None and current is not None and bound < (total or _UNLIMITED):
                return current - self._stat(stat, inactive), bound
        return total - meminfo.get("MemAvailable", total), total

    def _candidates(self) -> list[tuple[Path, Path, Path, str]]:
        paths = self._paths()
        v2 = self._nearest(self._cgroups, paths.get("", "/"), "memory.max")
        v1 = self._nearest(self._cgroups / "memory", paths.get("memory", "/"), "memory.limit_in_bytes")
        return [
            (v2 / "memory.current", v2 / "memory.max", v2 / "memory.stat", "inactive_file"),
            (v1 / "memory.usage_in_bytes", v1 / "memory.limit_in_bytes", v1 / "memory.stat", "total_inactive_file"),
        ]

    def _paths(self) -> dict[str, str]:
        """This process's cgroups by controller; version 2 has the empty name."""
        lines = (line.split(":", 2) for line in _text(self._proc / "self/cgroup").splitlines())
        return {controller: parts[2] for parts in lines if len(parts) == 3 for controller in parts[1].split(",")}

    @staticmethod
    def _nearest(base: Path, path: str, name: str) -> Path:
        """The process's own group, or the nearest above it that has a limit."""
        group = base / path.strip("/") if ".." not in Path(path).parts else base
        while group != base and _number(group / name) is None:
            group = group.parent
        return group

    def _meminfo(self) -> dict[str, int]:
        """Fields of /proc/meminfo in bytes (it says kB and means KiB)."""
        found: dict[str, int] = {}
        for line in _text(self._proc / "meminfo").splitlines():
            name, _, rest = line.partition(":")
            value = rest.split()
            if value and value[0].isdigit():
                found[name] = int(value[0]) * 1024
        return found

    @staticmethod
    def _stat(path: Path, name: str) -> int:
        for line in _text(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name and value.isdigit():
                return int(value)
        return 0


class MemoryManager:
    """Above ``max_memory_usage`` collects garbage, and if that is not enough clears the caches of workers and tools.

    ``workers`` and ``tools`` are by name; those with ``clear_cache()`` are asked to. ``also`` clears further caches.
    """

    def __init__(
        self,
        max_memory_usage: float = 0.8,
        *,
        workers: Mapping[str, Any] | None = None,
        tools: Mapping[str, Any] | None = None,
        monitor: MemoryMonitor | None = None,
        also: tuple[Callable[[], None], ...] = (),
    ) -> None:
        """``max_memory_usage`` is a share of the limit, above 0 and at most 1."""
        if not 0 < max_memory_usage <= 1:
            raise ValueError("max_memory_usage is a share of the limit: above 0, at most 1")
        self.max_memory_usage = max_memory_usage
        self.memory_monitor = monitor or MemoryMonitor()
        self.workers: Mapping[str, Any] = {} if workers is None else workers
        self.tools: Mapping[str, Any] = {} if tools is None else tools
        self._also = also
        self._lock = threading.Lock()

    def check_memory_usage(self) -> float:
        """The share in use, looked at before anything was given back; cleans up if it is too much."""
        usage = self.memory_monitor.get_memory_usage()
        if usage > self.max_memory_usage:
            self.trigger_memory_cleanup()
        return usage

    def trigger_memory_cleanup(self) -> None:
        """Collects garbage, then clears caches if memory is still short. One cleanup at a time; a second caller returns."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            gc.collect()
            if self.memory_monitor.get_memory_usage() > self.max_memory_usage:
                self.clear_caches()
                gc.collect()
        finally:
            self._lock.release()

    def clear_caches(self) -> None:
        """Clears every cache there is; one that fails does not keep the others, its error is raised at the end."""
        clears = [getattr(each, "clear_cache", None) for each in (*self.workers.values(), *self.tools.values())]
        errors: list[Exception] = []
        for clear in (*clears, *self._also):
            if callable(clear):
                try:
                    clear()
                except Exception as error:
                    errors.append(error)
        if errors:
            raise ExceptionGroup("caches that could not be cleared", errors)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None
