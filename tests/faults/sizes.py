"""How much the fault tests do: what CI has time for, or all of it with ARKLEX_FAULTS=nightly."""

from __future__ import annotations

import os

SIZE = os.environ.get("ARKLEX_FAULTS") or "CI"
if SIZE not in ("CI", "nightly"):
    raise SystemExit(f"ARKLEX_FAULTS is {SIZE!r}: it may be nightly, or nothing")
NIGHTLY = SIZE == "nightly"
SEED = int(os.environ.get("ARKLEX_FAULTS_SEED", "1"))
"""Of everything that is left to chance; printed by each test."""
