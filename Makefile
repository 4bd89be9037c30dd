# Requires GNU make and Python 3.11 or 3.12. All other programs are installed into .tools/ and .venv/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo dev test lint format bench jars chromium servers datacontract lock clean
MAKEFLAGS += --no-print-directory --no-builtin-rules

# Ray, Feast and Dagster start many processes, which start two to three times faster with compiled modules.
unexport PYTHONDONTWRITEBYTECODE
export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(VIRTUAL_ENV)/bin:$(PATH)
export UV_PYTHON_DOWNLOADS := never
export UV_HTTP_TIMEOUT ?= 300
# Without the system's certificates, uv fails behind a private certificate authority.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),)
export UV_SYSTEM_CERTS ?= 1
endif

UV_VERSION := 0.13.8
UV := .tools/uv/bin/uv
READY := .venv/.ready

# The first Python that starts and has a version for which the lock file was made.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null \
	&& command -v $$python && break; done)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Install uv, the locked packages and the goldpath command

demo: $(READY) ## Run the demo, from landed files to a served, traced prediction (ARGS="--days 60" for options)
	@goldpath demo $(ARGS)

dev: $(READY) ## Run Dagster, MLflow, Ray and the prediction service until Ctrl-C
	@goldpath dev $(ARGS)

test: $(READY) jars chromium servers datacontract ## Run all tests (ARGS="-m 'not slow'" for pytest's options, "--engine spark" to run all on Spark)
	@pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) ## Check format, lint rules, types, definitions and infrastructure files
	ruff format --check .
	ruff check .
	ty check --quiet
	python -m pipelines.commands.env_example --check
	python infra/validate.py
	python -c 'from pipelines.definitions import require_all_domains; require_all_domains()'
	@export DAGSTER_DISABLE_TELEMETRY=yes DAGSTER_HOME="$$(mktemp -d)"; trap 'rm -r "$$DAGSTER_HOME"' EXIT; \
	echo 'telemetry: {enabled: false}' > "$$DAGSTER_HOME/dagster.yaml"; \
	echo 'dagster definitions validate -w workspace.yaml'; \
	dagster definitions validate --log-level warning -w workspace.yaml && \
	echo 'dg check defs' && dg check defs --log-level warning

format: $(READY) ## Format the code, and fix what the linter can fix
	ruff format .
	ruff check --fix .

bench: $(READY) ## Measure the platform against other programs in the same run
	@python -m bench $(ARGS)

jars: $(READY) ## Download the two JARs of the spark engine (10 MB)
	@goldpath jars

chromium: # Installs Chromium and its driver for the browser tests, or prints how to.
	@if { command -v chromium || command -v google-chrome; } >/dev/null && command -v chromedriver >/dev/null; then :; \
	elif ! command -v apt-get >/dev/null; then \
		echo 'No Chromium with chromedriver: install both for the browser tests.'; \
	elif [ "$$(id -u)" = 0 ]; then \
		apt-get -qq update && apt-get -qq install --no-install-recommends --yes chromium chromium-driver; \
	elif sudo -n true 2>/dev/null; then \
		sudo apt-get -qq update && sudo apt-get -qq install --no-install-recommends --yes chromium chromium-driver; \
	else \
		echo 'No Chromium with chromedriver: sudo apt-get install chromium chromium-driver (browser tests only).'; \
	fi

servers: $(READY) # Installs Kafka, an S3 server, Redis and PostgreSQL for the tests that use them.
	@sh tests/servers/install.sh
	@python -m tests.servers

datacontract: .tools/datacontract/bin/datacontract # Installs datacontract-cli, which has to accept what we export, apart from our packages.

.tools/datacontract/bin/datacontract: $(UV)
	@$(UV) venv --quiet --python '$(PYTHON)' .tools/datacontract
	@VIRTUAL_ENV=.tools/datacontract $(UV) pip install --quiet datacontract-cli==1.2.8

lock: $(UV) ## Resolve requirements.lock again from pyproject.toml
	$(UV) pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --group dev \
		pyproject.toml -o requirements.lock

clean: ## Remove .venv, .tools and caches; your data in .goldpath stays
	rm -rf .venv .tools .ruff_cache .pytest_cache .hypothesis .mypy_cache
	find . -name __pycache__ -type d -not -path './.goldpath/*' -prune -exec rm -rf {} +

$(READY): $(UV) requirements.lock pyproject.toml
	@[ -x .venv/bin/python ] || { \
		echo 'Installing packages into .venv: about 3 GB to download once, most of it PyTorch with CUDA; 9 GB on disk with the cache.'; \
		$(UV) venv --quiet --python '$(PYTHON)' .venv; }
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

$(UV):
	@[ -n '$(PYTHON)' ] || { echo 'No Python 3.11 or 3.12 on the PATH: install one, or name it: make PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'Installing uv $(UV_VERSION) into .tools: 25 MB to download.'
	@rm -rf .tools/uv
	@'$(PYTHON)' -m venv .tools/uv 2>/dev/null && .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
	|| { rm -rf .tools/uv; '$(PYTHON)' -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools/uv uv==$(UV_VERSION); } \
	|| { rm -rf .tools/uv; echo 'No pip in $(PYTHON): install python3-venv or python3-pip.'; exit 1; }
