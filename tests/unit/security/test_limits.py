"""The rate limiter keeps its word in every window, for each client, from every thread."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arklex_runtime.errors import RateLimitExceeded
from arklex_runtime.security.limits import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    steps=st.lists(st.floats(0, 40, allow_nan=False), max_size=80),
    rate=st.integers(1, 8),
    burst=st.none() | st.integers(1, 8),
)
def test_no_window_ever_holds_more_and_the_wait_is_exact(steps: list[float], rate: int, burst: int | None) -> None:
    clock = Clock()
    limiter = RateLimiter(rate, burst, clock=clock)
    taken: list[float] = []
    for step in steps:
        clock.now += step / 10
        wait, before = limiter.try_acquire("a"), clock.now
        if wait > 0:
            clock.now = before + wait * 0.99
            assert limiter.try_acquire("a") > 0
            clock.now = before + wait + 1e-6
            assert limiter.acquire("a")
        taken.append(clock.now)
    for at in taken:
        assert sum(at - 60 < other <= at for other in taken) <= rate
        assert sum(at - 1 < other <= at for other in taken) <= min(burst or rate, rate)


def test_clients_are_apart_and_the_default_one_needs_no_name() -> None:
    limiter = RateLimiter(1, clock=Clock())
    assert limiter.acquire() and limiter.acquire("other")
    with pytest.raises(RateLimitExceeded, match="try again in 60 s"):
        limiter.acquire()


def test_memory_is_bounded_and_no_active_client_is_forgotten() -> None:
    clock = Clock()
    limiter = RateLimiter(1, clock=clock, max_clients=3)
    for client in "abc":
        assert limiter.acquire(client)
        clock.now += 1
    assert limiter.try_acquire("d") == 57.0 and limiter.try_acquire("a") == 57.0
    clock.now += 57
    assert limiter.acquire("d") and limiter.try_acquire("b") == 1.0
    clock.now += 120
    assert limiter.acquire("e") and len(limiter._taken) == 1


def test_threads_together_take_no_more_than_allowed() -> None:
    limiter = RateLimiter(50, clock=Clock())
    taken: list[float] = []

    def take() -> None:
        taken.extend(limiter.try_acquire() for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(0.0) == 50 and len(taken) == 200


@pytest.mark.parametrize("arguments", [(0,), (-1,), (1, 0)])
def test_limits_below_one_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateLimiter(*arguments)
