"""Memory: read from files as the kernel writes them, and given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from arklex_runtime.scaling.memory import MemoryManager, MemoryMonitor

MIB = 1 << 20


def tree(root: Path, files: dict[str, object]) -> MemoryMonitor:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    return MemoryMonitor(root)


MEMINFO = "MemTotal:       1048576 kB\nMemFree: 1 kB\nMemAvailable:    262144 kB\n"


@pytest.mark.parametrize(
    ("files", "used", "limit"),
    [
        ({}, 768, 1024),
        ({"sys/fs/cgroup/memory.max": 512 * MIB, "sys/fs/cgroup/memory.current": 300 * MIB}, 300, 512),
        (
            {
                "sys/fs/cgroup/memory.max": 512 * MIB,
                "sys/fs/cgroup/memory.current": 300 * MIB,
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
            },
            200,
            512,
        ),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": 300 * MIB}, 768, 1024),
        ({"sys/fs/cgroup/memory.max": 4096 * MIB, "sys/fs/cgroup/memory.current": 300 * MIB}, 768, 1024),
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/memory.max": 256 * MIB,
                "sys/fs/cgroup/pod/memory.current": 64 * MIB,
                "sys/fs/cgroup/pod/box/memory.max": "max",
                "sys/fs/cgroup/pod/box/memory.current": 32 * MIB,
            },
            64,
            256,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/box\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": 128 * MIB,
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": 96 * MIB,
                "sys/fs/cgroup/memory/box/memory.stat": f"total_inactive_file {32 * MIB}\n",
            },
            64,
            128,
        ),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712}, 768, 1024),
        (
            {
                "proc/self/cgroup": "0::/../../x\n",
                "sys/fs/cgroup/memory.max": 512 * MIB,
                "sys/fs/cgroup/memory.current": 300 * MIB,
            },
            300,
            512,
        ),
    ],
)
def test_the_nearest_limit_counts(tmp_path: Path, files: dict[str, object], used: int, limit: int) -> None:
    monitor = tree(tmp_path, {"proc/meminfo": MEMINFO, **files})
    assert monitor.read() == (used * MIB, limit * MIB)
    assert monitor.get_memory_usage() == pytest.approx(used / limit)


def test_a_system_that_tells_nothing_is_empty(tmp_path: Path) -> None:
    assert MemoryMonitor(tmp_path).get_memory_usage() == 0.0
    assert 0.0 < MemoryMonitor().get_memory_usage() <= 1.0


class Readings(MemoryMonitor):
    def __init__(self, *usages: float) -> None:
        super().__init__()
        self.usages = list(usages)

    def get_memory_usage(self) -> float:
        return self.usages.pop(0)


class Holder:
    def __init__(self, error: Exception | None = None) -> None:
        self.cleared = 0
        self.error = error

    def clear_cache(self) -> None:
        self.cleared += 1
        if self.error:
            raise self.error


@pytest.mark.parametrize(("usages", "seen", "cleared"), [((0.8,), 0.8, 0), ((0.81, 0.5), 0.81, 0), ((0.9, 0.85), 0.9, 1)])
def test_caches_go_only_where_garbage_was_not_enough(usages: tuple[float, ...], seen: float, cleared: int) -> None:
    worker, tool, calls = Holder(), Holder(), list[int]()
    manager = MemoryManager(
        0.8,
        workers={"w": worker, "plain": object()},
        tools={"t": tool},
        monitor=Readings(*usages),
        also=(lambda: calls.append(1),),
    )
    assert manager.check_memory_usage() == seen
    assert worker.cleared == tool.cleared == len(calls) == cleared


def test_one_cache_that_fails_does_not_keep_the_others() -> None:
    tool = Holder()
    manager = MemoryManager(workers={"w": Holder(OSError("stuck"))}, tools={"t": tool})
    with pytest.raises(ExceptionGroup, match="could not be cleared"):
        manager.clear_caches()
    assert tool.cleared == 1
    with pytest.raises(ValueError, match="share of the limit"):
        MemoryManager(80)
