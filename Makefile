# What a newcomer runs. `make demo` needs Python 3.11 or later and nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# These count only on the command line: in the environment, KUBECONFIG is the cluster that somebody works on.
named = $(if $(filter command,$(origin $1)),$($1))
option = $(if $(call named,$1),$2 '$(call named,$1)')
API_NAMED := $(or $(call named,API),embedded)
$(if $(filter-out embedded server,$(API_NAMED)),$(error API is '$(API_NAMED)'; it can be embedded or server))
SERVER := $(if $(filter server,$(API_NAMED)),$(if $(call named,KUBECONFIG),,apiserver))

PORT ?= 8000
STATE ?= .demo
STARTS ?= 10000
BINDINGS ?= 1000 10000 100000
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)

# The newest stack, and the one of the image's base. Both are pinned to the last package.
HUB6 := .venv
HUB4 := .venv-hub4
# Files side by side: most of the time of a test is spent waiting.
PARALLEL := --numprocesses 4 --dist loadfile
e2e = TEST_KUBECONFIG='$(call named,KUBECONFIG)' $(timed) $1/bin/python -m pytest --numprocesses 2 --dist loadfile tests/e2e --api=$(API_NAMED)
CONTRACT := --numprocesses 4 workspace_managers/contract
# Keeps the time of a part for the table of .ci/run.
timed = .ci/timed $@
IMAGE ?= jupyterhub-workspace-managers
SOURCES := workspace_managers plugins hub_config image tests
# Plugins that are distributions of their own, with tests of their own; there may be none.
SEPARATE := $(patsubst %/setup.cfg,%,$(wildcard plugins/legacy/*/setup.cfg))

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: $(HUB6)/.demo-installed $(SERVER) ## A hub to sign in to, on an embedded cluster (PORT=9000 moves it, API=server is a real one)
	@exec $(HUB6)/bin/$(if $(SERVER),python -m tests.apiserver.demo,workspace-managers demo) \
		--port $(PORT) --state $(STATE) $(call option,KUBECONFIG,--kubeconfig) \
		$(call option,NAMESPACE,--namespace) $(call option,NODE,--node) $(call option,HUB_HOST,--hub-host)

.PHONY: demo-clean
demo-clean: ## Remove what the demo keeps: claims, their files, the hub's database
	@if [ -d $(STATE) ]; then chmod -R u+w $(STATE) && rm -rf $(STATE); fi

.PHONY: test
test: system apiserver ## Everything, on both stacks (needs Go, or KUBEBUILDER_ASSETS)
	@$(MAKE) --jobs 2 --output-sync=target test-unit test-wheel test-legacy test-apiserver test-contract test-contract-server test-plugins
	@$(MAKE) --jobs 2 --output-sync=target API=server test-e2e-hub6 test-e2e-hub4
	@$(MAKE) test-faults test-bench image-test
	@echo "Everything ran, on both stacks"

.PHONY: test-fast
test-fast: system test-unit test-contract test-plugins test-legacy ## As test, without the real kube-apiserver
	@$(MAKE) --jobs 2 --output-sync=target test-e2e-hub6 test-e2e-hub4 test-wheel
	@echo "Left out: the real kube-apiserver, to which the embedded Kubernetes API is held, on which plugins keep the contract" \
		"and the hub has only the rights that it needs; the fault run and the benchmark on it; the image. make test runs them."

.PHONY: test-unit
test-unit: $(HUB6)/.test-installed $(HUB4)/.test-installed ## The unit tests, on both stacks
	$(timed) $(HUB6)/bin/python -m pytest $(PARALLEL) tests/unit
	$(timed) $(HUB4)/bin/python -m pytest $(PARALLEL) tests/unit

.PHONY: test-contract
test-contract: $(HUB6)/.test-installed $(HUB4)/.test-installed ## The contract on every installed plugin, and the contract itself
	$(timed) $(HUB6)/bin/python -m pytest --numprocesses 4 --dist worksteal tests/contract
	$(timed) $(HUB4)/bin/python -m pytest $(CONTRACT)

.PHONY: test-contract-server
test-contract-server: apiserver $(HUB6)/.test-installed $(HUB4)/.test-installed ## The contract on the real API server
	$(timed) $(HUB6)/bin/python -m tests.contract.on_server \
		$(HUB6)/bin/python -m pytest $(CONTRACT) tests/contract/test_requests.py --then \
		$(HUB4)/bin/python -m pytest $(CONTRACT)/test_installed.py::Test_lscsde tests/contract/test_requests.py

.PHONY: apiserver
apiserver: ## Build etcd and kube-apiserver for the tests, once (some minutes); prints their folder
	@$(timed) tests/apiserver/build

.PHONY: test-apiserver
test-apiserver: $(if $(call named,KUBECONFIG),,apiserver) $(HUB6)/.test-installed ## The real API server, and the embedded one held to it
	TEST_KUBECONFIG='$(call named,KUBECONFIG)' $(timed) $(HUB6)/bin/python -m pytest -rfEs tests/apiserver

.PHONY: test-bench
test-bench: apiserver $(HUB6)/.test-installed ## A small run of the benchmark; no time is judged
	$(timed) $(HUB6)/bin/python -m pytest tests/benchmarks

.PHONY: bench
bench: apiserver $(HUB6)/.test-installed ## Measure on the real API server, for docs/benchmarks (BINDINGS=10000: one size)
	@$(HUB6)/bin/python -m tests.benchmarks --output docs/benchmarks $(BINDINGS)

.PHONY: faults
faults: apiserver $(HUB6)/.test-installed ## Starts while everything fails (STARTS=10000, SEED= of a run to repeat)
	$(timed) $(HUB6)/bin/python -m tests.faults --starts $(STARTS) $(addprefix --seed ,$(SEED))

.PHONY: test-faults
test-faults: apiserver $(HUB6)/.test-installed ## 500 starts while everything fails, and what finds the mistakes of such a run
	$(timed) $(HUB6)/bin/python -m pytest tests/faults
	@$(MAKE) --no-print-directory faults STARTS=500

.PHONY: test-e2e
test-e2e: system test-e2e-hub6 test-e2e-hub4 ## A real hub in a real browser, on both stacks (API=server: on the real API server)

.PHONY: test-e2e-hub6
test-e2e-hub6: $(HUB6)/.test-installed $(SERVER)
	$(call e2e,$(HUB6))

.PHONY: test-e2e-hub4
test-e2e-hub4: $(HUB4)/.test-installed $(SERVER)
	$(call e2e,$(HUB4))

.PHONY: test-wheel
test-wheel: $(HUB6)/.test-installed ## The wheel, from a fresh environment
	$(timed) $(HUB6)/bin/python -m pytest tests/wheel

.PHONY: test-plugins
test-plugins: system $(HUB6)/.test-installed ## Plugins by others: the guide, what `new` writes, the example on PostgreSQL
	$(timed) $(HUB6)/bin/python -m pytest $(PARALLEL) tests/plugins

.PHONY: test-legacy
test-legacy: $(HUB6)/.test-installed ## The legacy plugin's own tests, and the checkout without it, where it is there
	$(if $(SEPARATE),$(timed) $(HUB6)/bin/python -m pytest $(PARALLEL) $(SEPARATE))
	$(if $(SEPARATE),$(timed) .ci/without-legacy)

.PHONY: image
image: ## The hub's image, with docker, podman or buildah (BASE=... is what it is built on)
	@image/build --tag $(IMAGE) $(if $(BASE),--build-arg BASE=$(BASE))

.PHONY: image-test
image-test: system apiserver $(HUB4)/.test-installed ## The image built on stand-ins for its bases, looked at, and run as the chart's hub
	$(timed) $(HUB4)/bin/python -m pytest tests/image

.PHONY: lint
lint: $(HUB6)/.test-installed ## Style
	$(timed) $(HUB6)/bin/ruff check .
	$(timed) $(HUB6)/bin/ruff format --check .

.PHONY: types
types: $(HUB6)/.test-installed ## Types
	$(timed) $(HUB6)/bin/mypy $(SOURCES)

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

$(HUB6)/.test-installed: setup.cfg tests/stacks/hub6.txt $(SEPARATE:=/setup.cfg)
	@$(timed) .ci/venv "$(PYTHON)" $(HUB6) tests/stacks/hub6.txt test $(SEPARATE)
	@touch $@ $(HUB6)/.demo-installed

$(HUB4)/.test-installed: setup.cfg tests/stacks/hub4.txt $(SEPARATE:=/setup.cfg)
	@$(timed) .ci/venv "$(PYTHON)" $(HUB4) tests/stacks/hub4.txt test $(SEPARATE)
	@touch $@
