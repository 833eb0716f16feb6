# Two commands do everything on a clean clone: `make demo` and `make test`.
# They need Python 3.11 or newer, g++, make and perl; the rest comes from PyPI into .venv.
# With several Pythons installed: make test PYTHON=python3.12
# Images that are not in the packages (MNIST) are looked for in the folder PYHW_DATA.

PYTHON ?= python3
JOBS   ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
DEPS   := pyproject.toml constraints.txt

ifdef PYHW_DATA
export PYHW_DATA := $(abspath $(PYHW_DATA))
endif

.PHONY: demo test check formal check-gpu proof mutants boards synth-all install clean distclean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo-installed
	$(BIN)/pyhw demo

test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

check: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/structure/test_imports.py

# The kernels for GPUs: on a GPU if there is one, else in Triton's interpreter.
check-gpu: $(VENV)/.dev-installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[gpu]'
	TRITON_INTERPRET=$$($(BIN)/python -c 'import torch; print(int(not torch.cuda.is_available()))') \
	  $(BIN)/python -m pytest -q -m triton $(PYTEST_ARGS)

# Every preset on both families, `large` included: hours on a small machine.
synth-all: $(VENV)/.dev-installed
	@for preset in tiny default large; do for family in ecp5 ice40; do \
	  echo "== $$preset on $$family" && \
	  $(BIN)/pyhw synth --preset $$preset --family $$family || exit 1; \
	done; done

# Properties of small blocks for every input, by an SMT solver: docs/formal.md.
formal: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -m formal tests/formal $(PYTEST_ARGS)

# Netlists of every family and a whole bitstream, turned back and simulated: docs/proof.md.
proof: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n 1 -m long $(PYTEST_ARGS)

# Faults planted in the gateware, 300 of them: hours; an interrupted run goes on. docs/proof.md.
mutants: $(VENV)/.dev-installed
	$(BIN)/python -m bench.mutants $(MUTANTS_ARGS)

# Bitstreams of whole accelerators: an hour and more; fails if one misses its clock.
boards: $(VENV)/.dev-installed
	$(BIN)/python -m bench.boards

install: $(VENV)/.dev-installed

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pyhw needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# A stamp is newer than what it was made from, or the packages are installed again.
$(VENV)/.demo-installed: $(DEPS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train,sim]'
	touch $@

$(VENV)/.dev-installed: $(DEPS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train,sim,fpga,onnx,board,dev]'
	touch $@ $(VENV)/.demo-installed

clean:
	rm -rf build pyhw_nn.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
