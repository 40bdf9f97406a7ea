# Everything a person or CI does here, each with one command.
#   make run     the service on this machine            make test   the tests
#   make shell   a shell that knows `damoscope`         make lint   ruff, mypy, import-linter
#   make wheel   the package, in dist/                  make test-wheel   it, installed elsewhere
#   make lock    resolve the lock files anew            make test-locks   on what they install
#   make audit   vulnerabilities, licences, SBOM
#   make generate   what says again what the code says: tables of docs, rules for Prometheus
#   make up      the full stack in Docker Compose       make down   stop it
#   make stack   the same servers without Docker        make stack-down
#   make scale WORKERS=N                                make test-stack   tests of the full stack
#   make test-kube   the Helm chart, by Helm, Kubernetes' schemas and its API server
#   make test-images   the containers' images, built and run without an engine
#   make bench   how fast this machine is               make bench-peers  beside other servers
#   make bench-gpu EXTRA=gpu   a GPU under the service  make soak   30 minutes of load and kills
#   make bench-fleet   what many workers cost Redis     make bench-pages  how soon a page is of use
#   make bench-overload   more than it can do           make bench-idle   nothing to do
#   make train-own DATA=folder NAME=my-model   a model of your own: docs/training.md

PYTHON ?= python3
# Which extra of pyproject.toml: cpu or gpu. Their builds of ONNX Runtime are the same module, so each
# has its own environment and its own lock.
EXTRA ?= cpu
LOCKS := requirements/$(EXTRA).txt requirements/build.txt
VENV  := .venv$(if $(filter gpu,$(EXTRA)),-gpu)
BIN   := $(VENV)/bin
COVERAGE_FLOOR := 80

.DEFAULT_GOAL := help
.PHONY: help audit run shell install install-dev hooks wheel test fuzz coverage test-wheel test-locks test-stack test-kube test-images lint format generate lock soak train train-own clean up down stack stack-down scale \
  training-env bench bench-peers bench-gpu bench-fleet bench-pages bench-overload bench-idle

help:
	@sed -n 's/^#   //p' Makefile

run: install
	@$(BIN)/damoscope up

# In which README's commands work as they are written.
shell: install
	@echo "This shell has $(BIN) first on its PATH: try damoscope --help. exit leaves it."
	@PATH="$(abspath $(BIN)):$$PATH" VIRTUAL_ENV="$(abspath $(VENV))" "$${SHELL:-/bin/sh}"

install: $(VENV)/.installed

