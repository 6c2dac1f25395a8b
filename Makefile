# Every target sets up what it needs.  `make demo` and `make test` are the two a newcomer runs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check bench up pin clean system-packages

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY)  ## Python environment with exact pins, and the L1 node

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Entresol needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV) || { echo "python3 lacks venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m entresol.settlement.anvil install
	@touch $(READY)

system-packages:  ## RISC-V assembler and qemu for the differential tests (Debian; skipped elsewhere)
	@if ! command -v riscv64-unknown-elf-gcc >/dev/null || ! command -v qemu-riscv64 >/dev/null; then \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    apt-get update -q >/dev/null && apt-get install -y -q gcc-riscv64-unknown-elf qemu-user >/dev/null; \
	  else echo "note: install gcc-riscv64-unknown-elf and qemu-user to run the comparison with qemu; those tests are skipped"; fi; fi

demo: setup  ## deposit, trade, batch, settle, withdraw on a real L1 node, and print the evidence
	$(BIN)/entresol demo

up: setup  ## L1 node, contracts, node, demo accounts, market maker; Ctrl-C stops
	$(BIN)/entresol up

check: setup  ## format, lint, layers, types
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/lint-imports
	$(BIN)/mypy

test: setup system-packages check  ## everything CI runs
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile -q

test-all: setup system-packages check  ## the slow suites too
	$(BIN)/pytest -n 2 --dist loadfile

bench: setup  ## measure against the limits of docs/benchmarks.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks --document docs/benchmarks.md

pin: setup  ## rebuild the kernel image and pin its program id
	$(BIN)/entresol machine image --pin tests/machine/program_id.txt

clean:  ## forget environment, tools and caches
	rm -rf $(VENV) .tools build bench-results .pytest_cache .hypothesis .mypy_cache .ruff_cache
