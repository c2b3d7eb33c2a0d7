# Everything starts from the notebooks in nbs/.  `make help` lists the targets.
PYTHON ?= python
LIB    := pymemri
TEXT   := _text
LIMIT  ?= 900
NBS    := $(shell find nbs -name '*.ipynb' -not -path '*/[._]*' | sort)

.PHONY: help setup lib test slow run docs check sync text untext dist tidy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the package and its tools here, with known versions
	$(PYTHON) -m pip install -c tools/constraints.txt -e '.[dev]'

lib: ## notebooks -> pymemri/ (from scratch, so that no module outlives its notebook)
	@find $(LIB) -name '*.py' -delete 2>/dev/null; mkdir -p $(LIB)
	nbdev_export
	nbdev_clean

test: lib ## run every notebook's tests, then import every module as a user would
	timeout $(LIMIT) nbdev_test
	$(PYTHON) -c "import importlib, pkgutil, $(LIB) as p; ms = [m.name for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.')]; [importlib.import_module(m) for m in ms]; print(len(ms), 'modules import')"

slow: lib ## the tests that need time or a Pod, too
	timeout $(LIMIT) nbdev_test --flags 'slow pod'

run: lib ## run the notebooks in place, so that their outputs are fresh
	$(PYTHON) tools/exec_nbs.py

docs: lib ## docs/ and README.md (no network, no Quarto)
	$(PYTHON) tools/docs/build.py

check: test ## what CI runs: is all that is stored what the notebooks give?
	@test -z "$$(git status --porcelain -- nbs $(LIB))" || { git status --short -- nbs $(LIB); git --no-pager diff --stat -- nbs $(LIB); echo 'run `make lib` and commit'; exit 1; }
	$(PYTHON) tools/exec_nbs.py --check
	$(PYTHON) tools/docs/build.py --check

sync: ## small edits made in pymemri/*.py -> back into the notebooks
	nbdev_update
	nbdev_clean

text: ## notebooks -> _text/*.py, to read and edit as text
	@for f in $(NBS); do t=$(TEXT)/$${f#nbs/}; t=$${t%.ipynb}.py; mkdir -p $$(dirname $$t); jupytext -q --to py:percent --output $$t $$f; done; echo $(words $(NBS)) notebooks in $(TEXT)/

untext: ## _text/*.py -> notebooks; ids and outputs stay
	@find $(TEXT) -name '*.py' | sort | while read t; do f=nbs/$${t#$(TEXT)/}; f=$${f%.py}.ipynb; mkdir -p $$(dirname $$f); \
	  if [ -e $$f ]; then jupytext -q --update --to ipynb --output $$f $$t; else jupytext -q --set-kernel python3 --to ipynb --output $$f $$t; fi; done
	nbdev_clean

dist: lib ## wheel and sdist
	$(PYTHON) -m build

tidy: ## remove what can be made again
	rm -rf _proc _build $(TEXT) build dist *.egg-info
