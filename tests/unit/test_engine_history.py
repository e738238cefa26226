"""What ``arklex show --events`` tells: every attempt, with its end."""

from __future__ import annotations

from arklex_runtime.engine.history import history
from tests.engine_driver import HANG, Driver, err, program_of, run


def told(driver: Driver) -> list[tuple[str, str, int]]:
    entries = history(driver.program, driver.journal)
    return [(entry["event"], entry["task"], entry["attempt"]) for entry in entries if "attempt" in entry]


def test_an_attempt_that_takes_too_long_is_told_of() -> None:
    driver = run("[{name: a, worker: w, timeout: 1s, retry: {limit: 1}, fallback: {value: 0}}]", {"a": HANG})
    assert told(driver) == [("Started", "a", 1), ("TimedOut", "a", 1), ("Started", "a", 2), ("TimedOut", "a", 2)]


def test_attempts_stopped_by_a_failure_are_told_of_those_that_did_not_start_are_not() -> None:
    driver = Driver(program_of("[{name: a, worker: w}, {name: b, worker: w}, {name: c, worker: w}]")).begin()
    driver.start("b")
    driver.do("a", err())
    assert told(driver.finish()) == [("Started", "b", 1), ("Started", "a", 1), ("Failed", "a", 1), ("Cancelled", "b", 1)]
