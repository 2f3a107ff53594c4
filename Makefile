# What people and CI run. `make` alone lists the targets.

# Where test servers and cargo-deny are built once; ignored by git. Several checkouts may share one folder.
export ATMOS_E2E_TOOLS ?= $(CURDIR)/.tools
CARGO_DENY_VERSION := 0.20.2

# Where cargo puts programs; cargo is asked when the first recipe needs it.
programs = $(shell cargo metadata --no-deps --format-version 1 | \
	python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug

# Most tests wait for a server more than they compute.
export RUST_TEST_THREADS ?= $(shell n=$$(nproc); echo $$((n < 5 ? n * 2 + 1 : n)))

# What a control plane and SOPS files need: the demo and the benchmark do without Helm, Vault and moto.
cluster_tools := etcd kube-apiserver kube-controller-manager kubectl sops

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Show the operator at work on a local control plane, or with DEMO_CONTEXT=current in yours
	@"$(programs)/e2e" tools $(cluster_tools) >/dev/null
	@"$(programs)/e2e" demo --programs "$(programs)" $(DEMO_ARGUMENTS)

# Tools come between, from the same build as the tests: with `cargo run --package` most crates would be built twice,
# because a selection of other packages asks for other features.
.PHONY: test
test: ## Run every test, against real servers where there are any
	cargo test --workspace --no-run
	@"$(programs)/e2e" tools >/dev/null
	cargo test --workspace

.PHONY: lint
lint: cargo-deny ## Check formatting, lints, documentation, dependencies and licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --document-private-items
	PATH="$$ATMOS_E2E_TOOLS/cargo-deny/bin:$$PATH" cargo deny --workspace check --hide-inclusion-graph bans licenses sources

.PHONY: build
build: ## Build the operator, the plugin and what runs the demo
	cargo build --workspace --bins

.PHONY: tools
tools: build ## Build the pinned test servers, once
	@"$(programs)/e2e" tools >/dev/null

.PHONY: bench
bench: build ## Measure the operator against the API server's own write floor (about 20 minutes)
	@"$(programs)/e2e" tools $(cluster_tools) >/dev/null
	cargo build --release --package atmos-secrets-operator --package sops-bench \
		--bin atmos-secrets-operator --bin sops-bench
	"$(programs)/e2e" bench $(BENCH_ARGUMENTS)

# What cargo-fuzz would pass, without its sanitizers, which alone need a nightly compiler. Programs of the build itself are
# left out, which takes a --target.
coverage := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares

.PHONY: fuzz
fuzz: TARGET ?= yaml
fuzz: SECONDS ?= 60
fuzz: ## Fuzz a part of the SOPS format, guided by coverage; TARGET=yaml, json, dotenv, ini, binary, metadata, creation_rules; SECONDS=60
	@host="$$(rustc --version --verbose | sed -n 's/^host: //p')"; \
	RUSTFLAGS="$(coverage)" cargo build --package atmos-secrets-fuzz --bin "fuzz_$(TARGET)" --profile fuzz \
		--target "$$host" --target-dir target/fuzz; \
	mkdir --parents "fuzz/corpus/$(TARGET)" "fuzz/artifacts/$(TARGET)"; \
	"target/fuzz/$$host/fuzz/fuzz_$(TARGET)" -max_total_time="$(SECONDS)" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix="fuzz/artifacts/$(TARGET)/" -dict=fuzz/pieces.dict \
		"fuzz/corpus/$(TARGET)" $(wildcard $(programs)/../tmp/seeds/$(TARGET))

.PHONY: crds
crds: ## Write crds/ and the chart's copies from the Rust types
	UPDATE_GENERATED=1 cargo test --quiet --test generated -- crds:: chart::definitions

.PHONY: docs
docs: ## Write docs/reference/ from the Rust types and the chart's values
	UPDATE_GENERATED=1 cargo test --quiet --test generated -- reference:: chart::values

.PHONY: chart
chart: ## Write what the chart renders: the snapshots of its tests and examples/install/
	UPDATE_GENERATED=1 cargo test --quiet --test chart render::

.PHONY: reproducible
reproducible: ## Build the release twice, in folders of different names, and compare (about 20 minutes)
	.ci/reproducible

.PHONY: sbom
sbom: TARGET ?= x86_64-unknown-linux-gnu
sbom: build ## Print what the release is made of, as SPDX; TARGET=… for another system than Linux on amd64
	@"$(programs)/e2e" sbom --target "$(TARGET)" --created "$$(git log -1 --format=%cI)"

.PHONY: release-notes
release-notes: build ## Print what the changelog says of VERSION=…
	@"$(programs)/e2e" release-notes "$(VERSION)"

.PHONY: cargo-deny
cargo-deny:
	@PATH="$$ATMOS_E2E_TOOLS/cargo-deny/bin:$$PATH"; \
	if ! command -v cargo-deny >/dev/null; then \
		echo "building cargo-deny $(CARGO_DENY_VERSION) (about 4 minutes, once)…" >&2; \
		cargo install --quiet --locked cargo-deny --version $(CARGO_DENY_VERSION) --root "$$ATMOS_E2E_TOOLS/cargo-deny"; \
	fi
