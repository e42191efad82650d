# Needs git, make and Python 3.11 or newer with venv; nothing else. `make` alone lists the commands.
#
# Strategy: two stamps in .venv remember what is installed, and both depend on pyproject.toml, so that set-up
# happens once and again only when the requirements change. `lab` and `demo` install what users need; `test`,
# `check` and the other developer's commands add the dev group. Whoever has the second has the first.

PY ?= python3
VENV := .venv
MIN := .venv-min
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST := $(BIN)/python -m pytest
# The tests that mostly wait for processes of their own.
PROCESSES := tests/browser tests/foreign tests/server/test_process.py tests/test_cli.py tests/test_lab.py \
    tests/test_lessons_tool.py tests/test_workers.py
# The three parts of the tests; beside .venv's stamps what each printed, and a mark for each that failed.
PART_here := tests $(addprefix --ignore=,$(PROCESSES) tests/lessons tests/release)
PART_beside := $(PROCESSES)
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=60 --nbval-sanitize-with tests/nbval.cfg
PART_lessons := $(NBVAL) notebooks tests/lessons
PRINTED := $(VENV)/.printed-
FAILED := $(VENV)/.failed-
# How a part runs once more: only what failed, but a lesson whole, for its cells need those above them.
AGAIN_here := $(PART_here) --last-failed --last-failed-no-failures=none
AGAIN_beside := $(PART_beside) --last-failed --last-failed-no-failures=none
AGAIN_lessons = $(NBVAL) $$($(BIN)/python -c 'import json; print(*{name.split("::")[0] \
    for name in json.load(open(".pytest_cache/lessons/v/cache/lastfailed"))})')
