"""When runs of a schedule are due: CronJob's rules, daylight saving, and clocks that jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from arklex_api.taskgraph import Schedule
from arklex_operator.reconcile.schedules import Turn, is_time, latest_time, next_time, turn

HOURLY = Schedule(cron="0 * * * *")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(schedule: Schedule, after: str, count: int) -> list[str]:
    found, time = [], at(after)
    for _ in range(count):
        following = next_time(schedule, time)
        assert following is not None
        time = following
        found.append(f"{time:%Y-%m-%d %H:%M}")
    return found


def test_times_are_those_of_the_time_zone() -> None:
    vienna = Schedule(cron="0 9 * * 1-5", time_zone="Europe/Vienna")
    assert times(vienna, "2026-07-03T00:00:00", 2) == ["2026-07-03 07:00", "2026-07-06 07:00"]
    assert times(Schedule(cron="0 9 * * *"), "2026-07-03T09:00:00", 1) == ["2026-07-04 09:00"]


@pytest.mark.parametrize(
    ("cron", "after", "wanted"),
    [
        # On 2026-03-29 in Vienna 02:00 becomes 03:00: a fixed time in the gap runs once, at its end.
        ("30 2 * * *", "2026-03-28T02:00:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("0,30 2 * * *", "2026-03-29T00:00:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("30 * * * *", "2026-03-29T00:00:00", ["2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30"]),
        # On 2026-10-25 03:00 becomes 02:00: a fixed time that comes twice runs once, steps go on by the clock.
        ("30 2 * * *", "2026-10-24T12:00:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 * * * *", "2026-10-25T00:00:00", ["2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 02:30"]),
        ("*/30 2 * * *", "2026-10-25T00:00:00", ["2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30"]),
    ],
)
def test_daylight_saving(cron: str, after: str, wanted: list[str]) -> None:
    schedule = Schedule(cron=cron, time_zone="Europe/Vienna")
    assert times(schedule, after, len(wanted)) == wanted
    assert all(is_time(schedule, at(each.replace(" ", "T"))) for each in wanted)


def test_a_time_that_never_comes_is_none_and_far_ones_are_found() -> None:
    assert next_time(Schedule(cron="0 0 30 2 1"), at("2026-01-01T00:00:00")) is not None
    leap = Schedule(cron="0 0 29 2 *")
    assert times(leap, "2026-01-01T00:00:00", 1) == ["2028-02-29 00:00"]
    assert latest_time(leap, at("2000-01-01T00:00:00"), at("2026-01-01T00:00:00")) == at("2024-02-29T00:00:00")
    assert latest_time(leap, at("2024-03-01T00:00:00"), at("2026-01-01T00:00:00")) is None


def test_a_new_schedule_counts_from_its_graph() -> None:
    since = at("2026-01-01T10:30:00")
    early = turn(HOURLY, now=at("2026-01-01T10:59:59"), since=since, planned=None, last=None)
    assert early == Turn(None, at("2026-01-01T11:00:00"))
    late = turn(HOURLY, now=at("2026-01-01T11:00:00"), since=since, planned=None, last=None)
    assert late == Turn(at("2026-01-01T11:00:00"), at("2026-01-01T12:00:00"))


def test_of_many_missed_times_the_latest_is_run() -> None:
    found = turn(
        HOURLY, now=at("2026-01-02T09:10:00"), since=at("2026-01-01T00:00:00"), planned=at("2026-01-01T11:00:00"), last=None
    )
    assert found == Turn(at("2026-01-02T09:00:00"), at("2026-01-02T10:00:00"), missed=at("2026-01-02T08:00:00"))


@pytest.mark.parametrize(("deadline", "due"), [(599, False), (600, True), (None, True), (0, False)])
def test_a_missed_run_is_made_up_within_its_deadline(deadline: int | None, due: bool) -> None:
    schedule = Schedule(cron="0 * * * *", starting_deadline_seconds=deadline)
    planned = at("2026-01-01T11:00:00")
    found = turn(schedule, now=planned + timedelta(seconds=600), since=planned, planned=planned, last=None)
    assert (found.due == planned) == due
    assert found.missed == (None if due else planned)
    assert found.next == at("2026-01-01T12:00:00")


def test_a_changed_schedule_does_not_run_what_the_old_one_had_planned() -> None:
    daily = Schedule(cron="15 6 * * *")
    now = at("2026-01-01T12:00:00")
    found = turn(daily, now=now, since=now, planned=at("2026-01-01T11:00:00"), last=at("2026-01-01T10:00:00"))
    assert found == Turn(None, at("2026-01-02T06:15:00"))
    denser = turn(Schedule(cron="*/5 * * * *"), now=now, since=now, planned=at("2026-01-02T00:00:00"), last=None)
    assert denser == Turn(None, at("2026-01-01T12:05:00"))


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    last = at("2026-01-01T11:00:00")
    found = turn(HOURLY, now=at("2026-01-01T10:30:00"), since=last, planned=at("2026-01-01T12:00:00"), last=last)
    assert found == Turn(None, at("2026-01-01T12:00:00"))
    lost = turn(HOURLY, now=at("2026-01-01T11:30:00"), since=at("2026-01-01T10:30:00"), planned=None, last=last)
    assert lost == Turn(None, at("2026-01-01T12:00:00"))


def test_a_year_of_missed_minutes_is_looked_at_quickly() -> None:
    minutely, now = Schedule(cron="* * * * *", time_zone="Europe/Vienna"), at("2026-06-01T00:00:30")
    found = turn(minutely, now=now, since=now, planned=at("2025-06-01T00:00:00"), last=None)
    assert (found.due, found.missed) == (at("2026-06-01T00:00:00"), at("2026-05-31T23:59:00"))
