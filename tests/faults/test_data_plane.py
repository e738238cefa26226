"""T3 to T7 and the clock's part of T16: waves of faults over one stand, each judged by the invariants (docs/reliability.md).

Sizes by ARKLEX_FAULTS (CI, nightly), chance by ARKLEX_FAULTS_SEED. Each wave ends with a line of figures.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from arklex_runtime.dispatch.streams.wire import GROUP, Attempt, Keys, ResultMessage
from tests.faults.sizes import NIGHTLY
from tests.faults.stand import LEASE, PATIENCE, SLOTS, Stand, resume, stand
from tests.faults.traffic import Traffic
from tests.faults.waves import Wave, wave
from tests.fleet import NAMESPACE, Replica, until
from tests.pods import PodProcess

pytestmark = [pytest.mark.postgresql, pytest.mark.redis]

HOUR = 3600.0
KEYS = Keys(NAMESPACE)
RATE = 4.0
"""Runs that begin in a second."""
SHARE = 0.3
"""Of the workers, killed at once."""
POSTGRES = (40, 5000, 5.0, 20.0) if NIGHTLY else (15, 50, 0.3, 1.2)
"""Restarts, runs at least, and the seconds between two faults; likewise below."""
REDIS = (40, 500, 5.0, 20.0) if NIGHTLY else (12, 50, 0.3, 1.5)
DEATHS = (20, 500, 5.0, 12.0) if NIGHTLY else (3, 20, 1.0, 2.0)
FREEZES, LONG = (50, 60) if NIGHTLY else (3, 60)
"""Of workers, and as many of replicas; tasks of 1, 3 and 10 leases."""
STEPS = 20 if NIGHTLY else 5
PODS = {"work": 5, "thread": 5, "long": 2} if NIGHTLY else {"work": 3, "thread": 3, "long": 1}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Return two replicas and their pods, at work."""
    with stand(tmp_path_factory.mktemp("plane"), 2, PODS) as made:
        yield made


def kinds_of(found: Wave, kinds: dict[str, Callable[[], None]], count: int) -> list[str]:
    """All kinds in turn, in an order by chance."""
    names = [list(kinds)[i % len(kinds)] for i in range(count)]
    found.random.shuffle(names)
    return names


def play(found: Wave, kinds: dict[str, Callable[[], None]], count: int, runs: int, least: float, most: float) -> None:
    """So many faults with pauses between them, and runs until there are enough."""
    with found.traffic.flowing():
        for name in kinds_of(found, kinds, count):
            found.pause(least, most)
            found.hit(name, kinds[name])
        until(lambda: len(found.traffic.runs) >= runs, found.stand.logs, max(PATIENCE, 2 * runs / RATE))


def test_postgres_stops_at_once(plane: Stand) -> None:
    """T3: no run is lost, and nobody works twice for it."""
    count, runs, least, most = POSTGRES
    found = wave("T3", plane, "line", RATE * (2 if NIGHTLY else 1))
    server = plane.postgres
    silences = plane.silences()

    def again(end: Callable[[], None]) -> None:
        end()
        found.pause(0, 2)
        server.start()

    kinds = {
        "immediate": lambda: again(server.stop),
        "kill -9": lambda: again(server.kill),
        "backend killed": server.kill_backend,
    }
    play(found, kinds, count, runs, least, most)
    findings = found.end()
    found.proven(count, runs)
    assert findings.unheard == 0
    assert findings.interrupted == 0 or plane.silences() > silences


def test_redis_is_killed_emptied_and_half_open(plane: Stand) -> None:
    """T4: no run is lost; attempts are repeated only where Redis was silent for longer than a lease, or forgot an end."""
    count, runs, least, most = REDIS
    found = wave("T4", plane, "line", RATE)

    def restarted(meanwhile: Callable[[], None] = lambda: None) -> None:
        plane.redis.stop()
        meanwhile()
        found.pause(0, 2)
        plane.restart_redis()

    def ungrouped() -> None:
        with plane.asked() as client:
            client.xgroup_destroy(KEYS.jobs(found.random.choice(["work", "thread"])), GROUP)

    def half_opened() -> None:
        assert plane.between.strand() > 0

    def emptied() -> None:
        with plane.asked() as client:
            client.flushall()

    def ahead() -> None:
        """What an hour's step of the server's clock and back leaves: entries count on from an hour ahead."""
        with plane.asked() as client:
            for key in (KEYS.results, KEYS.jobs("work"), KEYS.jobs("thread")):
                client.execute_command("XSETID", key, f"{int((time.time() + HOUR) * 1000)}-0")  # type: ignore[no-untyped-call]

    kinds = {
        "killed": restarted,
        "no AOF": lambda: restarted(plane.forget_redis),
        "torn AOF": lambda: restarted(lambda: plane.tear_log(found.random.randint(100, 20_000))),
        "FLUSHALL": emptied,
        "XGROUP DESTROY": ungrouped,
        "clock ahead": ahead,
        "half-open": half_opened,
    }
    play(found, kinds, count, runs, least, most)
    findings = found.end()
    found.proven(count, runs)
    torn = found.tally.faults["torn AOF"]
    assert findings.unheard <= torn * SLOTS


