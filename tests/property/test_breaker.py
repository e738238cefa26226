"""The circuit breaker against a model that keeps the whole history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arklex_api.worker import CircuitBreaker
from arklex_runtime.dispatch.breaker import COUNTED, Breaker

WINDOW, OPEN_FOR = 10.0, 5.0
OUTCOMES = st.sampled_from([None, "Timeout", "Failed", "Unavailable", "InvalidInput", "Denied", "forget"])
STEPS = st.lists(st.tuples(st.floats(0, 4), OUTCOMES), max_size=80)


def made(threshold: int, probes: int) -> Breaker:
    return Breaker(
        CircuitBreaker(failure_threshold=threshold, window=f"{WINDOW:g}s", open_for=f"{OPEN_FOR:g}s", half_open_probes=probes)
    )


@given(STEPS, st.integers(1, 4), st.integers(1, 3))
def test_attempts_one_at_a_time(steps: list[tuple[float, str | None]], threshold: int, probes: int) -> None:
    breaker, now = made(threshold, probes), 100.0
    failures: list[float] = []
    opened: float | None = None
    passed = 0
    for wait, outcome in steps:
        now += wait
        is_open = opened is not None and now < opened + OPEN_FOR
        assert breaker.state(now) == ("open" if is_open else "closed" if opened is None else "half-open")
        assert breaker.admit(now) is not is_open
        if is_open and opened is not None:
            assert breaker.retry_after(now) == opened + OPEN_FOR - now > 0
            continue
        assert breaker.retry_after(now) == 0
        if outcome == "forget":
            breaker.forget()
            continue
        breaker.record(outcome, now)
        if outcome in COUNTED:
            failures.append(now)
            recent = failures[-threshold:]
            if opened is not None or (len(recent) == threshold and now - recent[0] <= WINDOW):
                opened, passed = now, 0
        elif outcome is None and opened is not None:
            passed += 1
            if passed >= probes:
                opened, passed, failures = None, 0, []


@given(st.integers(1, 5), st.integers(1, 10))
def test_half_open_lets_only_the_probes_through(probes: int, callers: int) -> None:
    breaker = made(1, probes)
    assert breaker.admit(0)
    breaker.record("Failed", 0)
    assert not breaker.admit(OPEN_FOR - 0.01)
    assert sum([breaker.admit(OPEN_FOR) for _ in range(callers)]) == min(probes, callers)


@given(st.integers(1, 5))
def test_what_ends_late_after_opening_does_not_close_it(threshold: int) -> None:
    breaker = made(threshold, 1)
    for _ in range(threshold + 1):
        assert breaker.admit(0)
    for _ in range(threshold):
        breaker.record("Timeout", 1)
    breaker.record(None, 2)
    assert breaker.state(2) == "open"
