# Needs Python 3.11+ and make; everything else goes into .venv. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
VLLM_PYTHON ?= python3
BIN := $(VENV)/bin
# `make LOCK=` installs the newest versions that pyproject.toml allows. The variables reach the build of the package too.
LOCK ?= lock.txt
LOCKED = $(if $(LOCK),PIP_CONSTRAINT=$(LOCK) PIP_BUILD_CONSTRAINT=$(LOCK))
INSTALL = $(LOCKED) $(BIN)/pip install --quiet --disable-pip-version-check
SEEDS ?=
QUESTIONS ?= 500
VIDEOS ?= 30
.DEFAULT_GOAL := help

.PHONY: help demo test test-newest test-clients test-faults test-vllm test-docs check docs lock bench-decode bench-index bench-engine bench-gpu scaling clean

help:  ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## Make a video, ask questions in five ways, show what each used
	@$(BIN)/python -m app demo

test: $(VENV)/.dev  ## The fast suite: no network, no GPU
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-newest:  ## The fast suite with the newest versions that pyproject.toml allows, in .venv-newest
	@rm -rf .venv-newest
	@$(MAKE) --no-print-directory test VENV=.venv-newest LOCK=

test-clients: $(VENV)/.dev  ## Other people's clients, unmodified, against a real service (each in .venv-clients)
	@$(BIN)/python -m tests.clients.install
	@$(BIN)/python -m pytest -m clients tests/clients --durations=0

test-faults: $(VENV)/.dev  ## Hostile videos and URLs, kills, full disks and slow clients against a real service
	@$(BIN)/python -m pytest -m faults tests/faults --durations=0

test-vllm: $(VENV)/.dev  ## Against a real vLLM server (its CPU build, in .venv-vllm)
	@$(BIN)/python tests/vllm/install.py
	@$(BIN)/python -m pytest -m vllm tests/vllm

test-docs: $(VENV)/.dev  ## Run every block of README and docs, and all examples, with a real service
	@$(BIN)/python -m pytest -m docs tests/docs --durations=0

docs: $(VENV)/.dev  ## Write the pages of docs/ that say what the code says: strategies, systems, settings
	@$(BIN)/python -m tests.docs.generate

check: $(VENV)/.dev  ## ruff and mypy --strict
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

lock: .venv-lock/bin/uv  ## Pin the newest versions that fit: lock.txt, and those of vLLM and the clients
	@PATH="$(CURDIR)/.venv-lock/bin:$$PATH" $(PYTHON) -m tests.lock

bench-decode: $(VENV)/.dev  ## Decoding against OpenCV, decord and per-frame seeking, side by side
	@$(BIN)/python -m tests.bench.decode

bench-index: $(VENV)/.dev  ## Searching 100,000 captions: milliseconds, recall, size
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.index

bench-engine: $(VENV)/.dev  ## The service in front of a real vLLM: overhead, votes against its_hub, rounds, auto
	@$(BIN)/python -m tests.bench.engine

bench-gpu: $(VENV)/.dev  ## The same on a GPU with an 8B model of random weights: VLLM_PYTHON=python with vLLM for CUDA
	@$(BIN)/python -m tests.bench.engine --gpu --python $(VLLM_PYTHON)

scaling: $(VENV)/.dev  ## Accuracy against cost of every strategy, on videos that the demo model was not trained on; then search in long ones
	@$(BIN)/python -m tests.bench.scaling --questions $(QUESTIONS) $(if $(SEEDS),--seeds $(SEEDS))
	@$(BIN)/python -m tests.bench.searching --videos $(VIDEOS)

clean:  ## Remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Second Look needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)

.venv-lock/bin/uv:
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/pip install --quiet --disable-pip-version-check "uv==0.13.*"

$(VENV)/.demo: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@$(INSTALL) -e ".[local]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@$(INSTALL) -e ".[local,decord,dev]"
	@touch $@
