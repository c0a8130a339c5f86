# What a newcomer runs. `make demo` needs Python 3.11 or later and nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDEXPANSION:

# These count only on the command line: in the environment, KUBECONFIG is the cluster that somebody works on.
named = $(if $(filter command,$(origin $1)),$($1))
option = $(if $(call named,$1),$2 '$(call named,$1)')
API_NAMED := $(or $(call named,API),embedded)
$(if $(filter-out embedded server cluster,$(API_NAMED)),$(error API is '$(API_NAMED)'; it can be embedded, server or cluster))
SERVER := $(if $(filter server cluster,$(API_NAMED)),$(if $(call named,KUBECONFIG),,apiserver))
SERVER += $(if $(filter cluster,$(API_NAMED)),system cluster)
SERVER := $(strip $(SERVER))

PORT ?= 8000
STATE ?= .demo
STARTS ?= 10000
BINDINGS ?= 1000 10000 100000
SERVERS ?= 10 100 1000 5000
PAIRS ?= 30
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)

# A stack is a file of tests/stacks: the pins of a hub, and of all that it and the tests need. The newest is in .venv; what
# is not about hubs runs on it alone.
STACKS := $(basename $(notdir $(shell ls -v tests/stacks/*.txt)))
NEWEST := $(lastword $(STACKS))
OLDER := $(filter-out $(NEWEST),$(STACKS))
# Those of a chart's release, by their first line: the image is built on its hub image.
CHARTS := $(basename $(notdir $(shell grep --files-with-matches '^. chart ' $(STACKS:%=tests/stacks/%.txt))))
NEWEST_CHART := $(lastword $(CHARTS))
venv = .venv$(addprefix -,$(filter-out $(NEWEST),$1))
python = $(call venv,$1)/bin/python
VENV := $(call venv,$(NEWEST))
INSTALLED := $(foreach stack,$(STACKS),$(call venv,$(stack))/.test-installed)
# Files side by side: most of the time of a test is spent waiting.
PARALLEL := --numprocesses 4 --dist loadfile
CONTRACT := --numprocesses 4 workspace_managers/contract
suite = $(if $(filter $(NEWEST),$1),--numprocesses 4 --dist worksteal tests/contract,$(CONTRACT))
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
demo: $(VENV)/.demo-installed $(SERVER) ## A hub to sign in to, on an embedded cluster (PORT=9000 moves it, API=server is a real one)
	@exec $(VENV)/bin/$(if $(SERVER),python -m tests.apiserver.demo --api $(API_NAMED),workspace-managers demo) \
		--port $(PORT) --state $(STATE) $(call option,KUBECONFIG,--kubeconfig) \
		$(call option,NAMESPACE,--namespace) $(call option,NODE,--node) $(call option,HUB_HOST,--hub-host)

.PHONY: demo-clean
demo-clean: ## Remove what the demo keeps: claims, their files, the hub's database
	@if [ -d $(STATE) ]; then chmod -R u+w $(STATE) && rm -rf $(STATE); fi

UNIT := $(STACKS:%=test-unit-%)
SUITES := $(STACKS:%=test-contract-%)
E2E := $(STACKS:%=test-e2e-%)
IMAGES := $(CHARTS:%=image-test-%)

.PHONY: test
test: system $(INSTALLED) ## Everything, on all stacks (needs Go, or KUBEBUILDER_ASSETS)
	@$(MAKE) test-cluster API=server BESIDE='$(lastword $(E2E)) $(UNIT) $(SUITES) test-contract-server test-plugins $(filter-out $(lastword $(E2E)),$(E2E)) \
		test-apiserver test-wheel test-legacy docs $(IMAGES) test-bench'
	@$(MAKE) test-faults
	@echo "Everything ran, on $(STACKS)"

# What takes long on a new machine and needs little of each other: the environments wait for downloads, the programs are
# compiled. One environment at a time, as each builds this checkout.
.PHONY: prepare environments
prepare: system ## What the tests need that takes long on a new machine
	@$(MAKE) --jobs 2 --output-sync=line apiserver environments

environments:
	@$(MAKE) --jobs 1 $(INSTALLED) $(DOCS)/.docs-installed

.PHONY: test-fast
test-fast: system $(INSTALLED) ## In less than 8 minutes: the newest stack, the unit tests of all, without Go
	@$(MAKE) --jobs 3 --output-sync=target LEAVE='$(LONGEST)' test-e2e-$(NEWEST) test-contract-$(NEWEST) $(UNIT) test-plugins test-wheel test-legacy
	@echo "Left out: end to end $(LONGEST); contract and end to end on $(OLDER); the real kube-apiserver, to which the embedded Kubernetes API is held, on which plugins keep the contract" \
		"and the hub has only the rights that it needs; the fault run and the benchmark on it; the image; the whole cluster." \
		"make test runs them."

# The embedded API and the demo know no hub, and are of the newest stack.
NOT_OF_A_HUB := test_devcluster test_demo
.PHONY: test-unit $(UNIT)
test-unit: $(UNIT) ## The unit tests, on all stacks (test-unit-hub5: on one, as the others below)
$(UNIT): test-unit-%: $$(call venv,$$*)/.test-installed
	$(timed) $(call python,$*) -m pytest $(PARALLEL) tests/unit $(if $(filter $(OLDER),$*),$(NOT_OF_A_HUB:%=--ignore-glob='*/%*'))

.PHONY: test-contract $(SUITES)
test-contract: $(SUITES) ## The contract on every installed plugin, and the contract itself
$(SUITES): test-contract-%: $$(call venv,$$*)/.test-installed
	$(timed) $(call python,$*) -m pytest $(call suite,$*)

# On the older stacks the plugin that ships, which is what their image has.
.PHONY: test-contract-server
test-contract-server: apiserver $(INSTALLED) ## The contract on the real API server
	$(timed) $(VENV)/bin/python -m tests.contract.on_server \
		$(VENV)/bin/python -m pytest $(CONTRACT) tests/contract/test_requests.py $(foreach stack,$(OLDER), \
		--then $(call python,$(stack)) -m pytest $(CONTRACT)/test_installed.py::Test_lscsde tests/contract/test_requests.py)

.PHONY: apiserver
apiserver: ## Build etcd and kube-apiserver for the tests, once (some minutes); prints their folder
	@$(timed) tests/programs/build

.PHONY: test-apiserver
test-apiserver: $(if $(call named,KUBECONFIG),,apiserver) $(VENV)/.test-installed ## The real API server, and the embedded one held to it
	TEST_KUBECONFIG='$(call named,KUBECONFIG)' $(timed) $(VENV)/bin/python -m pytest -rfEs tests/apiserver

.PHONY: cluster
cluster: apiserver ## Build the programs of a whole cluster for the tests, once (some minutes); prints their folder
	@$(timed) tests/programs/build cluster

.PHONY: images
images: system $(VENV)/.test-installed ## Build the images that the tests need, once (some minutes); prints their folder
	@$(timed) $(VENV)/bin/python -m tests.image

# Which stories are told on which stack: the first one and the day on all, those of failures and of the chart's release, whose hub is
# a pod of the image, on the chart's newest. They wait for most of their time, so that what else there is (BESIDE) runs in lanes
# beside them; two begin, and the others come while the lanes last, as more than three programs that compute do not fit on two cores.
# ALONE is what of that runs where those are not told.
ALONE = $(if $(BESIDE),&& $(MAKE) --jobs 2 --output-sync=target $(BESIDE))
ON_CLUSTER := on-cluster-failures $(filter-out on-cluster-$(NEWEST_CHART),$(STACKS:%=on-cluster-%)) on-cluster-release
LANES = $(wordlist 1,2,$(ON_CLUSTER)) $(wordlist 1,4,$(BESIDE)) $(wordlist 3,9,$(ON_CLUSTER)) $(wordlist 5,99,$(BESIDE))
.PHONY: test-cluster on-cluster $(ON_CLUSTER)
test-cluster: system $(INSTALLED) ## A whole cluster: it leaves nothing, and the hub's stories on it
	@if [ -n '$(call named,KUBECONFIG)' ]; then $(MAKE) on-cluster $(ALONE); \
		elif why=$$($(VENV)/bin/python -m tests.cluster); then \
			$(MAKE) --jobs 2 --output-sync=target cluster images && $(MAKE) on-cluster && $(MAKE) --jobs $(if $(BESIDE),3 TOLD=1 SERVER=,2) --output-sync=target $(LANES); \
		else $(timed) echo "Left out: the tests on a whole cluster, which cannot run here: $$why" $(ALONE); fi

on-cluster:
	TEST_KUBECONFIG='$(call named,KUBECONFIG)' $(timed) $(VENV)/bin/python -m pytest -rfEs tests/cluster

on-cluster-failures:
	$(timed) $(call python,$(NEWEST_CHART)) -m pytest tests/e2e/test_waits.py tests/e2e/test_trouble.py --api=cluster

on-cluster-release:
	$(timed) $(call python,$(NEWEST_CHART)) -m pytest tests/e2e/test_release.py --api=cluster

# Namespaces on the oldest, whose hub is then upgraded to the newest; homes on the newest.
STORIES = "files_stay or a_day or $(if $(filter $(firstword $(STACKS)),$*),test_namespaces,test_homes)"
$(STACKS:%=on-cluster-%): on-cluster-%:
	$(timed) $(call python,$*) -m pytest tests/e2e/test_story.py tests/e2e/test_home.py tests/e2e/test_homes.py \
		tests/e2e/test_namespaces.py --api=cluster -k $(STORIES)

.PHONY: test-bench
test-bench: apiserver $(VENV)/.test-installed ## A small run of the benchmarks; no time is judged
	$(timed) $(VENV)/bin/python -m pytest tests/benchmarks

.PHONY: bench
bench: apiserver $(VENV)/.test-installed ## Measure on the real API server, for docs/benchmarks (BINDINGS=10000: one size)
	@$(VENV)/bin/python -m tests.benchmarks --output docs/benchmarks $(BINDINGS)

.PHONY: bench-admission
bench-admission: apiserver $(VENV)/.test-installed ## What image/admission.yaml costs a pod, as the table in image/README.md
	@$(VENV)/bin/python -m tests.benchmarks.admission

.PHONY: bench-namespaces
bench-namespaces: apiserver $(VENV)/.test-installed ## What it costs the hub to see the pods of 200 namespaces, as the table in image/README.md
	@$(VENV)/bin/python -m tests.benchmarks.namespaces

.PHONY: bench-start
bench-start: system cluster $(call venv,$(NEWEST_CHART))/.test-installed ## From the click to JupyterLab on a whole cluster, for docs/benchmarks (PAIRS=10: the fewest)
	@$(call python,$(NEWEST_CHART)) -m tests.benchmarks.start --output docs/benchmarks $(PAIRS)

.PHONY: faults
faults: apiserver $(VENV)/.test-installed ## Starts while everything fails (STARTS=10000, SEED= of a run to repeat)
	$(timed) $(VENV)/bin/python -m tests.faults --starts $(STARTS) $(addprefix --seed ,$(SEED))

.PHONY: test-faults
test-faults: apiserver $(VENV)/.test-installed ## 500 starts while everything fails, and what finds the mistakes of such a run
	$(timed) $(VENV)/bin/python -m pytest tests/faults tests/sessions tests/soak
	@$(MAKE) --no-print-directory faults STARTS=500
	@$(MAKE) --no-print-directory faults-sessions STARTS=300

.PHONY: faults-sessions
faults-sessions: apiserver $(VENV)/.test-installed ## Servers that run while everything fails (STARTS=10000, SEED=)
	$(timed) $(VENV)/bin/python -m tests.sessions --starts $(STARTS) $(addprefix --seed ,$(SEED))

.PHONY: soak
soak: apiserver $(VENV)/.test-installed ## A hub on which people come and go for long, for docs/benchmarks (MINUTES=60)
	@$(VENV)/bin/python -m tests.soak --output docs/benchmarks $(addprefix --minutes ,$(MINUTES))

.PHONY: bench-sessions
bench-sessions: apiserver $(VENV)/.test-installed ## How soon an access that ends is noticed (SERVERS=1000: one size)
	@$(VENV)/bin/python -m tests.sessions.bench --output docs/benchmarks $(SERVERS)

.PHONY: test-e2e $(E2E)
test-e2e: system $(E2E) ## A real hub in a real browser, on all stacks (API=server: on the real API server)
# What says the same on each stack is told on the newest alone, and what a whole cluster tells (TOLD) not again. There the
# older stacks are on the embedded API, as each start of a real one is half a minute of a processor.
ON_NEWEST := bad_input cluster_answers figures homes lab limits overview settings site
LONGEST := figures homes limits site
OF_THE_CLUSTER := test_home.py::test_a_day test_story.py::test_files_stay_in_their_workspace
left_out = $(sort $(LEAVE) $(if $(filter $(OLDER),$1),$(ON_NEWEST)))
told = $(if $(TOLD),$(if $(filter on-cluster-$1,$(ON_CLUSTER)),$(OF_THE_CLUSTER)))
api = $(if $(and $(TOLD),$(filter $(OLDER),$1)),embedded,$(API_NAMED))
$(E2E): test-e2e-%: $$(call venv,$$*)/.test-installed $(SERVER)
	TEST_KUBECONFIG='$(call named,KUBECONFIG)' $(timed) $(call python,$*) -m pytest \
		--numprocesses 2 --dist loadfile tests/e2e --api=$(call api,$*) \
		$(patsubst %,--ignore=tests/e2e/test_%.py,$(call left_out,$*)) $(patsubst %,--deselect=tests/e2e/%,$(call told,$*))

.PHONY: test-wheel
test-wheel: $(VENV)/.test-installed ## The wheel, from a fresh environment
	$(timed) $(VENV)/bin/python -m pytest tests/wheel

.PHONY: test-plugins
test-plugins: system $(VENV)/.test-installed ## Plugins by others: the guide, what `new` writes, the examples
	$(timed) $(VENV)/bin/python -m pytest $(PARALLEL) tests/plugins

.PHONY: test-legacy
test-legacy: $(VENV)/.test-installed ## The legacy plugin's own tests, and the checkout without it, where it is there
	$(if $(SEPARATE),$(timed) $(VENV)/bin/python -m pytest $(PARALLEL) $(SEPARATE))
	$(if $(SEPARATE),$(timed) .ci/without-legacy)

.PHONY: image
image: ## The hub's image, with docker, podman or buildah (BASE=... is what it is built on)
	@image/build --tag $(IMAGE) $(if $(BASE),--build-arg BASE=$(BASE))

.PHONY: image-test $(IMAGES)
image-test: $(IMAGES) ## The image built on stand-ins for its bases, looked at, and run as the chart's hub
$(IMAGES): image-test-%: system apiserver $$(call venv,$$*)/.test-installed
	$(timed) $(call python,$*) -m pytest tests/image

DOCS := .venv-docs
.PHONY: docs
docs: $(DOCS)/.docs-installed ## The documentation as a site, in docs/build; a warning is an error
	$(timed) $(DOCS)/bin/sphinx-build -W --keep-going -q docs docs/build
	@echo "docs/build/index.html"

$(DOCS)/.docs-installed: setup.cfg docs/constraints.txt tests/stacks/$(NEWEST).txt
	@.ci/venv "$(PYTHON)" $(@D) docs/constraints.txt docs
	@touch $@

RELEASE := .venv-release
.PHONY: release
release: $(RELEASE)/.release-installed ## Build what a release is made of, twice and alike, in dist/VERSION; nothing is published
	@.ci/release $(RELEASE)/bin/python

$(RELEASE)/.release-installed: setup.cfg tests/stacks/$(NEWEST).txt
	@.ci/venv "$(PYTHON)" $(@D) tests/stacks/$(NEWEST).txt release
	@touch $@

.PHONY: texts
texts: $(VENV)/.test-installed ## The catalogues of what people read, brought up to the code; then translate what is new in them
	@$(VENV)/bin/python -m tests.texts

.PHONY: lint
lint: $(VENV)/.test-installed ## Style
	$(timed) $(VENV)/bin/ruff check .
	$(timed) $(VENV)/bin/ruff format --check .

.PHONY: types
types: $(VENV)/.test-installed ## Types
	$(timed) $(VENV)/bin/mypy $(SOURCES)

.PHONY: format
format: $(VENV)/.test-installed ## Put the style right
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: wheel
wheel: $(VENV)/.test-installed ## dist/*.whl
	$(VENV)/bin/pip wheel --quiet --no-deps --wheel-dir dist .

.PHONY: system
system: ## The Debian packages that the tests need
	@.ci/system

.PHONY: clean
clean: ## Remove the environments and everything built
	rm -rf $(INSTALLED:/.test-installed=) $(DOCS) $(RELEASE) docs/build docs/generated build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

$(VENV)/.demo-installed: setup.cfg tests/stacks/$(NEWEST).txt
	@.ci/venv "$(PYTHON)" $(@D) tests/stacks/$(NEWEST).txt demo
	@touch $@

$(VENV)/.test-installed: tests/stacks/$(NEWEST).txt
$(OLDER:%=.venv-%/.test-installed): .venv-%/.test-installed: tests/stacks/%.txt
$(INSTALLED): setup.cfg $(SEPARATE:=/setup.cfg)
	@$(timed) .ci/venv "$(PYTHON)" $(@D) $(filter tests/stacks/%,$^) test $(SEPARATE)
	@touch $@ $(if $(filter $(VENV),$(@D)),$(VENV)/.demo-installed)
