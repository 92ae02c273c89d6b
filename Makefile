# Every target sets up `.venv` first, once; see CONTRIBUTING.md.

PYTHON ?= python3
EXTRAS ?= dev
BIN := .venv/bin
READY := .venv/ready
RUN := runs/quickstart
SITE := build/site

export MPLBACKEND := Agg

.PHONY: demo test lint format docs clean

demo: $(READY)
	$(BIN)/python meta_train.py --config=configs/quickstart.py --workdir=$(RUN)
	$(BIN)/python -m lopt.compare --optimizer=$(RUN)/optimizer.safetensors --workdir=$(RUN)/report

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every warning is an error, such as a public name that no page documents.
docs: .venv/docs
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs $(SITE)
	@echo "$(SITE)/index.html"

.venv/docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

# `ready` holds the extras that are installed; others are as a change of setup.cfg.
ifneq ($(EXTRAS),$(shell cat $(READY) 2>/dev/null))
.PHONY: $(READY)
endif

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@echo "$(EXTRAS)" > $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache .jax_cache
