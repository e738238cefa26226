"""From thresholds to an HPA's target and tolerances, exact at both edges in the controller's own arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from arklex_api.worker import Scaling
from arklex_operator.load import quantity
from arklex_operator.load.controller import Target


@dataclass(frozen=True, slots=True)
class Band:
    """What the HPA is given for a Worker's thresholds.

    ``lower`` and ``upper`` (in the metric's units, inclusive) are the values at which it must hold; ``target`` lies between
    them. ``up`` and ``down`` are its tolerances as quantities. ``problem`` says, for people, which threshold cannot be kept
    to the letter; None when both can.
    """

    lower: int
    upper: int
    target: int
    up: str
    down: str
    problem: str | None = None

    def as_target(self) -> Target:
        """What the HPA decides by when the API server keeps all of it."""
        return Target(self.target, quantity.approximate(self.up), quantity.approximate(self.down))


def band(scaling: Scaling, units: int = 1000) -> Band:
    """The band of ``scaling``: load above scaleUpThreshold acts, load below scaleDownThreshold acts, both edges hold.

    ``units`` are what the metric counts a load of 1.0 in: milli-units, or 100 for whole percent of a resource. The target is
    the middle, (up + down) / 2, and the tolerances follow from it. Where floats would miss an edge by a unit, the tolerance
    is nudged to lie between that edge and the next value.
    """
    up, down = (Fraction(str(threshold)) for threshold in (scaling.scale_up_threshold, scaling.scale_down_threshold))
    upper, lower = math.floor(up * units), math.ceil(down * units)
    problem = None
    if upper < lower or upper < 1:
        upper = lower = max(1, upper, lower)
    if lower == 1:
        problem = (
            f"scaling.scaleDownThreshold {scaling.scale_down_threshold:g} is finer than the metric, whose lowest value is kept "
            f"for idle pools: use 0 (never shrink) or at least {2 / units:g}"
        )
    target = max(1, lower, math.floor((up + down) * units / 2))
    return Band(lower, upper, target, _upward(target, upper), _downward(target, lower), problem)


def _upward(target: int, upper: int) -> str:
    """The plainest tolerance at which ``upper`` holds and the next value acts."""
    edge, nudged = Fraction(upper, target) - 1, Fraction(2 * upper + 1, 2 * target) - 1
    return _plainest((edge, nudged), lambda text: Target(target, quantity.approximate(text), 0.0).bounds()[1] == upper)


def _downward(target: int, lower: int) -> str:
    """The plainest tolerance at which ``lower`` holds and the value before acts; everything holds when ``lower`` is 0."""
    if lower == 0:
        return "1"
    edge, nudged = 1 - Fraction(lower, target), 1 - Fraction(2 * lower - 1, 2 * target)
    return _plainest((edge, nudged), lambda text: Target(target, 0.0, quantity.approximate(text)).bounds()[0] == lower)


def _plainest(values: tuple[Fraction, Fraction], exact: Callable[[str], bool]) -> str:
    for places in (3, 6, 9):
        for value in values:
            text = quantity.decimal(Fraction(round(value * 10**places), 10**places))
            if exact(text):
                return text
    raise AssertionError(f"no tolerance of nine decimals between {float(values[0])} and the next value")
