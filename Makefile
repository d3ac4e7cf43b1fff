# make demo    the main job: demonstrations -> dataset -> training -> evaluation -> runs/demo/report.html; resumes where it stopped
# make test    the test-suite; TESTS="tests/data -k frames" for some of it
# make lint    ruff and mypy
# make venv    only install, into .venv (PYTHON=python3.12 chooses the interpreter)
# make clean   remove .venv, builds and caches; runs/ and datasets/ stay

.PHONY: demo test lint venv clean help FORCE
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS ?= dev,convert,ros,vision,vlm
DEMO_ARGS ?=
TESTS ?=
TEST_ARGS ?=
TWO := --numprocesses 2 --dist loadfile

# Another interpreter than the one .venv was made with means a new .venv.
ifdef PYTHON
ifneq ($(shell cat .venv/.python 2>/dev/null),$(PYTHON))
OTHER_PYTHON := FORCE
endif
endif

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(STAMP)
	@$(BIN)/robot-learning demo $(DEMO_ARGS)

# Two processes run the tests, first those that compute without pause, then those with whole graphs in real time. Nothing runs
# beside the tests that count how soon the robot holds.
test: $(STAMP)
ifneq ($(TESTS),)
	@$(BIN)/python -m pytest $(TESTS) $(TEST_ARGS)
else
	@failed=0; \
	$(BIN)/python -m pytest --ignore tests/nodes $(TWO) $(TEST_ARGS) || failed=1; \
	$(BIN)/python -m pytest tests/nodes -m "not alone" $(TWO) $(TEST_ARGS) || failed=1; \
	$(BIN)/python -m pytest tests/nodes -m alone $(TEST_ARGS) || failed=1; \
	exit $$failed
endif

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy robot_learning

venv: $(STAMP)

$(STAMP): setup.py setup.cfg pyproject.toml constraints.txt $(OTHER_PYTHON)
	@.ci/venv $(PYTHON)
	@echo "installing into .venv: about 1 GB with a CPU build of torch, 5 GB with a CUDA build"
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@# Python 3.13: see ogbench in setup.py
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || \
		$(BIN)/python -m pip install --disable-pip-version-check --no-deps -c constraints.txt ogbench
	@touch $(STAMP)

clean:
	rm -rf .venv build dist install log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
