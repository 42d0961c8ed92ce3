# One verb per task; `make help` lists them. Everything is installed into .venv, from the locked
# requirements, hashes checked. Stamps make the second run fast.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Any Python from 3.11 on: `make demo PYTHON=/path/to/python3.13` picks one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
KERNEL := $(wildcard src/lockgate/kernel/*.py src/lockgate/audit/evidence/*.py) \
	$(addprefix src/lockgate/audit/,entry.py commitment.py leaves.py growth.py apart/frames.py) \
	$(addprefix src/lockgate/protocols/http/,grammar.py framing.py incoming.py reader.py codec.py fields.py)
ARGS ?=

.PHONY: help demo test lint types bench docs fuzz lock clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo $(VENV)/.package  ## an AutoGen team against a real database through Lockgate (ARGS=--stay keeps it up)
	@$(BIN)/python -m demo $(ARGS)

# All of them on up to four processors; what is asked for by ARGS in one process, where `-x`, `-s` and `--pdb` are of use.
# Hashes are random for each run, and the same in all of its processes: names of tests that hold a set must be, too.
test: $(VENV)/.dev $(VENV)/.package  ## all tests (ARGS go to pytest)
	PYTHONHASHSEED=$$(od -An -N2 -tu2 /dev/urandom | tr -d ' ') $(BIN)/python -m pytest $(or $(ARGS),--numprocesses=auto --maxprocesses=4 --dist=worksteal)

lint: $(VENV)/.dev $(VENV)/.package  ## ruff, layers, licences
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check-licences

types: $(VENV)/.dev $(VENV)/.package  ## mypy, strict
	$(BIN)/mypy

bench: $(VENV)/.dev $(VENV)/.package  ## Lockgate beside a direct connection and PgBouncer
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.dev $(VENV)/.package  ## write docs/reference from the code
	$(BIN)/python scripts/generate-docs $(ARGS)

fuzz: $(VENV)/.dev $(VENV)/.package  ## random bytes, statements, power failures and kills (ARGS=--seconds=60)
	$(BIN)/python -m fuzz $(ARGS)

lock: $(VENV)/.dev  ## write the requirements files (ARGS=--upgrade for the newest versions)
	scripts/lock $(ARGS)

clean:  ## remove what the other verbs made
	rm -rf $(VENV) build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find src -name '*.so' -delete
	find src tests testbed demo bench fuzz scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/.venv:
	@test -n "$(PYTHON)" || { echo "Lockgate needs Python 3.11 or newer; none was found. Install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11, which Lockgate needs" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (about a minute, once)"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# Holds everything of requirements.txt as well, which is for installations that build nothing.
$(VENV)/.runtime: $(VENV)/.venv requirements-build.txt
	@$(PIP) install --require-hashes -r requirements-build.txt
	@touch $@

$(VENV)/.demo: $(VENV)/.runtime requirements-demo.txt
	@$(PIP) install --require-hashes -r requirements-demo.txt
	@touch $@

# The tests run the demo too.
$(VENV)/.dev: $(VENV)/.demo requirements-dev.txt
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# Compiled modules of an earlier source would win over the source: they go first.
$(VENV)/.package: $(VENV)/.runtime pyproject.toml setup.py $(KERNEL)
	@find src -name '*.so' -delete; rm -rf build
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from lockgate.cli.version import kernel_mode as m; m() != "mixed" or exit(1); print("kernel:", m())' \
		|| { find src -name '*.so' -delete; echo "kernel: interpreted (it compiled in part only)"; }
	@touch $@