# Brought up to date whenever a lock changes.
$(VENV)/.installed: $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "damoscope needs Python 3.11 or newer; set PYTHON=python3.x" >&2; exit 2; }
	@rm -f $(VENV)/.installed $(VENV)/.installed-dev
	@$(PYTHON) deploy/install.py $(VENV) $(LOCKS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt
	@$(PYTHON) deploy/install.py $(VENV) requirements/dev.txt
	@touch $@

# ruff, codespell and import-linter before each commit.
hooks: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

wheel: install
	@rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir dist .

# In CI also with the share of the code that the tests reach, which must not fall below the floor.
COVERED := --cov --cov-report=term --cov-fail-under=$(COVERAGE_FLOOR)
# Three files of tests at a time: they mostly wait for what they start. In their order, so that those of a
# folder share its service. Hundreds of processes are started: each would compile our code again, were
# PYTHONDONTWRITEBYTECODE set.
TESTS_AT_ONCE := 3
test: $(VENV)/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder $(if $(CI),--durations=60) $(if $(CI)$(COVER),$(COVERED))

# 20,000 mutated images at a service of its own; FUZZ="--count 1000 --seed 7" for others.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.security.fuzz $(FUZZ)

coverage:
	@$(MAKE) --no-print-directory test COVER=yes

# Builds the wheel, installs it outside the checkout, and runs the service from there; with
# WHEEL_PYTHON=python3.13 under another Python.
test-wheel: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m wheel

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/hadolint deploy/docker/*Dockerfile

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Tables of docs, rules for Prometheus and others: run/generate/files.py lists them.
generate: install
	$(BIN)/python -m run.generate

# No index address may appear in a lock. All locks name the same versions: what one part
# runs was tested with the others.
LOCK_WITH = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
  --no-emit-find-links --no-strip-extras --python-version 3.11 --custom-compile-command "make lock"
LOCK_LIKE = $(LOCK_WITH) --constraint requirements/cpu.txt
lock: $(VENV)/.installed-dev
	$(LOCK_WITH) pyproject.toml --extra cpu -o requirements/cpu.txt
	for extra in gpu frontend worker-cpu worker-gpu eval; do \
	  $(LOCK_LIKE) pyproject.toml --extra $$extra -o requirements/$$extra.txt || exit; done
	for group in build dev audit kube; do \
	  $(LOCK_LIKE) --group $$group -o requirements/$$group.txt || exit; done

# Each lock for each Python and machine that it is meant for.
test-locks: $(VENV)/.installed-dev
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python deploy/check_locks.py

# Known vulnerabilities, licences, and an SBOM of each lock in dist/sbom. The first asks PyPI, or with
# AUDIT="--service osv" OSV: where it gets no answer it says so, and fails.
AUDIT_ENV := .venv-audit
audit: $(VENV)/.installed $(AUDIT_ENV)/.installed
	$(BIN)/python deploy/audit.py --tools $(AUDIT_ENV)/bin $(AUDIT)

$(AUDIT_ENV)/.installed: requirements/audit.txt
	@$(PYTHON) deploy/install.py $(AUDIT_ENV) requirements/audit.txt
	@touch $@

# A model of one's own: docs/training.md. START is what it begins from, a file or a model by its name, in place of the
# bundled one. OWN adds options, such as OWN="--epochs 100".
train-own: training-env install
	@test -n "$(DATA)" && test -n "$(NAME)" || { echo 'make train-own DATA=folder NAME=my-model [START=damoyolo-s] [OWN="--epochs 100"]' >&2; exit 2; }
	@start="$(START)"; \
	 if test -n "$$start" && ! test -f "$$start"; then start=$$($(BIN)/damoscope model info "$$start" --file) || exit 2; fi; \
	 $(TRAINING)/bin/python -m training.own --data "$(DATA)" --output "var/training/$(NAME)" --name "$(NAME)" $${start:+--start "$$start"} $(OWN)
	$(BIN)/damoscope model import "var/training/$(NAME)/model.onnx" --name "$(NAME)" --replace

# How the bundled model is made: hours on a CPU, minutes with DEVICE=cuda. PHOTOGRAPHS=FOLDER adds real
# photographs, TEACHER=FILE.param what a teacher sees on them.
TRAINING := .venv-training
train: training-env
	training/run.sh $(TRAINING)/bin/python "$(PHOTOGRAPHS)" "$(TEACHER)"

training-env:
	@$(TRAINING)/bin/python -c "import libreyolo, onnxruntime" 2>/dev/null || { \
	  echo "Installing into $(TRAINING) (minutes, 6 GB) ..."; \
	  $(PYTHON) -m venv $(TRAINING) && \
	  $(TRAINING)/bin/python -m pip install --require-hashes -r training/requirements.txt; }

# -- speed: docs/performance.md says what is measured, and how --------------------------------
# The models of random weights are exported in the training environment, once.
.cache/bench/stock-ns.onnx:
	@$(MAKE) --no-print-directory training-env
	$(TRAINING)/bin/python -W ignore -m benchmarks.throughput.stock_model ns $@

.cache/bench/stock-s-half.onnx:
	@$(MAKE) --no-print-directory training-env
	$(TRAINING)/bin/python -W ignore -m benchmarks.throughput.stock_model s $@ --half

# BENCH adds options, such as BENCH="--rounds 1 --sections lone".
bench: install .cache/bench/stock-ns.onnx
	$(BIN)/python -m benchmarks.throughput --rounds 3 --seconds 5 --images 2000 \
	  --results .cache/bench/short.json $(BENCH)

# Each peer in an environment of its own, in .cache/bench; then all, and docs/performance.md anew.
bench-peers: install .cache/bench/stock-ns.onnx
	$(BIN)/python -m benchmarks.throughput --peers all --install --output docs/performance.md $(BENCH)

bench-gpu: install .cache/bench/stock-s-half.onnx
	$(BIN)/python -m benchmarks.throughput.gpu --output docs/performance.md $(BENCH)

# What one to a thousand workers cost Redis; FLEET adds options, such as FLEET="--workers 1,10".
bench-fleet: install
	@mkdir -p .cache/bench
	$(BIN)/python -m benchmarks.fleet --output .cache/bench/fleet.json $(FLEET)

# More than workers of a known capacity can do; OVERLOAD adds options, such as OVERLOAD="--seconds 10".
bench-overload: install
	@mkdir -p .cache/bench
	$(BIN)/python -m benchmarks.overload --output .cache/bench/overload.json $(OVERLOAD)

# Nothing at all; IDLE adds options, such as IDLE="--stack --seconds 30".
bench-idle: install
	@mkdir -p .cache/bench
	$(BIN)/python -m benchmarks.idle --output .cache/bench/idle.json $(IDLE)

# First visits of the pages, in Chromium; PAGES adds options, such as PAGES="--rounds 3".
bench-pages: $(VENV)/.installed-dev
	@mkdir -p .cache/bench
	$(BIN)/python -m benchmarks.pages --output .cache/bench/pages.json $(PAGES)

# Half an hour under load, with kills; SOAK adds options, such as SOAK="--minutes 3".
soak: install
	@mkdir -p .cache/bench
	$(BIN)/python -m benchmarks.soak --output .cache/bench/soak.json $(SOAK)

clean:
	rm -rf .venv .venv-gpu build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

# -- the full stack: in containers (up, down), or the same servers on this machine (stack) -----
up:
	$(PYTHON) -m run.stack.dotenv
	docker compose build
	docker compose run --rm --no-deps frontend damoscope keys add owner --role admin --first
	docker compose up --detach --wait

down:
	docker compose down

stack: install
	$(BIN)/python -m run.stack up $(if $(WORKERS),--workers $(WORKERS))

stack-down:
	$(BIN)/python -m run.stack down

# Of the stack that runs on this machine, or else of the containers.
scale:
	@test -n "$(WORKERS)" || { echo "make scale WORKERS=N" >&2; exit 2; }
	@if test -e var/stack/state.json; then $(BIN)/python -m run.stack scale $(WORKERS); \
	 else docker compose up --detach --wait --wait-timeout 180 --no-recreate --scale worker=$(WORKERS) worker \
	   || { docker compose ps --all worker; docker compose logs --tail 5 worker; exit 1; }; fi

# The servers' programs are obtained first: without internet that is a build of minutes.
test-stack: $(VENV)/.installed-dev
	$(BIN)/python -m run.stack fetch
	$(BIN)/python -m pytest -m stack

# The Helm chart, rendered by Helm, checked by Kubernetes' schemas, and applied to a real API server. Helm, that
# server and its etcd are built from Go modules first, once (a quarter of an hour). docs/kubernetes.md has the last result.
KUBE_ENV := .venv-kube
test-kube: $(VENV)/.installed-dev $(KUBE_ENV)/.installed
	$(BIN)/python -m tests.kube.tools
	$(BIN)/python -m tests.kube.cluster
	$(BIN)/python -m pytest -m kube -v

# The Dockerfiles, built by buildah on a base that debootstrap makes, and what they make, started: as root on
# Debian, with both packages. The first time takes ten minutes. docs/full-stack.md has the last result.
test-images: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m images -v

$(KUBE_ENV)/.installed: requirements/kube.txt
	@$(PYTHON) deploy/install.py $(KUBE_ENV) requirements/kube.txt
	@touch $@
