"""Quantiles of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of all (0 to 1) do not exceed; None of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def spread(values: Sequence[float]) -> str:
    """Median and 99th percentile of seconds, as they are reported; a dash where nothing was measured."""
    middle, most = quantile(values, 0.5), quantile(values, 0.99)
    return "-" if middle is None or most is None else f"{middle:.2f}/{most:.2f} s"