def test_a_third_of_the_workers_is_killed(plane: Stand) -> None:
    """T5: what they had runs elsewhere, and all of it when all are gone for a while."""
    count, runs, least, most = DEATHS
    found = wave("T5", plane, "wide", RATE)

    def killed(share: float, down: float) -> None:
        pods = [pod for pod in plane.pods if pod.worker != "long"]
        busy = [pod for pod in pods if pod.process.pid in found.witness.busy()] or pods
        chosen = found.random.sample(pods, math.ceil(share * len(pods)))
        if not set(map(id, chosen)) & set(map(id, busy)):
            chosen[0] = busy[0]
        for pod in chosen:
            plane.kill_pod(pod)
        time.sleep(down)
        for pod in chosen:
            plane.add_pod(pod.worker)
        plane.ready()

    kinds = {
        **{f"{SHARE:.0%} killed": lambda: killed(SHARE, 1)},
        "all down": lambda: killed(1, 20 if NIGHTLY else 5),
    }
    names = ["all down" if i % 5 == 1 else next(iter(kinds)) for i in range(count)]
    with found.traffic.flowing():
        for name in names:
            found.pause(least, most)
            found.hit(name, kinds[name])
        until(lambda: len(found.traffic.runs) >= runs, plane.logs, max(PATIENCE, 2 * runs / RATE))
    findings = found.end()
    found.proven(count, runs)
    assert findings.lost > 0


def late(plane: Stand, found: Wave) -> int:
    """Say for each attempt that was given up what its pod would say too late; returns for how many that was done."""
    found.witness.look()
    count = 0
    with plane.asked() as client:
        while found.witness.given_up:
            message = ResultMessage("finished", Attempt(*found.witness.given_up.pop()), "a ghost", output={"n": -1}, size=8)
            client.xadd(KEYS.results, {"r": message.encode()})
            count += 1
    return count


def silences(pod: PodProcess) -> int:
    """How often a pod has said that it was silent for longer than a lease."""
    return sum(str(line.get("event")).startswith("was silent") for line in pod.lines())


def stop_at_work(plane: Stand, found: Wave) -> PodProcess:
    """Stop (SIGSTOP) a pod in the middle of an attempt that is not a long one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        pods = [pod for pod in plane.pods if pod.worker != "long" and pod.process.pid in found.witness.busy()]
        if pods:
            chosen = found.random.choice(pods)
            chosen.signal(signal.SIGSTOP)
            if chosen.process.pid in found.witness.busy():
                return chosen
            resume(chosen)
        assert time.monotonic() < deadline, plane.logs()


def freeze(plane: Stand, found: Wave) -> None:
    """Stop a pod and the replica that drives most runs for three leases, then see both back."""
    replica = plane.busiest()
    stopped: list[PodProcess] = []
    found.hit("worker stopped", lambda: stopped.append(stop_at_work(plane, found)))
    pod = stopped[0]
    words, losses = silences(pod), replica.text().count("an owner again")
    found.hit("runtime stopped", lambda: replica.send(signal.SIGSTOP))
    try:
        time.sleep(3 * LEASE)
    finally:
        resume(pod)
        resume(replica)
    until(lambda: silences(pod) > words, plane.logs, PATIENCE)
    until(lambda: replica.text().count("an owner again") > losses and replica.ready(), plane.logs, PATIENCE)


def test_who_stands_still_is_fenced_off_and_long_tasks_run_once(plane: Stand) -> None:
    """T6 and T7: attempts of stopped workers run elsewhere, late results are refused and counted; no task of ten leases is
    run twice, whoever owns its run."""
    found = wave("T6", plane, "wide", RATE)
    tasks = Traffic(plane, "long")
    leases = [1, 3, 10] * (LONG // 3)
    found.random.shuffle(leases)
    refused, fenced = 'arklex_results_refused_total{reason="late"}', "arklex_leases_lost_total"
    before = [plane.counted(refused), plane.counted(fenced), plane.succeeded()]
    ghosts = 0
    with found.traffic.flowing():
        for turn in range(FREEZES):
            share = math.ceil(len(leases) / (FREEZES - turn)) if NIGHTLY else len(leases)
            for _ in range(share):
                tasks.begin(seconds=leases.pop() * LEASE)
            freeze(plane, found)
            ghosts += late(plane, found)
    found.traffic.runs |= tasks.runs
    findings = found.end()
    found.proven(2 * FREEZES, LONG)
    assert findings.lost > 0 and ghosts > 0, "I13 nobody was fenced off"
    after = [plane.counted(refused), plane.counted(fenced), plane.succeeded()]
    late_results = after[2] - before[2] - findings.committed
    assert after[0] - before[0] >= ghosts + late_results, "I3 a late result was not counted"
    assert after[1] - before[1] >= FREEZES
    attempts = [findings.documents[run]["tasks"]["long"]["attempts"] for run in tasks.runs]
    assert attempts == [1] * LONG, "I2 a long task ran twice"


def test_clocks_are_set(plane: Stand) -> None:
    """T16: a replica's or a pod's clock steps by an hour and back, and nothing times out, is lost or runs twice."""
    found = wave("T16-clock", plane, "line", RATE)
    silences = plane.silences()

    def step(name: str, seconds: float) -> None:
        plane.set_clock(name, seconds)
        found.pause(0.5, 2)
        plane.set_clock(name, 0)

    processes: list[Replica | PodProcess] = [*plane.replicas, *(pod for pod in plane.pods if pod.worker != "long")]
    with found.traffic.flowing():
        for _ in range(STEPS):
            found.pause(0.2, 0.5)
            process = found.random.choice(processes)
            seconds = found.random.choice([-HOUR, HOUR])
            kind = "runtime" if isinstance(process, Replica) else "worker"
            found.hit(f"{kind} {seconds / HOUR:+.0f} h", lambda: step(process.name, seconds))  # noqa: B023 (called at once)
    findings = found.end()
    found.proven(STEPS, STEPS)
    assert findings.unheard == 0
    assert findings.interrupted == 0 or plane.silences() > silences
