# Everything starts from the notebooks in nbs/. `make help` lists the targets.
# `make demo` and `make test` need only make and Python 3.11 to 3.13: the first one to run makes .venv with pinned packages.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp
GIVEN  := $(PYTHON)
PATH0  := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV POD_ADDRESS
MAKEFLAGS += --no-print-directory --no-builtin-rules

.DEFAULT_GOAL := help
.PHONY: help demo test check s3 lib docs run bench text untext sync dist tidy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' Makefile

demo: $(STAMP) ## photographs into an encrypted Pod, and back: make demo [DIR=~/Pictures]
	@$(BIN)/pymemri demo $(if $(filter command,$(firstword $(origin DIR))),--folder "$$DIR")

test: check ## all that must hold: what check does, then pytest
	@$(BIN)/python -m pytest -n 2 --dist loadfile tests

check: $(STAMP) ## is all that is stored what the notebooks give? export, outputs, docs/, README.md
	@$(BIN)/python tools/export.py --check
	@$(BIN)/python tools/exec_nbs.py --check
	@$(BIN)/python tools/docs/build.py --check

s3: .venv-s3/.stamp ## the tests of stores on an S3 server (moto's), in an environment of their own
	@REQUIRE_S3=1 .venv-s3/bin/python -m pytest -q -k s3 tests/test_blobs_stores.py

lib: $(STAMP) ## notebooks -> pymemri/
	@$(BIN)/python tools/export.py

run: lib ## run the notebooks in place, so that their outputs are fresh: make run [NB=nbs/core.ipynb]
	@$(BIN)/python tools/exec_nbs.py $(NB)

docs: lib ## docs/ and README.md, from the outputs that are stored
	@$(BIN)/python tools/docs/build.py

bench: $(STAMP) ## measure the Pod against its goals: make bench [BENCH=http] [ITEMS="10000 100000"]
	@$(BIN)/python bench/$(or $(BENCH),pod).py $(if $(ITEMS),--items $(ITEMS))

text: $(STAMP) ## notebooks -> _text/*.py, to read and edit as text: make text [NB=nbs/core.ipynb]
	@$(BIN)/python tools/text.py to $(NB)

untext: $(STAMP) ## _text/*.py -> the notebooks whose text changed; ids and outputs stay
	@$(BIN)/python tools/text.py from

sync: $(STAMP) ## small edits made in pymemri/*.py -> back into the notebooks
	@$(BIN)/nbdev_update
	@$(BIN)/nbdev_clean

dist: $(STAMP) ## wheel and sdist, in dist/
	@$(BIN)/python -m build --no-isolation

tidy: ## remove what can be made again, .venv too
	rm -rf _proc _build _text build dist *.egg-info .pytest_cache .hypothesis $(VENV) .venv-s3

# One Python environment for all of it, made again when the pins or the requirements change.
$(STAMP): settings.ini tools/constraints.txt setup.py
	@export PATH='$(PATH0)'; ok='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; found=; \
	for p in $(or $(GIVEN),python3 python3.13 python3.12 python3.11 python); do \
	  if $$p -c "$$ok" 2>/dev/null; then found=$$p; break; fi; done; \
	if [ -z "$$found" ]; then echo "pymemri needs Python 3.11, 3.12 or 3.13, and $(or $(GIVEN),python3) is" \
	  "$$($(or $(GIVEN),python3) -V 2>&1 | head -n 1). Name another one: make $(or $(firstword $(MAKECMDGOALS)),test) PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	rm -rf $(VENV); echo "making $(VENV) with $$($$found -V) (once, about a minute)"; \
	$$found -m venv $(VENV) || { echo "this Python cannot make environments; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install -qq -c tools/constraints.txt pip setuptools wheel
	@$(BIN)/python -m pip install -qq --no-build-isolation -c tools/constraints.txt -e '.[dev]'
	@touch $@

.venv-s3/.stamp: tools/s3.txt | $(STAMP)
	@rm -rf .venv-s3; echo "making .venv-s3 (once, about a minute)"; $(BIN)/python -m venv .venv-s3
	@.venv-s3/bin/python -m pip install -qq -r tools/s3.txt
	@touch $@
