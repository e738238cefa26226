# Everything starts here: each target prepares what it needs, so a clone, Python >= 3.11 and make are enough.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-faults lint format bench crds lock system system-cluster clean
.PHONY: cluster-build cluster-up cluster-down cluster-demo cluster-test

BIN := .venv/bin
stamp = $(1)/.ready-$(shell cat pyproject.toml requirements/uv.txt requirements/$(2).txt scripts/setup.sh | sha256sum | cut -c1-16)
READY := $(call stamp,.venv,dev)
BENCH := $(call stamp,.venv-bench,bench)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## a virtual environment in .venv from the lock, every package checked against its hash

$(READY):
	@scripts/setup.sh .venv dev
	@touch $@

$(BENCH):
	@scripts/setup.sh .venv-bench bench
	@touch $@

system: ## the Debian packages the full tests need (as root; otherwise says what to install)
	@scripts/debian.sh git postgresql redis-server

CLUSTER_PACKAGES := golang-go containerd runc iptables conntrack ebtables ethtool socat iproute2 \
  containernetworking-plugins buildah busybox-static debootstrap

system-cluster: ## the Debian packages a cluster of the tests' own needs (as root; otherwise says what to install)
	@scripts/debian.sh git postgresql redis-server $(CLUSTER_PACKAGES)

demo: $(READY) ## answer a question about this repository's documents, offline unless OPENAI_API_KEY is set
	@$(BIN)/python -m arklex_runtime.demo

cluster-build: $(READY) ## build Kubernetes itself, once (about 15 minutes on 2 cores; seconds when it is built)
	@$(BIN)/python -m tests.cluster.bed build

cluster-up: $(READY) system-cluster ## bring up a Kubernetes of one node in namespaces of its own, in seconds once it is built
	@$(BIN)/python -m tests.cluster.bed build && $(BIN)/python -m tests.cluster.bed up

cluster-down: $(READY) ## end that cluster and all it left
	@$(BIN)/python -m tests.cluster.bed down

cluster-demo: $(READY) system-cluster ## install the chart on it, apply examples/hello and see it succeed
	@$(BIN)/python -m tests.cluster.demo

cluster-test: $(READY) system ## the cluster tests alone, on that cluster or on the one ARKLEX_TEST_KUBECONFIG names
	@if [ -z "$$ARKLEX_TEST_KUBECONFIG" ]; then $(MAKE) --no-print-directory system-cluster; fi
	@$(BIN)/python -m tests.cluster

test: $(READY) system ## everything that must pass before a merge; prints a table of blocks
	@if [ "$$(uname)" = Linux ] && [ "$$(id -u)" = 0 ] && [ -z "$$ARKLEX_TEST_KUBECONFIG" ]; then $(MAKE) --no-print-directory system-cluster; fi
	@$(BIN)/python scripts/test.py

test-fast: $(READY) ## unit and property tests: no database server, no model
	@$(BIN)/python scripts/test.py fast

test-faults: $(READY) system ## the fault tests in their nightly sizes (over an hour)
	@scripts/faults.sh

lint: $(READY) ## ruff, its formatter, mypy, import-linter
	@$(BIN)/python scripts/test.py lint

format: $(READY) ## let ruff put the code in shape
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(BENCH) ## measure beside LangGraph, DBOS, Celery, taskiq and two floors (about 3 minutes a round; BENCH_OPTIONS="--rounds 3 --write")
	@.venv-bench/bin/python -m bench.run $(BENCH_OPTIONS)

crds: $(READY) ## write crds/*.yaml, and the chart's copies, from the models
	@$(BIN)/python -m arklex_api.crd

lock: $(READY) ## resolve the requirements anew
	@scripts/lock.sh

clean: ## remove what the targets above made
	rm -rf .venv .venv-bench .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
