# Each target works alone from a clean clone: it builds .venv, installs what it needs, and runs.
# Stamps in .venv make a second run quick. PYTHON may name another interpreter (3.10 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One torch thread for each of the two pytest workers.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
BUILT_FROM := pyproject.toml papers/pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/anyformer/kernels/cpu/*)

.DEFAULT_GOAL := help
.PHONY: help demo test unit fuzz sanitize bench docs lint clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.runtime ## compare a handful of architectures on generated recall and on real text (under two minutes)
	rm -rf demo-report
	$(BIN)/anyformer compare --out demo-report

test: lint docs unit ## everything that CI checks

unit: $(VENV)/.dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev ## style, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev ## build the site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

fuzz: $(VENV)/.dev ## hold the readers of data to 5,100 tables made from known values (half an hour)
	ANYFORMER_FUZZ=1700 $(ONE_THREAD) $(BIN)/python -m pytest tests/tasks/test_reader_fuzz.py

# What finds reads and writes out of bounds must be loaded before Python is, and with it what PyTorch throws by.
sanitize: $(VENV)/.dev ## the native kernels and the ops' tests under the address and undefined-behaviour sanitizers
	command -v cmake > /dev/null || $(PIP) cmake
	export PATH="$$PATH:$(CURDIR)/$(BIN)"; cmake -S . -B build/sanitize -DANYFORMER_SANITIZE=ON \
		&& cmake --build build/sanitize --parallel 2
	LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) libstdc++.so.6" ASAN_OPTIONS=detect_leaks=0 $(ONE_THREAD) \
		ANYFORMER_NATIVE=$(CURDIR)/build/sanitize $(BIN)/python -m pytest --capture=sys tests/kernels tests/ops \
		tests/laws/test_op_laws.py

bench: $(VENV)/.dev ## what things cost on this machine, beside other libraries, into docs/benchmarks.md (ten minutes)
	$(BIN)/anyformer bench --out docs/benchmarks.md

clean: ## remove the environment and everything that is built
	rm -rf $(VENV) build dist site demo-report bench-results .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find src papers tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch comes first and alone, under exactly this spelling: left to the resolver, pip may choose a build with
# gigabytes of CUDA libraries.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "anyformer needs Python 3.10 or newer; try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) (once)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	@touch $@

$(VENV)/.runtime: $(VENV)/.torch $(BUILT_FROM)
	$(PIP) -c constraints.txt -e . -e papers
	@touch $@

$(VENV)/.dev: $(VENV)/.torch $(BUILT_FROM)
	$(PIP) -c constraints.txt -e ".[dev]" -e papers
	@touch $@ $(VENV)/.runtime
