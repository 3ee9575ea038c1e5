# Every target sets up what it needs in .venv, and does nothing twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
S3 := .venv-s3/.ready
PEERS := .venv-peers/.ready

.PHONY: setup demo test test-slow lint docs bench bench-peers clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# Not compiled: Python compiles what it runs when it first runs it, and most is never run. That is half of the time.
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/dfd-ray demo --run runs/demo

test: $(READY)
	$(BIN)/python .ci/quick_tests.py

test-slow: $(READY) $(S3)
	$(BIN)/python -m pytest -m slow

# An S3 server for the tests, apart: it wants an older python-dateutil than what the tests run with. They are skipped without it.
$(S3):
	@$(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --disable-pip-version-check 'moto[server]>=5,<6' && touch $@ \
		|| echo "no S3 server could be installed: the tests that need one are skipped"

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python docs/reference/generate.py --check
	$(BIN)/zensical build --strict
	$(BIN)/python .ci/audit.py

docs: $(READY)
	$(BIN)/python docs/reference/generate.py
	$(BIN)/zensical build --strict

bench: $(READY)
	$(BIN)/python -m benchmarks

# Face detectors that ours is measured beside; TensorFlow alone is 2 GB.
bench-peers: $(PEERS)

$(PEERS):
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
		dlib-bin face_recognition_models 'setuptools<81' mtcnn tensorflow-cpu 'opencv-python-headless<5'
	@touch $@

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache
