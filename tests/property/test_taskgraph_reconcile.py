"""TaskGraphs under any sequence of changes, stops between two writes and jumps of the clock."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from arklex_api.taskgraph import Schedule
from arklex_api.versions import RERUN
from arklex_operator.reconcile.schedules import is_time, latest_time, next_time
from arklex_operator.reconcile.taskgraph_read import read_run
from tests.reconciled import START, Namespace

CRONS = st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0,30 1-4 * * *", "0 0 29 2 *", "5 4 * * sun"])
ZONES = st.sampled_from([None, "UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe"])
SCHEDULES = st.builds(
    lambda cron, zone, policy, deadline: {
        key: value
        for key, value in {
            "cron": cron,
            "timeZone": zone,
            "concurrencyPolicy": policy,
            "startingDeadlineSeconds": deadline,
            "run": {"query": "scheduled"},
        }.items()
        if value is not None
    },
    CRONS,
    ZONES,
    st.sampled_from(["Allow", "Forbid", "Replace"]),
    st.none() | st.integers(0, 7200),
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "run": st.fixed_dictionaries({"query": st.sampled_from(["a", "b"])}),
        "schedule": SCHEDULES,
        "suspend": st.booleans(),
        "history": st.fixed_dictionaries({"succeeded": st.integers(0, 2), "failed": st.integers(0, 2)}),
        "tasks": st.sampled_from([[{"name": "a", "value": 1}], [{"name": "a", "worker": "w"}], [{"name": "a", "graph": "h"}]]),
    },
)
STEPS = st.one_of(
    st.tuples(st.just("apply"), SPECS),
    st.tuples(st.just("worker"), st.integers(0, 1)),
    st.tuples(st.just("pass"), st.integers(1, 40_000)),
    st.tuples(st.just("back"), st.integers(1, 7200)),
    st.tuples(st.just("end"), st.sampled_from(["Succeeded", "Failed", "Cancelled"])),
    st.tuples(st.just("rerun"), st.sampled_from(["x", "y"])),
    st.tuples(st.just("stop"), st.integers(0, 6)),
)


@settings(max_examples=400, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_a_reconcile_is_idempotent_and_runs_nothing_twice(steps: list[tuple[str, object]]) -> None:
    """One run for each time of a schedule, and never the same version twice in a row."""
    space = Namespace()
    space.graph()
    space.graph("h")
    for step, what in steps:
        _take(space, step, what)
        if step != "stop":
            space.settle()
            again = space.plan()
            assert again.writes == 0
            assert again.requeue_after is None or again.requeue_after > 0
        assert max(Counter(space.scheduled).values(), default=1) == 1
        versions = [name for name in space.made if name not in space.scheduled]
        assert all(name != following for name, following in pairwise(versions))


def _take(space: Namespace, step: str, what: object) -> None:
    if step == "apply":
        assert isinstance(what, dict)
        space.graph(**what)
    elif step == "worker":
        space.worker("w", ready=int(str(what)))
    elif step in ("pass", "back"):
        space.now += timedelta(seconds=int(str(what)) * (1 if step == "pass" else -1))
    elif step == "end":
        for name in [name for name, run in space.runs.items() if "status" not in run]:
            space.end(name, str(what))
    elif step == "rerun":
        space.graphs["g"]["metadata"].setdefault("annotations", {})[RERUN] = what
    else:
        space.carry_out(space.plan(), steps=int(str(what)))


@settings(max_examples=300, deadline=None)
@given(schedule=SCHEDULES, gaps=st.lists(st.integers(1, 100_000), min_size=1, max_size=20))
def test_however_late_the_operator_looks_the_latest_time_is_run_and_no_other(
    schedule: dict[str, object], gaps: list[int]
) -> None:
    """With Allow and without a deadline: at every look the newest time there is has been run, and every run is of a time."""
    space, parsed = Namespace(), Schedule.model_validate(schedule)
    space.graph(
        schedule={**schedule, "concurrencyPolicy": "Allow", "startingDeadlineSeconds": None}, history={"succeeded": 1000}
    )
    space.settle()
    for gap in gaps:
        space.later(seconds=gap)
        made = len(space.made)
        space.settle()
        assert len(space.made) <= made + 1
        newest = latest_time(parsed, START, space.now)
        times = [read_run(run).scheduled for run in space.runs.values()]
        assert newest == max((time for time in times if time is not None), default=None)
        assert all(time is not None and is_time(parsed, time) for time in times)


@settings(max_examples=300, deadline=None)
@given(cron=CRONS, zone=ZONES, start=st.integers(0, 366 * 86400), length=st.integers(1, 200_000))
def test_the_latest_time_is_the_last_of_all(cron: str, zone: str | None, start: int, length: int) -> None:
    schedule = Schedule(cron=cron, time_zone=zone)
    after = START + timedelta(seconds=start)
    until = after + timedelta(seconds=length)
    every: list[datetime] = []
    time = after
    while (following := next_time(schedule, time)) is not None and following <= until and len(every) < 300:
        assert following > time
        time = following
        every.append(time)
    if len(every) < 300:
        assert latest_time(schedule, after, until) == (every[-1] if every else None)
