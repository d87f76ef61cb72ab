# The one entry point: people and CI call the same targets. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test fuzz lint bench bench-gpu settings manifests minikube minikube-down lock clean environment chromium prometheus

PYTHON ?= python3
BIN := .venv/bin
# Stamps contain the hash of the file they stand for, so touching it reinstalls nothing.
LOCKED := .venv/.locked-$(shell sha256sum < requirements.lock | cut -c1-16)
READY := .venv/.ready-$(shell sha256sum < pyproject.toml | cut -c1-16)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: environment ## digits from images to a registered model, on this machine (a few minutes)
	@$(BIN)/python pipelines/digits.py --local

test: environment chromium prometheus ## all tests (with a real S3 server, real ranks, a real browser and a real Prometheus)
	@$(BIN)/python -m pytest $(PYTEST)

fuzz: environment ## every verb 10,000 times with arbitrary arguments and damaged input (minutes; different each time)
	@DCVAE_TEST_CASES=10000 $(BIN)/python -m pytest tests/cli/test_any_input.py --timeout 7200

lint: environment ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: environment ## how fast the parts are on this machine: step, launches, scaling, stream, mixing, encodings, evaluation
	@for name in step launches scaling stream mixing encodings evaluation; do echo "benchmarks/$$name.py"; $(BIN)/python -m benchmarks.$$name; done

bench-gpu: environment ## a training step on this machine's GPU: time in each precision, memory and timeline, in build/gpu
	@$(BIN)/python -m benchmarks.gpu --out build/gpu

manifests: environment ## all pipelines as Kubernetes resources in build/manifests
	@$(BIN)/python -m pipelines.kubeflow.manifests build/manifests

settings: environment ## generate docs/settings.md from the settings and variables in the code
	@$(BIN)/python -m dcvae.config.reference docs/settings.md

minikube: environment ## a small cluster on this machine, with the digits pipeline run on it
	@k8s/minikube.sh up

minikube-down: ## remove that cluster and everything in it
	@k8s/minikube.sh down

environment: $(LOCKED) $(READY)

$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=python3.11"; exit 1; }
	@if [ -d .venv ]; then echo "The lock has changed: bringing .venv up to date."; \
	  else echo "Creating .venv with $$($(PYTHON) --version). This happens once."; fi
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@rm -f .venv/.locked-* .venv/.ready-*
	@echo "Installing the pinned packages (several gigabytes, PyTorch being the largest):"
	@$(BIN)/python -m pip install --no-deps --require-hashes -r requirements.lock \
	  2> .venv/install.errors | tee .venv/install.log \
	  | awk -v total="$$(grep -c '^[a-zA-Z0-9].*==' requirements.lock)" ' \
	      /^(Collecting|Requirement already satisfied:)/ { \
	        n++; name = $$0; sub(/^Collecting |^Requirement already satisfied: /, "", name); sub(/ .*/, "", name); \
	        printf "  %3d of %d  %s\n", n, total, name; fflush() } \
	      /^Installing collected/ { print "  unpacking (the quiet part; a minute or two)"; fflush() }' \
	  || { tail -n 20 .venv/install.errors; echo "error: installation failed; the whole log is .venv/install.log"; exit 1; }
	@touch $@

$(READY): pyproject.toml | $(LOCKED)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . 2> .venv/install.errors \
	  || { cat .venv/install.errors; exit 1; }
	@rm -f .venv/.ready-*
	@touch $@
	@echo "The environment is ready in .venv."

# $(call debian,COMMAND,PACKAGE,WHAT FOR): install a program that is not a Python package.
define debian
command -v $(1) > /dev/null && exit 0; \
	if ! command -v apt-get > /dev/null; then \
	  echo "error: $(3) needs $(2): install it so that '$(1)' is on the PATH"; exit 1; fi; \
	as_root=""; if [ "$$(id -u)" != 0 ]; then as_root=sudo; \
	  command -v sudo > /dev/null || { echo "error: $(3) needs $(2): ask an administrator for 'apt-get install $(2)'"; exit 1; }; fi; \
	echo "Installing $(2) for $(3)."; log=$$(mktemp); \
	{ $$as_root apt-get update && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $(2); } \
	  > "$$log" 2>&1 || { tail -n 20 "$$log"; echo "error: apt-get could not install $(2)"; exit 1; }; rm -f "$$log"
endef

chromium:
	@$(call debian,chromium,chromium,the report test)

prometheus:
	@$(call debian,promtool,prometheus,the test of metrics and alerts)
	@$(call debian,prometheus-pushgateway,prometheus-pushgateway,the test of steps' metrics)

lock: ## resolve the dependencies again into requirements.lock (needs uv)
	@command -v uv > /dev/null || { echo "error: 'make lock' needs uv: python3 -m pip install uv"; exit 1; }
	@uv pip compile pyproject.toml --constraints constraints.txt --extra test --extra lint --extra cluster \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean: ## remove the environment, caches and everything the demo wrote
	rm -rf .venv .dcvae .cache demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
