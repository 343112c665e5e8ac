# Everything a developer runs. Needs make and Python 3.11 to 3.14; sets up .venv by itself, once
# for each lock file. Paths are relative, so that the folder's own path may hold spaces.
# For another Python: make clean, then make PYTHON=python3.13 ...

PYTHON ?= python3
RUNTIME ?= celery
FUZZ_SECONDS ?= 180

BIN := .venv/bin
LOG := .venv/setup.log
UV := $(BIN)/uv --system-certs
COMPILE := pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--python-version 3.11 --custom-compile-command "make lock"
# The locks, and what each holds. All but the first, and those of the environments .venv-sam,
# .clients and .venv-release, take their versions from it.
LOCKS := requirements.lock requirements-dev.lock requirements-build.lock requirements-image.lock \
	requirements-sam.lock requirements-clients.lock requirements-release.lock
requirements.lock := --all-extras --group setup pyproject.toml
requirements-dev.lock := --all-extras --group setup --group dev -c requirements.lock pyproject.toml
requirements-build.lock := --group build -c requirements.lock
requirements-image.lock := --extra local --extra cloud --extra openai --extra tracing --group flower \
	-c requirements.lock pyproject.toml
requirements-sam.lock := --group sam
requirements-clients.lock := --group clients
requirements-release.lock := --group release
# What is shipped: the image, and the bundles of the functions.
SHIPPED = requirements-image.lock $(wildcard cloud/requirements/*.lock)
# A bundle is installed for Lambda's Python, whatever machine it is made on.
FUNCTIONS := worker api reaper migrate
COMPILE_FUNCTION := pip compile --quiet --generate-hashes --no-emit-index-url \
	--python-version 3.13 --python-platform x86_64-manylinux_2_28 \
	--custom-compile-command "make lock"
# Most tests wait for processes: three share two processors well.
PARALLEL := -n 3 --dist loadgroup
TESTS := tests/unit tests/integration tests/architecture tests/contract tests/runtimes

export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo up parity docs test test-browser test-clients pictures test-docker fuzz money torture drill attacks check check-lock format lock audit sbom bench clean

help: ## Show the targets.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 20

# A prompt given as `make demo PROMPT=...` travels as it is, whatever characters it holds. A
# variable of that name in the environment is more likely the shell's own prompt.
ifeq ($(origin PROMPT),command line)
demo: export DARKROOM_PROMPT := $(value PROMPT)
else
unexport DARKROOM_PROMPT
endif
demo: .venv/.runtime ## Run one job and stop: RUNTIME=celery|lambda, PROMPT=...
	@exec $(BIN)/darkroom demo --runtime "$(RUNTIME)" $${DARKROOM_PROMPT+"--prompt=$$DARKROOM_PROMPT"}

# `exec` replaces the shell, so that a signal to make reaches the program.
up: .venv/.runtime ## Run until Ctrl-C: RUNTIME=celery|lambda, DARKROOM_DATA=folder.
	@exec $(BIN)/darkroom up --runtime "$(RUNTIME)"

parity: .venv/.runtime ## Run the same scenarios through both runtimes and compare.
	@exec $(BIN)/darkroom parity

test: .venv/.dev ## Run all tests.
	$(BIN)/python -m pytest $(PARALLEL) $(TESTS)

test-browser: .venv/.dev ## Run the tests of the web page: CHROMIUM=/usr/bin/chromium.
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/browser

test-clients: .venv/.dev .clients/.ready ## Run the tests of generated API clients: needs npm.
	$(BIN)/python -m pytest tests/clients

pictures: .venv/.dev ## Make the samples of the page and the screenshots of the README anew.
	$(BIN)/python -m tests.support.samples
	$(BIN)/python -m pytest -k "pictures_of_the_page and celery" tests/browser/test_appearance.py
	mkdir -p docs/images && cp artefacts/celery-page-light.png docs/images/page-light.png
	cp artefacts/celery-page-dark.png docs/images/page-dark.png

test-docker: .venv/.dev .venv-sam/.ready ## Run the tests on a Docker engine: COMPOSE="docker compose".
	$(BIN)/python -m pytest -n 3 --dist loadgroup tests/docker

fuzz: .venv/.dev ## Fuzz decoder, events, answers, forms, texts and the API, for FUZZ_SECONDS=180 each.
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -n 2 --timeout 0 tests/unit/test_fuzzing.py
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/contract/test_openapi.py

money: .venv/.dev ## Cut connections at every 64 bytes, end workers at every step, compare bills with the ledger.
	MONEY_STEP=64 $(BIN)/python -m pytest -rP -n 2 --dist worksteal tests/integration/test_money.py

torture: .venv/.dev ## Break everything at random and check every promise: MINUTES=30 SEED=1; or REDIS=5.
	$(BIN)/python -m tests.torture --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED)) $(if $(REDIS),--redis $(REDIS))

drill: .venv/.dev ## Receivers of webhooks misbehave, a provider is down, all is killed: JOBS=500 RUNTIME=lambda.
	$(BIN)/python -m tests.drills --jobs $(or $(JOBS),500) $(if $(filter-out file,$(origin RUNTIME)),--on $(RUNTIME))

attacks: .venv/.dev ## Attack both runtimes and print what that costs: SCALE=0.1 RUNTIME=lambda ONLY=streams.
	$(BIN)/python -m tests.attacks --scale $(or $(SCALE),1) $(if $(filter-out file,$(origin RUNTIME)),--on $(RUNTIME)) --only "$(ONLY)"

check: .venv/.dev check-lock ## Check format, style, types, imports and lock files.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check-lock: .venv/.dev
	@rm -rf .venv/lock && mkdir -p .venv/lock/cloud/requirements \
		&& cp $(LOCKS) .venv/lock && cp cloud/requirements/*.lock .venv/lock/cloud/requirements
	@$(foreach lock,$(LOCKS),$(UV) $(COMPILE) $($(lock)) -o .venv/lock/$(lock) >/dev/null && ) true
	@for name in $(FUNCTIONS); do $(UV) $(COMPILE_FUNCTION) --group "function-$$name" \
		-c requirements.lock -o ".venv/lock/cloud/requirements/$$name.lock" >/dev/null || exit 1; done
	@for lock in $(LOCKS) cloud/requirements/*.lock; do \
		cmp "$$lock" ".venv/lock/$$lock" || exit 1; done \
		|| { echo "lock files are not in step with pyproject.toml: make lock" >&2; exit 1; }

format: .venv/.dev ## Rewrite the code in the house format.
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: .venv/.dev ## Bring the lock files in step with pyproject.toml; UPGRADE=1 for new releases.
	$(foreach lock,$(LOCKS),$(UV) $(COMPILE) $(if $(UPGRADE),--upgrade) $($(lock)) -o $(lock) \
		>/dev/null && ) true
	for name in $(FUNCTIONS); do $(UV) $(COMPILE_FUNCTION) --group "function-$$name" \
		-c requirements.lock -o "cloud/requirements/$$name.lock" >/dev/null || exit 1; done

audit: .venv-release/.ready ## Look for known vulnerabilities in what is shipped: needs a package index.
	@for lock in $(SHIPPED); do echo "$$lock" && .venv-release/bin/pip-audit --progress-spinner off \
		--require-hashes --disable-pip -r "$$lock" || exit 1; done

sbom: .venv-release/.ready ## Write what the image holds to dist/darkroom.cdx.json (CycloneDX).
	@mkdir -p dist
	.venv-release/bin/cyclonedx-py requirements requirements-image.lock --pyproject pyproject.toml \
		--output-reproducible --output-file dist/darkroom.cdx.json

docs: .venv/.dev ## Write the generated parts of docs and docker-compose.yml; PARITY=1: all.
	PARITY="$(PARITY)" $(BIN)/python -m tests.support.generated

bench: .venv/.dev .venv-sam/.ready ## Measure speed.
	$(BIN)/python -m tests.performance

clean: ## Delete .venv and all caches.
	rm -rf .venv .venv-sam .venv-release .clients .aws-sam .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist

# The SAM CLI wants other versions of what we use, and so has an environment of its own.
.venv-sam/.ready: requirements-sam.lock | .venv/.dev
	@echo "setting up .venv-sam (once, up to a minute): the SAM CLI"
	@rm -rf .venv-sam && $(PYTHON) -m venv .venv-sam
	@$(UV) pip install --python .venv-sam --require-hashes -r $< >.venv-sam/setup.log 2>&1 \
		|| .venv-sam/bin/pip install --require-hashes -r $< >>.venv-sam/setup.log 2>&1 \
		|| { tail -n 5 .venv-sam/setup.log >&2; echo "set-up failed" >&2; exit 1; }
	@touch $@

.venv-release/.ready: requirements-release.lock | .venv/.dev
	@echo "setting up .venv-release (once): tools of a release"
	@rm -rf .venv-release && $(PYTHON) -m venv .venv-release
	@$(UV) pip install --python .venv-release --require-hashes -r $< >.venv-release/setup.log 2>&1 \
		|| .venv-release/bin/pip install --require-hashes -r $< >>.venv-release/setup.log 2>&1 \
		|| { tail -n 5 .venv-release/setup.log >&2; echo "set-up failed" >&2; exit 1; }
	@touch $@

# Generators of API clients, one in Python and two in TypeScript.
.clients/.ready: requirements-clients.lock tests/clients/package-lock.json | .venv/.dev
	@echo "setting up .clients (once, up to a minute): generators of API clients"
	@rm -rf .clients && $(PYTHON) -m venv .clients
	@cp tests/clients/package.json tests/clients/package-lock.json .clients
	@{ { $(UV) pip install --python .clients --require-hashes -r $< \
			|| .clients/bin/pip install --require-hashes -r $<; } \
		&& npm ci --prefix .clients --no-audit --no-fund; } >.clients/setup.log 2>&1 \
		|| { tail -n 5 .clients/setup.log >&2; echo "set-up failed" >&2; exit 1; }
	@touch $@

# Each stamp is written last, and an interrupted set-up starts over from an empty folder. uv
# comes from the lock by way of pip and is some four times as quick; where it finds no way out
# (it does not read pip's own configuration), pip goes on alone.
.venv/.runtime: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
		|| { echo "Python 3.11 to 3.14 is needed: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) lacks its venv module: install your system's python3-venv" >&2; exit 1; }
	@echo "setting up .venv (once, up to a minute): run-time packages"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@awk '/^uv==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.lock >.venv/uv.txt
	@{ $(BIN)/pip install --require-hashes -r .venv/uv.txt \
		&& $(UV) pip install --python .venv --require-hashes -r requirements.lock; } >$(LOG) 2>&1 \
		|| $(BIN)/pip install --require-hashes -r requirements.lock >>$(LOG) 2>&1 \
		|| { tail -n 5 $(LOG) >&2; echo "set-up failed; all of it: $(LOG)" >&2; exit 1; }
	@$(BIN)/pip install --no-deps --no-build-isolation --no-index -e . >>$(LOG) 2>&1 \
		|| { tail -n 5 $(LOG) >&2; echo "set-up failed; all of it: $(LOG)" >&2; exit 1; }
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	@echo "setting up .venv (once): development packages"
	@rm -f .venv/.runtime
	@$(UV) pip install --python .venv --require-hashes -r $< >>$(LOG) 2>&1 \
		|| $(BIN)/pip install --require-hashes -r $< >>$(LOG) 2>&1 \
		|| { tail -n 5 $(LOG) >&2; echo "set-up failed; all of it: $(LOG)" >&2; exit 1; }
	@touch .venv/.runtime $@
