# Every target first names what this machine lacks, then makes .venv ready (scripts/setup), then does its job.
# No target needs another one first.

BIN := .venv/bin
CARGO := PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo

EXAMPLES := marriage_verification income_validation joint_customers joint_credit_model joint_credit_boosting emission_boosting

.DEFAULT_GOAL := help
.PHONY: help demo demo-all test test-portable bench lint format wheel proto lock setup clean

help: ## this list
	@echo "make TARGET   (PYTHON=… chooses the interpreter, SUITE=… the suite of the demo)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## marriage verification, income validation, a joint credit model, over real nodes: three minutes; build/demo/*.json
	@$(BIN)/python -m examples.marriage_verification $(if $(SUITE),--suite $(SUITE))
	@$(BIN)/python -m examples.income_validation $(if $(SUITE),--suite $(SUITE)) --report build/demo/income.json
	@$(BIN)/python -m examples.joint_credit_model $(if $(SUITE),--suite $(SUITE)) --report build/demo/credit.json

# The credit models have their larger form where somebody has put the data of the 30,000 card clients beside this directory.
CARDS ?= $(wildcard ../shared/data/uci_credit_card.csv)

demo-all: setup ## every example, one after the other, the credit models with CARDS=FILE of the UCI card clients if there is one
	@set -e; for example in $(EXAMPLES); do echo "== $$example"; $(BIN)/python -m examples.$$example $(if $(SUITE),--suite $(SUITE)); done
	@$(if $(CARDS),$(BIN)/python -m examples.joint_credit_model --data $(CARDS) --out build/credit-cards $(if $(SUITE),--suite $(SUITE)),:)
	@$(if $(CARDS),$(BIN)/python -m examples.joint_credit_boosting --data $(CARDS) --out build/boosting-cards $(if $(SUITE),--suite $(SUITE)),:)

# A worker process for each core, four at most. A file's tests stay in one worker, since they may share what takes long to start;
# files are taken as they are named, the end-to-end ones first: the slowest must not be the last. PYTEST_ARGS="-n 0" uses one process.
PARALLEL = -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup ## the whole test-suite: Rust, then Python; under ten minutes on two cores
	@cd native && $(CARGO) test --quiet --locked --no-default-features
	@$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

# The paths for processors without AES or AVX2, which a machine that has both would never take by itself.
PORTABLE = --cfg curve25519_dalek_backend="serial" --cfg aes_backend="soft" --cfg sha2_backend="soft" --cfg polyval_backend="soft" --cfg sm2_backend="soft" --cfg ring_backend="soft"

test-portable: setup ## the native core's tests on its portable paths
	@cd native && RUSTFLAGS='$(PORTABLE)' $(CARGO) test --quiet --locked --no-default-features --target-dir target/portable

bench: setup ## kernel benchmarks; `.venv/bin/python -m benchmarks` has the two-process ones
	@$(BIN)/python -m pytest benchmarks --benchmark-only $(PYTEST_ARGS)

lint: ## ruff, mypy, layers, clippy, rustfmt: everything that must be clean before a commit
	@scripts/setup clippy fmt
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@cd native && cargo fmt --check
	@cd native && $(CARGO) clippy --quiet --locked --all-targets -- -D warnings
	@cd native && $(CARGO) clippy --quiet --locked --all-targets --no-default-features -- -D warnings
	@$(BIN)/python native/third_party.py --check

format: ## rewrite Python and Rust into the one layout
	@scripts/setup fmt
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
	@cd native && cargo fmt

# Panic messages carry source paths: a wheel must not carry those of its builder.
REMAP = --remap-path-prefix=$(CURDIR)=/unseen --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

wheel: setup ## dist/*.whl, which installs and runs without Rust
	@rm -rf dist
	@RUSTFLAGS="$$RUSTFLAGS $(REMAP)" $(BIN)/maturin build --release --locked --quiet --interpreter $(BIN)/python --out dist \
		>build/wheel.log 2>&1 || { cat build/wheel.log >&2; exit 1; }
	@ls dist/*.whl

proto: setup ## regenerate mpc/wire/ from proto/
	@$(BIN)/python proto/generate.py

# uv resolves for all supported Pythons at once, which pip cannot. It lives outside .venv: nothing but this target needs it.
# It does not read pip's configuration, so the user's index is handed to it; none is written to the locks.
UV_COMPILE = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$(build/uv/bin/pip config get global.index-url 2>/dev/null || echo "$$PIP_INDEX_URL")}" \
	build/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --only-binary :all: --no-emit-index-url --custom-compile-command "make lock" pyproject.toml

lock: ## newest dependencies into requirements*.lock
	@$(or $(PYTHON),python3) -m venv build/uv && build/uv/bin/python -m pip --quiet install uv
	@$(UV_COMPILE) --output-file requirements.lock
	@$(UV_COMPILE) --extra dev --extra examples --extra export --extra learning --extra report --constraints requirements.lock --output-file requirements-dev.lock

setup:
	@scripts/setup

clean: ## remove .venv and everything built
	@rm -rf .venv build dist native/target mpc/_native*.so .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find mpc protocols unseen tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
