"""Cron expressions and time zones, read as CronJob reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple


class ScheduleProblem(NamedTuple):
    """What is wrong with one field of a schedule."""

    field: str
    reason: str
    message: str


def schedule_problem(cron: str, time_zone: str | None) -> ScheduleProblem | None:
    """What is wrong with a schedule, if anything."""
    from cronsim import CronSim, CronSimError

    if len(cron.split()) != 5:
        message = f"'{cron}' must have five fields: minute, hour, day, month, weekday, such as '0 9 * * 1-5'"
        return ScheduleProblem("cron", "InvalidCron", message)
    try:
        next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        what = str(error).lower() or "it never comes"
        return ScheduleProblem("cron", "InvalidCron", f"'{cron}' is not a schedule: {what}")
    if time_zone is not None and not _is_zone(time_zone):
        message = f"there is no time zone '{time_zone}': use an IANA name such as Europe/Vienna or UTC"
        return ScheduleProblem("timeZone", "UnknownTimeZone", message)
    return None


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True
