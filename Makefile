# All that these targets install lives in .venv, which they make themselves.

# Which Python makes .venv: make install PYTHON=python3.12
PYTHON ?= python3

# For `make serve`, on the command line only: in the environment HOST is often the machine's name.
# Where they are not given, the service's own POLYGRAIN_HOST, _PORT and _BUNDLE or defaults hold.
HOST =
PORT =
BUNDLE =
# For `make bench`.
DATA =
# For `make image`: cpu or gpu; what builds, else the first that answers; and, where packages come
# through an index of your own, a pip.conf and the certificate that it names.
TARGET = cpu
ENGINE =
PIP_CONF =
CA =
# More options for `make image` and `make lock`.
IMAGE_FLAGS =
LOCK_FLAGS =

BIN := .venv/bin
GOAL = $(or $(firstword $(MAKECMDGOALS)),install)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install serve test fix bench image lock data venv dev

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z]+: .*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: venv ## make .venv with what serving needs
	@$(call pip_install,serving,cpu,what serving needs)

serve: install ## install, then start the service (HOST=127.0.0.1 PORT=8080 BUNDLE=FOLDER)
	@exec $(BIN)/polygrain serve \
	  $(if $(HOST),--host '$(HOST)') $(if $(PORT),--port '$(PORT)') $(if $(BUNDLE),--bundle '$(BUNDLE)')

test: dev ## install the rest, then check format, lint, types, imports and behaviour
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

fix: dev ## format the code and repair what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: data dev ## run the benchmarks, some of them over a folder of corpora (DATA=FOLDER)
	$(BIN)/python -m benchmarks.adapters
	$(BIN)/python -m benchmarks.router --data '$(DATA)'

image: ## build the image localhost/polygrain:TARGET (TARGET=cpu ENGINE=docker)
	@TARGET='$(TARGET)' ENGINE='$(ENGINE)' PIP_CONF='$(PIP_CONF)' CA='$(CA)' sh deploy/build-image $(IMAGE_FLAGS)

lock: dev ## pin what the images install, with hashes (LOCK_FLAGS=--upgrade for newer releases)
	@for extra in cpu gpu; do $(call pin,pyproject.toml --extra $$extra,$$extra) || exit 1; done
	@$(call pin,deploy/locks/build.in,build)

data:
	@[ -d '$(DATA)' ] || { \
	  echo 'make bench: needs the folder of the corpora, which are no part of this repository: make bench DATA=FOLDER' >&2; \
	  exit 1; }

dev: venv
	@$(call pip_install,testing,cpu$(,)training$(,)dev,what testing and training need)

# A .venv that was interrupted while being made or filled, that cannot run, or that was moved here
# with its scripts pointing elsewhere, is made again; a healthy one is kept.
venv:
	@here=$$(pwd -P); \
	if [ -e .venv/incomplete ] || [ "$$(cat .venv/made-in 2>/dev/null || echo "$$here")" != "$$here" ] \
	    || ! $(BIN)/python -c '$(USABLE)' >/dev/null 2>&1; then \
	  say() { echo "make $(GOAL): $$1" >&2; exit 1; }; \
	  again='make $(GOAL) PYTHON=/path/to/python'; \
	  command -v '$(PYTHON)' >/dev/null 2>&1 \
	    || say "no program $(PYTHON) here; install Python 3.11 or newer, or name one: $$again"; \
	  version=$$('$(PYTHON)' -c '$(VERSION)' 2>/dev/null) \
	    || say "$(PYTHON) does not run; install Python 3.11 or newer, or name one: $$again"; \
	  '$(PYTHON)' -c '$(NEW_ENOUGH)' \
	    || say "$(PYTHON) is Python $$version; name one that is 3.11 or newer: $$again"; \
	  '$(PYTHON)' -c 'import ensurepip, venv' >/dev/null 2>&1 \
	    || say "$(PYTHON) has no venv and ensurepip modules; install them (on Debian and Ubuntu the package python$$version-venv)"; \
	  rm -rf .venv && mkdir .venv && touch .venv/incomplete \
	    && '$(PYTHON)' -m venv .venv && echo "$$here" > .venv/made-in && rm .venv/incomplete \
	    || say "$(PYTHON) could not make .venv; the reason stands above"; \
	fi

# $(call pin,REQUIREMENTS,NAME): uv reads no configuration of pip's, so that what it writes is PyPI's.
# The image is Debian bookworm's: Python 3.11 on glibc 2.36, x86-64.
define pin
$(BIN)/uv pip compile $(1) --quiet --no-config --default-index https://pypi.org/simple \
  --generate-hashes --constraint deploy/locks/constraints.txt \
  --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
  --custom-compile-command 'make lock' --output-file deploy/locks/$(2).txt $(LOCK_FLAGS)
endef

VERSION := import sys; print("%d.%d" % sys.version_info[:2])
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
USABLE := import os, pip, sys; \
  sys.exit(sys.version_info < (3, 11) or not os.path.samefile(sys.prefix, ".venv"))

# $(call pip_install,STAMP,EXTRAS,WHAT IN WORDS): nothing where the stamp says it is done already.
# The stamp holds what decides, a checksum of pyproject.toml. What testing needs includes all that
# serving needs.
define pip_install
key=$$(cksum < pyproject.toml); \
for stamp in '$(1)' testing; do \
  if [ "$$(cat ".venv/$$stamp.stamp" 2>/dev/null)" = "$$key" ]; then exit 0; fi; \
done; \
echo 'Installing $(3) into .venv ...'; \
touch .venv/incomplete; \
$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[$(2)]'; status=$$?; \
rm .venv/incomplete; \
if [ $$status -ne 0 ]; then \
  echo 'make $(GOAL): pip could not install $(3), for the reason above; check the network and the package index, then run make $(GOAL) again' >&2; \
  exit 1; \
fi; \
echo "$$key" > '.venv/$(1).stamp'
endef

, := ,
