# Set-up and the tasks by make. Needs only Python 3.11 or later.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python3.14 python3.15; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# a file of `invoke bundle save`, which contains the packages and everything that `up` would download
BUNDLE ?=
export PYTHONDONTWRITEBYTECODE :=
# what this call of make was given is not for a make that one of your own steps runs
MAKEOVERRIDES :=
unexport ARGS BUNDLE PYTHON MAKEFLAGS MFLAGS

TASKS := up down plan status doctor prepull registry build cluster namespaces secrets manifests helm steps health docker-tune rehearse report logs bundle snapshot config
.PHONY: help bench $(TASKS) tools test lint support check test-cluster clean

help: ## this list
	@awk -F ':.*## *' '/^[a-z-]+:.*##/ { printf "%-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "tasks, each as 'make TASK ARGS=\"…\"' or 'invoke TASK …': $(TASKS)"

$(VENV)/runtime.done: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed and none was found; install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifeq ($(BUNDLE),)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt || \
	  { echo "The packages of requirements.txt could not be downloaded; without network access: make up BUNDLE=FILE (docs/how-to.md)"; exit 1; }
else
	@rm -rf $(VENV)/wheels && mkdir $(VENV)/wheels
	@$(BIN)/python -m tasks.clients.bundle "$(BUNDLE)" $(VENV)/wheels
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-index --find-links $(VENV)/wheels --require-hashes -r requirements.txt
	@rm -rf $(VENV)/wheels
endif
	@touch $@

# invoke disables writing of bytecode: without these files every call would compile what it imports
$(VENV)/compiled.done: $(VENV)/runtime.done tasks.py $(wildcard tasks/*.py tasks/*/*.py tasks/*/*/*.py)
	@$(BIN)/python -m compileall -q tasks tasks.py
	@touch $@

$(VENV)/dev.done: $(VENV)/runtime.done requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/bench.done: $(VENV)/runtime.done requirements-bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

bench: $(VENV)/compiled.done $(VENV)/bench.done ## launches repeatedly and compares
	@$(BIN)/invoke bench $(ARGS)

$(TASKS): $(VENV)/compiled.done
	@$(BIN)/invoke $@ $(if $(BUNDLE),$(if $(filter up,$@),--bundle "$(BUNDLE)")) $(ARGS)

tools: $(VENV)/compiled.done ## download k3d, kubectl and helm where they are missing
	@$(BIN)/python -m tasks.run.tools $(ARGS)

test: $(VENV)/dev.done ## the tests that need no cluster
	$(BIN)/python -m pytest -m "not cluster" -n logical --dist worksteal $(ARGS)

test-cluster: $(VENV)/dev.done ## the tests on real clusters (Docker)
	$(BIN)/python -m pytest -m cluster --durations 20 $(or $(ARGS),tests/real)

lint: $(VENV)/dev.done ## types, style, layers, shell scripts
	@! git grep -nE '^(<<<<<<<|>>>>>>>) ' || { echo "conflict markers are left in these lines"; exit 1; }
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/shellcheck .ci/run .ci/launch
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml

support: $(VENV)/compiled.done ## whether the pinned versions are still supported by their projects
	@$(BIN)/python -m tasks.host.support

check: lint test ## what must pass before a change is merged

clean: ## delete the virtual environment and the downloaded programs
	rm -rf $(VENV) .tools