# The scripts among the files there; the others are what they share.
BENCHMARKS := $(sort $(shell grep -l __main__ benchmarks/*.py 2>/dev/null))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab solutions demo test test-here test-beside test-lessons check format docs foreign test-min bench dist release-check clean venv

help:  ## list the commands
	@echo "bedrock-nb. The first command sets everything up in $(VENV), once, in about a minute."
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-18s%s\n", $$1, $$2 }'
	@echo
	@echo "PY=python3.12 chooses another Python; \`rm -rf $(VENV)\` starts afresh."

lab: $(VENV)/.stamp-lab  ## open JupyterLab on the lessons, with the embedded Bedrock
	@echo "==> JupyterLab on notebooks/ (Ctrl-C ends it)"
	@$(BIN)/bedrock-nb lab

solutions: $(VENV)/.stamp-lab  ## make the solutions of all exercises in solutions/, run and graded
	@echo "==> solutions, a notebook for each lesson"
	@$(BIN)/bedrock-nb lessons solutions notebooks --into solutions

demo: $(VENV)/.stamp-lab  ## stream one prompt in the terminal: the text, its timing table, demo.png
	@echo "==> one prompt to the embedded Bedrock, its timings, its anatomy in demo.png"
	@$(BIN)/bedrock-nb stream "Tell me about rainbows" --table --plot demo.png

# Three parts at the same time, for each waits a good part of its life: `test-here` is what this process tests,
# and prints as it goes; `test-beside` is what has processes of its own (JupyterLab and a browser, the clients of
# others) and `test-lessons` runs the lessons' kernels; what these two print follows at the end. Each part runs
# even if another failed: one run shows everything that is wrong, under one exit status. It is xargs that starts
# them, because what the shell starts with `&` is deaf to Ctrl-C, which some tests press.
# What failed then runs once more, alone, and has to pass: three parts on two cores can starve a test that waits
# for another process. The first failure stays in what was printed, and is to be mended all the same.
test: $(VENV)/.stamp-dev  ## run the tests, and every lesson against its saved outputs
	@rm -f $(FAILED)* $(PRINTED)*
	@printf 'test-%s\n' here beside lessons | xargs -n 1 -P 3 $(MAKE) --no-print-directory; status=$$?; \
	cat $(PRINTED)*; \
	if ls $(FAILED)* >/dev/null 2>&1; then \
	    $(MAKE) --no-print-directory -k again-here again-beside again-lessons; status=$$?; \
	fi; \
	exit $$status

test-here: $(VENV)/.stamp-dev
	@echo "==> tests (at the same time, shown afterwards: browser, clients of others, command line; lessons)"
	@$(call pytest,here)

test-beside: $(VENV)/.stamp-dev
	@{ echo "==> tests with a browser, with clients of others, of the command line"; \
	$(call pytest,beside); } >$(PRINTED)beside 2>&1

test-lessons: $(VENV)/.stamp-dev
	@{ echo "==> lessons, run and compared with their saved outputs; their solutions, run and graded"; \
	$(call pytest,lessons); } >$(PRINTED)lessons 2>&1

# Each part of the tests has a cache of its own, which remembers what failed in it.
pytest = $(PYTEST) -o cache_dir=.pytest_cache/$(1) $(PART_$(1)) || { status=$$?; touch $(FAILED)$(1); (exit $$status); }

again-%:
	@[ ! -e $(FAILED)$* ] || { \
	    echo "==> once more, alone: what failed of the part \"$*\""; \
	    $(PYTEST) -o cache_dir=.pytest_cache/$* $(AGAIN_$*); }

check: $(VENV)/.stamp-dev  ## lint, format, types and layers, changing nothing
	@status=0; \
	echo "==> ruff check"; $(BIN)/ruff check || status=1; \
	echo "==> ruff format --check"; $(BIN)/ruff format --check || status=1; \
	echo "==> mypy --strict"; $(BIN)/mypy --strict || status=1; \
	echo "==> lint-imports"; $(BIN)/lint-imports --no-logo || status=1; \
	exit $$status

format: $(VENV)/.stamp-dev  ## format the code and mend what ruff can mend
	@echo "==> ruff check --fix, ruff format"
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

# Warnings are errors. Nothing is fetched: it builds without a network.
docs: $(VENV)/.stamp-dev  ## build the site of the documentation into docs/_build/html
	@echo "==> docs/_build/html/index.html (about a minute at first, then what has changed)"
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -d docs/_build/doctrees docs docs/_build/html

foreign: $(VENV)/.stamp-dev  ## install the clients of others that the tests run against the embedded server
	@tests/foreign/setup

# Warnings stay warnings here: that an old library warns is no fault of ours; that it fails would be.
test-min: $(MIN)/.stamp  ## run the tests with the lowest versions that pyproject.toml allows
	@echo "==> tests, with the lowest versions in $(MIN)"
	@$(MIN)/bin/python -m pytest -W default tests --ignore=tests/release

bench: $(VENV)/.stamp-dev  ## measure speed and memory against plain boto3
	@[ -n "$(BENCHMARKS)" ] || echo "==> there is no script in benchmarks/"
	@status=0; for script in $(BENCHMARKS); do \
	    echo "==> $$script"; PYTHONPATH=. $(BIN)/python "$$script" || status=1; \
	done; exit $$status

dist: $(VENV)/.stamp-dev  ## build the wheel and the sdist into dist/
	@rm -rf dist
	@UV_SYSTEM_CERTS=1 $(BIN)/uv build --quiet
	@ls -l dist

# No part of `make test`: it builds, and installs everything once for each Python.
release-check: $(VENV)/.stamp-dev  ## build the wheel, and try it in a clean environment of each Python there is
	@echo "==> wheel and sdist, looked into; then what a new user does, on each Python"
	@$(PYTEST) -o cache_dir=.pytest_cache/release tests/release

clean:  ## remove caches and what the commands wrote; keep .venv
	@echo "==> removing caches, build output, the built site, demo.png and $(MIN)"
	@rm -rf $(MIN) build dist docs/_build docs/lessons docs/project demo.png htmlcov .coverage .benchmarks .hypothesis .import_linter_cache \
	    .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./$(VENV) -prune -o -path ./.git -prune -o -type d \
	    \( -name __pycache__ -o -name .ipynb_checkpoints -o -name '*.egg-info' \) -prune -exec rm -rf {} +

# --- set-up ------------------------------------------------------------------------------------------------

# An environment that works is used as it is, whoever made it; one whose Python has gone is made anew.
# The pip that comes with Python 3.11 to 3.13 is too old for `--group`.
venv:
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    command -v $(PY) >/dev/null || { \
	        echo "There is no $(PY). Needs Python 3.11 or newer: install it, or name yours: make PY=/path/to/python"; \
	        exit 1; }; \
	    $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	        echo "$(PY) is $$($(PY) -V 2>&1). Needs Python 3.11 or newer: make PY=python3.11, for instance."; \
	        exit 1; }; \
	    $(PY) -c 'import ensurepip, venv' 2>/dev/null || { \
	        echo "$(PY) has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; \
	        exit 1; }; \
	    echo "==> making $(VENV) with $$($(PY) -V 2>&1)"; \
	    $(PY) -m venv --clear $(VENV); }
	@$(PIP) install -qq --upgrade 'pip>=25.1'

$(VENV)/.stamp-lab: pyproject.toml
	@$(MAKE) --no-print-directory venv
	@echo "==> installing bedrock-nb and JupyterLab into $(VENV) (once; about a minute)"
	@$(PIP) install -qq --editable '.[lab]'
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml
	@$(MAKE) --no-print-directory venv
	@echo "==> installing bedrock-nb, JupyterLab and the developer's tools into $(VENV) (once; about a minute)"
	@$(PIP) install -qq --editable '.[lab]' --group dev
	@touch $(VENV)/.stamp-lab $@

# pip cannot resolve to the lowest versions; uv can, and comes with the dev group. Like pip, it is to trust the
# certificates that the machine trusts.
$(MIN)/.stamp: pyproject.toml | $(VENV)/.stamp-dev
	@echo "==> installing the lowest versions that pyproject.toml allows into $(MIN) (once; about a minute)"
	@$(BIN)/python -m venv --clear --without-pip $(MIN)
	@UV_SYSTEM_CERTS=1 $(BIN)/uv pip install --quiet --python $(MIN)/bin/python --resolution lowest-direct \
	    --editable '.[lab]' --group dev
	@touch $@
