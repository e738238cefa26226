#!/usr/bin/env bash
# Resolve the requirements anew, for every platform, each file with its hash and none with an address.
# A version must have been public for a week: most hijacked releases are found within days.
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {
  local out=requirements/$1.txt
  shift
  echo "locking $out"
  .venv/bin/uv pip compile "$@" --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
    --exclude-newer "7 days" --override requirements/overrides.in \
    --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file "$out"
}

lock uv requirements/uv.in
lock dev pyproject.toml --extra all --extra test --extra demo requirements/build.in
lock base pyproject.toml --constraint requirements/dev.txt
lock bench pyproject.toml --extra bench requirements/build.in --constraint requirements/dev.txt
# What each image holds.
lock build requirements/build.in --constraint requirements/dev.txt
lock operator pyproject.toml --extra cluster --extra operator --constraint requirements/dev.txt
lock runtime pyproject.toml requirements/runtime.in --extra cluster --constraint requirements/dev.txt
lock worker pyproject.toml --extra cluster --constraint requirements/dev.txt
lock worker-llm pyproject.toml --extra cluster --extra llm --constraint requirements/dev.txt
