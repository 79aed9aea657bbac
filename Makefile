# `make up` runs Darkroom here; `make test` proves it. Both build the environment when it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SERVICES := services/gateway services/generator services/storage services/ledger
PACKAGES := contracts runtime simulator $(SERVICES) darkroom
STAMP  := $(VENV)/.ready

# Bytecode is kept, whatever the environment says: a stack or a suite starts the same modules again and again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: env up test check format lock vendor schemas manifests former bench proof chaos soak fuzz

env: $(STAMP)  ## the Python environment, from the lock

$(STAMP): requirements.lock $(PACKAGES:%=%/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	touch $@

up: env  ## the whole stack on this machine; Ctrl-C stops it
	$(BIN)/darkroom up $(ARGS)

test: env  ## every tier, with real servers
	$(BIN)/pytest -n auto $(ARGS)

check: env  ## style, types, walls, and known vulnerabilities where somebody can be asked
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy.advisories

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: env  ## exports the JSON Schemas, AsyncAPI, OpenAPI, the users of NATS and the scalers of Kubernetes
	$(BIN)/darkroom schemas

manifests: schemas  ## renders the overlays of Kubernetes (needs kubectl)
	sh deploy/k8s/render.sh

former:  ## at a release: keeps what the next version has to live beside, this one's code and contracts
	git archive HEAD contracts/schemas $(foreach p,contracts runtime $(SERVICES),$(p)/src) | xz -9e > tests/former/version.tar.xz

proof: env  ## ten thousand seeds, what needs root or patience, and all that docs/reliability.md names; writes it anew
	$(BIN)/python -m tests.simulation $(ARGS)
	$(BIN)/python -m tests.reliability --run

chaos: env  ## ten minutes of kills, stops and bad links under load, seed after seed
	$(BIN)/python -m tests.chaos $(ARGS)

soak: env  ## two hours under load, and what grows
	$(BIN)/pytest -q -s tests/proof/soak.py $(ARGS)

fuzz: env  ## half an hour of whatever the OpenAPI document allows and does not
	$(BIN)/python -m tests.proof.fuzz $(ARGS)

bench: env  ## one table beside peers and limits, and docs/performance.md anew; ARGS="--only ROW" or --short
	$(BIN)/python -m bench $(ARGS)

lock:  ## resolves the dependencies again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  $(foreach p,contracts runtime gateway generator storage ledger simulator cli,--no-emit-package darkroom-$(p)) \
	  requirements.in --output-file requirements.lock

vendor: env  ## copies the libraries of the pages from the packages of deploy/studio (needs npm)
	$(BIN)/python -m deploy.vendor
