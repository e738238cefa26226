#!/usr/bin/env bash
# The fault tests in their nightly sizes (docs/reliability.md). Two tracks go side by side, each of which mostly waits: processes
# over PostgreSQL and Redis; the engine's model and the operator before an API server, whose words are in a file until it is
# done. Then the cluster. Ends with the table of what came of it; exit code 1 if any test failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export ARKLEX_FAULTS=${ARKLEX_FAULTS:-nightly}
python=.venv/bin/python
words=.cache/faults/control-plane.log
mkdir -p .cache/faults

control_plane() {
  local code=0
  "$python" -m pytest tests/property || code=1
  if "$python" -m tests.cluster.bed check programs; then
    "$python" -m tests.cluster.bed build &&
      "$python" -m pytest tests/apiserver/test_operator_*.py tests/integration/kube/test_answers.py || code=1
  fi
  return "$code"
}

code=0
echo "beside this: the engine's model and the operator; see $words"
control_plane >"$words" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null' EXIT
"$python" -m pytest tests/faults || code=1
wait "$beside" || code=1
cat "$words"
if "$python" -m tests.cluster.bed check; then
  "$python" -m tests.cluster tests/cluster/test_deaths.py tests/cluster/test_scale.py || code=1
fi
"$python" -m tests.faults.report || code=1
exit "$code"
