.DEFAULT_GOAL := help
PYTHON := .venv/bin/python

# With it every process would compile the SDKs anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help test test-all test-fast demo bench growth spot-replay fmt lint types readme lock crash

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ready: requirements-dev.txt
	@command -v uv >/dev/null || test -x .tools/bin/uv || (python3 -m venv .tools && .tools/bin/pip install --quiet uv==0.13.9)
	PATH="$$PATH:$(CURDIR)/.tools/bin" uv venv --quiet --allow-existing --python '>=3.11' .venv
	PATH="$$PATH:$(CURDIR)/.tools/bin" uv pip sync --quiet --require-hashes requirements-dev.txt
	@touch $@

PYTEST := PATH="$$PATH:$(CURDIR)/.tools/bin" $(PYTHON) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: .venv/.ready lint types  ## formatting, lint, types and every behaviour once
	$(PYTHON) -m sandbox.toolchain
	$(PYTEST) -m "not exhaustive"

test-all: .venv/.ready lint types  ## the same, and each proof in its other modes and variations
	$(PYTHON) -m sandbox.toolchain
	$(PYTEST)

test-fast: .venv/.ready lint types  ## the tests that need neither engine nor API server
	$(PYTHON) -m pytest --numprocesses 4 --dist worksteal --ignore tests/engine

spot-replay: .venv/.ready  ## 10,000 Spot events through the real handler, with outages
	$(PYTHON) -m sandbox.proofs.spot_replay

demo: .venv/.ready  ## a whole life cycle on this machine, without a cloud account
	$(PYTHON) -m sandbox.demo

bench: .venv/.ready  ## what previews and updates cost, side by side with an empty program
	$(PYTHON) -m sandbox.proofs.bench

growth: .venv/.ready  ## what 1, 10 and 100 clusters cost in one account, under IAM's throttling
	$(PYTHON) -m sandbox.proofs.growth

crash: .venv/.ready  ## the engine killed after every write of up and destroy, recovered each time
	$(PYTHON) -m sandbox.proofs.crash
	$(PYTHON) -m sandbox.proofs.crash_adoption

fmt: .venv/.ready  ## rewrite the formatting
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint: .venv/.ready
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types: .venv/.ready
	$(PYTHON) -m pyrefly check

readme: .venv/.ready  ## rewrite what the documents take from the code
	$(PYTHON) -m tests.support.readme

lock: .venv/.ready  ## rewrite the pins with hashes from pyproject.toml
	PATH="$$PATH:$(CURDIR)/.tools/bin" uv pip compile --quiet --no-config --universal --generate-hashes --no-header pyproject.toml --output-file requirements.txt
	PATH="$$PATH:$(CURDIR)/.tools/bin" uv pip compile --quiet --no-config --universal --generate-hashes --no-header pyproject.toml --group dev --output-file requirements-dev.txt
	$(PYTHON) -m tests.support.pins
