# What a newcomer runs. `make demo` needs Python 3.11 or later and nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PORT ?= 8000
STATE ?= .demo
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)

# The newest stack, and the one of the image's base. Both are pinned to the last package.
HUB6 := .venv
HUB4 := .venv-hub4
# Files side by side: most of the time of a test is spent waiting.
PARALLEL := --numprocesses 4 --dist loadfile
SOURCES := workspace_managers plugins hub_config tests

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: $(HUB6)/.demo-installed ## A hub to sign in to, on an embedded cluster (PORT=9000 moves it)
	@exec $(HUB6)/bin/workspace-managers demo --port $(PORT) --state $(STATE)

.PHONY: demo-clean
demo-clean: ## Remove what the demo keeps: claims, their files, the hub's database
	@if [ -d $(STATE) ]; then chmod -R u+w $(STATE) && rm -rf $(STATE); fi

.PHONY: test
test: system apiserver test-unit test-contract test-apiserver ## Everything, on both stacks (needs Go, or KUBEBUILDER_ASSETS)
	@$(MAKE) --jobs 2 --output-sync=target test-e2e-hub6 test-e2e-hub4 test-wheel
	@echo "Everything ran, on both stacks; nothing was left out."

.PHONY: test-fast
test-fast: system test-unit test-contract ## As test, without the real kube-apiserver
	@$(MAKE) --jobs 2 --output-sync=target test-e2e-hub6 test-e2e-hub4 test-wheel
	@echo "Left out: tests/apiserver, which holds the embedded Kubernetes API to the real one; make test runs it."

.PHONY: test-unit
test-unit: $(HUB6)/.test-installed $(HUB4)/.test-installed ## The unit tests, on both stacks
	$(HUB6)/bin/python -m pytest $(PARALLEL) tests/unit
	$(HUB4)/bin/python -m pytest $(PARALLEL) tests/unit

.PHONY: test-contract
test-contract: $(HUB6)/.test-installed $(HUB4)/.test-installed ## The contract on every installed plugin, and the contract itself
	$(HUB6)/bin/python -m pytest $(PARALLEL) tests/contract
	$(HUB4)/bin/python -m pytest --pyargs workspace_managers.contract

.PHONY: apiserver
apiserver: ## Build etcd and kube-apiserver for the tests, once (some minutes); prints their folder
	@tests/apiserver/build

.PHONY: test-apiserver
test-apiserver: apiserver $(HUB6)/.test-installed ## The embedded Kubernetes API held to the real one
	$(HUB6)/bin/python -m pytest -rfE tests/apiserver

.PHONY: test-e2e
test-e2e: system test-e2e-hub6 test-e2e-hub4 ## A real hub in a real browser, on both stacks

.PHONY: test-e2e-hub6
test-e2e-hub6: $(HUB6)/.test-installed
	$(HUB6)/bin/python -m pytest tests/e2e

.PHONY: test-e2e-hub4
test-e2e-hub4: $(HUB4)/.test-installed
	$(HUB4)/bin/python -m pytest tests/e2e

.PHONY: test-wheel
test-wheel: $(HUB6)/.test-installed ## The wheel, from a fresh environment
	$(HUB6)/bin/python -m pytest tests/wheel

.PHONY: lint
lint: $(HUB6)/.test-installed ## Style
	$(HUB6)/bin/ruff check .
	$(HUB6)/bin/ruff format --check .

.PHONY: types
types: $(HUB6)/.test-installed ## Types
	$(HUB6)/bin/mypy $(SOURCES)

.PHONY: format
format: $(HUB6)/.test-installed ## Put the style right
	$(HUB6)/bin/ruff check --fix .
	$(HUB6)/bin/ruff format .

.PHONY: wheel
wheel: $(HUB6)/.test-installed ## dist/*.whl
	$(HUB6)/bin/pip wheel --quiet --no-deps --wheel-dir dist .

.PHONY: system
system: ## The Debian packages that the tests need
	@.ci/system

.PHONY: clean
clean: ## Remove the environments and everything built
	rm -rf $(HUB6) $(HUB4) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

$(HUB6)/.demo-installed: setup.cfg tests/stacks/hub6.txt
	@.ci/venv "$(PYTHON)" $(HUB6) tests/stacks/hub6.txt demo
	@touch $@

$(HUB6)/.test-installed: setup.cfg tests/stacks/hub6.txt
	@.ci/venv "$(PYTHON)" $(HUB6) tests/stacks/hub6.txt test
	@touch $@ $(HUB6)/.demo-installed

$(HUB4)/.test-installed: setup.cfg tests/stacks/hub4.txt
	@.ci/venv "$(PYTHON)" $(HUB4) tests/stacks/hub4.txt test
	@touch $@
