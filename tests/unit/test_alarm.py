"""A run's alarm over a loop whose timers the test rings."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

from arklex_runtime.orchestrator.alarm import FAR, Alarm


class Timer:
    """What ``call_later`` gave out."""

    def __init__(self, wait: float, ring: Callable[[], None]) -> None:
        self.wait = wait
        self.ring = ring
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Keeps its timers."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, wait: float, call: Callable[..., None], *given: Any) -> Timer:
        self.timers.append(Timer(wait, lambda: call(*given)))
        return self.timers[-1]


def made() -> tuple[Alarm, Loop, list[str]]:
    loop = Loop()
    return Alarm(cast(asyncio.AbstractEventLoop, loop)), loop, []


def test_it_wakes_once_and_can_be_set_again() -> None:
    alarm, loop, woken = made()
    alarm.set(105.0, 5.0, lambda: woken.append("first"))
    assert alarm.at == 105.0 and [timer.wait for timer in loop.timers] == [5.0]
    loop.timers[0].ring()
    assert woken == ["first"] and alarm.at == math.inf
    alarm.set(106.0, -1.0, lambda: woken.append("late"))
    assert loop.timers[1].wait == 0.0


def test_an_earlier_time_takes_the_place_of_a_later_one() -> None:
    alarm, loop, woken = made()
    alarm.set(110.0, 10.0, lambda: woken.append("later"))
    alarm.set(105.0, 5.0, lambda: woken.append("earlier"))
    assert [timer.cancelled for timer in loop.timers] == [True, False] and alarm.at == 105.0


def test_what_is_far_off_has_no_timer_and_is_asked_for_again() -> None:
    alarm, loop, _ = made()
    alarm.set(1000.0, FAR + 1, lambda: None)
    assert loop.timers == [] and alarm.at == 1000.0
    assert alarm.ask_again() and alarm.at == math.inf


def test_while_a_timer_is_set_nothing_is_asked_again() -> None:
    alarm, loop, _ = made()
    alarm.set(105.0, 5.0, lambda: None)
    alarm.set(104.0, FAR + 1, lambda: None)  # the run's clock was set back
    assert not alarm.ask_again() and len(loop.timers) == 1


def test_stopped_it_wakes_nobody() -> None:
    alarm, loop, _ = made()
    alarm.stop()
    alarm.set(105.0, 5.0, lambda: None)
    alarm.stop()
    assert loop.timers[0].cancelled
