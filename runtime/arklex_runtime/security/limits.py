"""The guide's RateLimiter: at most requests_per_minute in any 60 s, and burst_size in any 1 s.

``limits`` has moving windows too, but each on its own (what one refuses, the other has counted), on the wall clock, and
with a timer thread for each memory store; so the two windows here look at one row of times.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from arklex_runtime.errors import RateLimitExceeded

WINDOW_SECONDS = 60.0
BURST_SECONDS = 1.0


class RateLimiter:
    """Counts what was let through, for each client; what was refused does not count. Safe in threads.

    Memory: 32 bytes for each request let through in the last minute, at most ``max_clients`` clients. When that many
    are active a further one is refused: forgetting an active client would let it start afresh.
    """

    def __init__(
        self,
        requests_per_minute: int,
        burst_size: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_clients: int = 10_000,
    ) -> None:
        """``burst_size`` defaults to ``requests_per_minute``. ``clock`` is in seconds and never goes back."""
        if requests_per_minute < 1 or max_clients < 1 or (burst_size is not None and burst_size < 1):
            raise ValueError("requests_per_minute, burst_size and max_clients must be at least 1")
        self.requests_per_minute = requests_per_minute
        self.burst_size = min(burst_size or requests_per_minute, requests_per_minute)
        self._clock = clock
        self._max_clients = max_clients
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def acquire(self, client_id: str = "default") -> bool:
        """Takes one request of ``client_id``: True, or RateLimitExceeded, whose ``retry_after`` says in how many seconds."""
        wait = self.try_acquire(client_id)
        if wait > 0:
            raise RateLimitExceeded(f"rate limit exceeded: try again in {wait:.3g} s", retry_after=wait)
        return True

    def try_acquire(self, client_id: str = "default") -> float:
        """0.0 where one request of ``client_id`` was taken, else the seconds until one can be."""
        with self._lock:
            now = self._clock()
            taken = self._taken.get(client_id)
            if taken is None:
                wait = self._make_room(now)
                taken = deque()
            else:
                wait = self._wait(taken, now)
            if wait > 0:
                return wait
            taken.append(now)
            self._taken[client_id] = taken
            self._taken.move_to_end(client_id)
            return 0.0

    def _wait(self, taken: deque[float], now: float) -> float:
        while taken and taken[0] + WINDOW_SECONDS <= now:
            taken.popleft()
        wait = taken[0] + WINDOW_SECONDS - now if len(taken) >= self.requests_per_minute else 0.0
        if len(taken) >= self.burst_size:
            wait = max(wait, taken[-self.burst_size] + BURST_SECONDS - now)
        return max(0.0, wait)

    def _make_room(self, now: float) -> float:
        """Forgets clients that were idle for a minute; the seconds until there is room for one more."""
        while self._taken:
            oldest, taken = next(iter(self._taken.items()))
            idle_in = taken[-1] + WINDOW_SECONDS - now
            if idle_in > 0:
                return idle_in if len(self._taken) >= self._max_clients else 0.0
            del self._taken[oldest]
        return 0.0
