# Every target sets up what it needs (scripts/setup.py): a virtual environment with the locked packages and, as root on
# Debian, the packages of the system.
PYTHON ?= python3
RUN := .venv/bin/python
PATHS := src tests bench demo scripts

.PHONY: help demo demo-check test check bench soak lint crds console clean setup-demo setup-test

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup-demo:
	@$(PYTHON) scripts/setup.py demo

setup-test:
	@$(PYTHON) scripts/setup.py test

demo: setup-demo  ## bring up a hub, two nodes, an app, devices and events; Ctrl-C ends everything
	@$(RUN) -m demo

demo-check: setup-demo  ## the same, walking its tour by itself; exits non-zero if a step failed
	@$(RUN) -m demo --check

lint: setup-test  ## format, lint, types, layers
	@.venv/bin/ruff format --check $(PATHS)
	@.venv/bin/ruff check $(PATHS)
	@.venv/bin/mypy
	@.venv/bin/lint-imports

check: lint  ## lint and the fast tests: under 2 minutes
	@$(RUN) -m pytest -q -m "not slow"

test: lint  ## everything that must be true of a commit
	@$(RUN) -m pytest -q

soak: setup-test  ## the long trials at their full counts; writes docs/reference/soak.md
	@$(RUN) scripts/soak.py $(TRIALS)

bench: setup-test  ## every budget of docs/architecture.md beside what was measured
	@$(RUN) -m bench

crds: setup-demo  ## write deploy/crds/ from the kinds
	@$(RUN) scripts/crds.py

console: setup-test  ## build the console's assets from web/ (needs Node.js)
	@npm --prefix web ci --no-audit --no-fund && npm --prefix web run build

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
