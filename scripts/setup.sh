#!/usr/bin/env bash
# usage: scripts/setup.sh VENV LOCK
# Make the virtual environment VENV hold what requirements/LOCK.txt names, each package checked against its hash, and the
# project itself, editable. PYTHON=... chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
lock=requirements/$2.txt

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "arklex-operator needs Python 3.11 or newer; none of these is: ${PYTHON:-python3, python3.11 to python3.14}" >&2
  return 1
}

if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  python=$(find_python)
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    scripts/debian.sh "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  echo "making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE=${UV_LINK_MODE:-hardlink}
uv=$venv/bin/uv
if [ "$("$uv" --version 2>/dev/null | cut -d' ' -f2)" != "$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements/uv.txt)" ]; then
  "$venv/bin/python" -m pip install --quiet --require-hashes --requirement requirements/uv.txt
fi
echo "installing $lock into $venv"
VIRTUAL_ENV=$venv "$uv" pip install --quiet --no-deps --require-hashes --requirement "$lock"
VIRTUAL_ENV=$venv "$uv" pip install --quiet --no-deps --no-build-isolation --editable .
rm -f "$venv"/.ready-*
