"""When a schedule's runs are due: CronJob's rules over cronsim's times (cluster.md, "Runs"). All times are UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from arklex_api.taskgraph import Schedule

_SECOND = timedelta(seconds=1)
_WINDOWS = tuple(timedelta(days=days) for days in (1 / 24, 1, 8, 32, 367, 5 * 366, 51 * 366))


@dataclass(frozen=True, slots=True)
class Turn:
    """What a schedule asks for now.

    ``due`` is the time whose run should start, ``next`` when to look again, None for never. Of what came before ``due`` (or
    before ``next``, if nothing is due) and was not run, ``missed`` is the latest.
    """

    due: datetime | None
    next: datetime | None
    missed: datetime | None = None


def turn(schedule: Schedule, *, now: datetime, since: datetime, planned: datetime | None, last: datetime | None) -> Turn:
    """What ``schedule`` asks for at ``now``; at most one run, that of the latest time that has come.

    ``planned`` is the next time as it was last written down, ``last`` the last time that was run. A planned time that is none
    of the schedule's comes from an older schedule: then, and without one, times count after ``since``. Nothing up to ``last``
    is ever due again, whatever the clock does.
    """
    first = planned if planned is not None and is_time(schedule, planned) else next_time(schedule, since)
    if last is not None and first is not None and first <= last:
        first = next_time(schedule, last)
    following = next_time(schedule, now if last is None else max(now, last))
    if first is None or first > now:
        return Turn(None, following)
    due = latest_time(schedule, first - _SECOND, now) or first
    deadline = schedule.starting_deadline_seconds
    if deadline is not None and now - due > timedelta(seconds=deadline):
        return Turn(None, following, missed=due)
    return Turn(due, following, missed=latest_time(schedule, first - _SECOND, due - _SECOND))


def is_time(schedule: Schedule, time: datetime) -> bool:
    """Whether ``time`` is one of the schedule's."""
    return next_time(schedule, time - _SECOND) == time


def next_time(schedule: Schedule, after: datetime) -> datetime | None:
    """The first time after ``after``; None if there is none in fifty years."""
    return next(_times(schedule, after), None)


def latest_time(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """The last time after ``after`` and up to ``until``; looks at some thousand at most, however long ago ``after`` is."""
    for window in _WINDOWS:
        start = max(after, until - window)
        found = None
        for time in _times(schedule, start):
            if time > until:
                break
            found = time
        if found is not None or start == after:
            return found
    return None


def _times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Times after ``after``, ascending. cronsim knows daylight saving: a job at a fixed time runs once on every day."""
    zone = UTC if schedule.time_zone in (None, "UTC") else ZoneInfo(str(schedule.time_zone))
    newest = after
    for local in CronSim(schedule.cron, after.astimezone(zone)):
        time = local.astimezone(UTC)
        if time > newest:
            newest = time
            yield time
