"""How much the fault tests do: what CI has time for, more with ARKLEX_FAULTS=nightly, most with ARKLEX_FAULTS=full."""

from __future__ import annotations

import os

SIZE = os.environ.get("ARKLEX_FAULTS") or "CI"
NIGHTLY = SIZE in ("nightly", "full")
FULL = SIZE == "full"
SEED = int(os.environ.get("ARKLEX_FAULTS_SEED", "1"))
"""Of everything that is left to chance; printed by each test."""
