"""``python -m tests.cluster.bed build | up | down | status | check [programs]``: the cluster bed from the command line.

``check`` says what keeps this machine from holding a bed, or just from having its programs.
"""

from __future__ import annotations

import sys
import time

from tests.cluster.bed import cluster, place, space
from tests.cluster.bed.build import BuildFailed, build, find_go
from tests.cluster.bed.place import missing_packages, unable
from tests.cluster.bed.processes import NotStarted
from tests.cluster.bed.programs import ALL, ProgramMissing, program

USAGE = "usage: python -m tests.cluster.bed build | up | down | status | check [programs]"


def require_machine() -> None:
    """Raises SystemExit unless this machine can hold a bed."""
    if reasons := obstacles():
        raise SystemExit("\n".join(reasons))


def obstacles() -> list[str]:
    """Return what keeps this machine from holding a bed, in words; nothing if it can."""
    if reason := unable():
        return [reason]
    packages = missing_packages()
    missing = [f"missing: {' '.join(packages)} (Debian's names); run make system-cluster, as root"] if packages else []
    return [*missing, *unbuildable()]


def unbuildable() -> list[str]:
    """Return why the programs that are not built cannot be, in words; nothing if they can or need not."""
    if any(module.missing() for module in ALL):
        try:
            find_go()
        except BuildFailed as problem:
            return [str(problem)]
    return []


def up() -> int:
    require_machine()
    here = place.place()
    for step in cluster.up(here):
        print(f"{step.second:5.1f} s  {step.words}", flush=True)
    print(f"bed {here.name} is up; to look at it yourself:\n  {by_hand(here)} get pods --all-namespaces")
    return 0


def by_hand(here: place.Place) -> str:
    """Return how a person calls kubectl on the bed."""
    words = space.inside(here, [str(program("kubectl")), f"--kubeconfig={here.kubeconfig}"], mounts=False)
    return " ".join(word for word in words if not word.startswith("--wd="))


def down() -> int:
    started = time.monotonic()
    left = cluster.down(place.place())
    for words in left:
        print(words, file=sys.stderr)
    print(f"bed is down, after {time.monotonic() - started:.1f} s")
    return int(bool(left))


def status() -> int:
    here = place.place()
    wrong = cluster.ailments(here)
    print("\n".join(wrong) or f"bed {here.name} is up: {by_hand(here)}")
    return int(bool(wrong))


def built() -> int:
    build()
    return 0


def main(arguments: list[str]) -> int:
    """Return the exit code: 0, 1 if it failed, 2 for a command that does not exist."""
    commands = {"build": built, "up": up, "down": down, "status": status}
    if arguments in (["check"], ["check", "programs"]):
        reasons = obstacles() if len(arguments) == 1 else unbuildable()
        print("\n".join(reasons), end="")
        return int(bool(reasons))
    if len(arguments) != 1 or arguments[0] not in commands:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        return commands[arguments[0]]()
    except (BuildFailed, NotStarted, ProgramMissing, cluster.BedBroken) as problem:
        print(problem, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
