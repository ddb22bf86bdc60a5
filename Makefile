# The front door. Logic lives in cargo and in the tests; a verb here is a few words for a command.
# TEST_FLAGS reaches every `cargo test`, for example TEST_FLAGS=--no-fail-fast.

.DEFAULT_GOAL := help
.PHONY: help check test test-store test-nix test-api test-cluster test-all generate manifests image cluster torture-quick torture fuzz bench bench-cluster release

# Runs of the prune model for each protocol; `make test` plays 60.
QUICK_RUNS := 500
TORTURE_RUNS := 10000

# How long `make fuzz` feeds each parser, and what makes the compiler count what is reached.
FUZZ_SECONDS := 60
COVERAGE := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing

# This machine, as the compiler names it.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

# Nodes of `make cluster`.
NODES := 1

# What `make manifests` renders, and where to.
SETTINGS := nix/templates/flux/trysail.nix
TO := target/manifests
FLAKE := nix --extra-experimental-features 'nix-command flakes'

TEST := cargo test $(TEST_FLAGS)
# Tests by name, of all packages: another set of packages would have other features, and build half of the dependencies again.
NAMED := $(TEST) --workspace --features

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r verb words; do printf '%-14s %s\n' "$$verb" "$$words"; done

# The tidy test also checks the direction of dependencies, the licences and sources of all libraries, unused dependencies, and
# that FORMAT.md was read again after a change of what is stored. It needs no further tool and no network. Known
# vulnerabilities are not looked up: that needs a database from the network.
check: ## Formatting, clippy without warnings, and the house rules (needs Rust)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	$(TEST) --workspace --test tidy

test: ## All tests that need the Rust toolchain alone
	$(TEST) --workspace

test-store: ## A real MinIO, restores with stock tools, and the real sops and vals (needs Go, age, zstd, tar, curl, python3, bsdtar, busybox)
	$(NAMED) trysail-tests/store,trysail-volume/stock-tools --test rescue --test store_minio --test secrets --test stock_tar

test-api: ## A real API server: stock velero command lines on it, its objects in archives, the server, its backups and restores, our own command line, and the node agent (needs Go)
	$(NAMED) trysail-tests/api --test api_server --test collect --test server --test backup --test restore --test trust --test own_cli --test node_agent

test-nix: ## The modules, on every Nix that is found (needs Nix, jq, git, python3)
	tests/nix/run

test-cluster: ## Whole clusters (needs Go, root, containerd, runc, CNI plugins, nftables, busybox)
	$(NAMED) trysail-tests/cluster --test cluster_nodes --test cluster_life --test journey --test encrypted --test kills --test scale --test data_only --test rendered --test charts --test flux

test-all: test test-store test-nix test-api test-cluster ## Every test above

generate: ## The page of options, and what tests keep of renderings (needs Nix, jq); git shows what changed
	tests/nix/run --bless

manifests: ## SETTINGS, a file of settings, as a tree for Flux below TO (needs Nix)
	$(FLAKE) run .#manifests -- $(SETTINGS) $(TO)

cluster: ## A shell on a test cluster of NODES nodes (needs what test-cluster needs)
	@cargo run --quiet --package trysail-tests --bin cluster -- --nodes $(NODES)

torture-quick: ## The model of prunes beside backups, 500 runs
	TRYSAIL_TORTURE_RUNS=$(QUICK_RUNS) $(TEST) -p trysail-repository --lib prune::model

torture: ## The same, 10,000 runs; crashes, faults, damage and the model of whole backups at their large sizes
	TRYSAIL_TORTURE_RUNS=$(TORTURE_RUNS) $(TEST) -p trysail-repository --lib prune::model
	TRYSAIL_TORTURE=large $(TEST) -p trysail-repository --test check --test parsers
	TRYSAIL_TORTURE=large $(TEST) -p trysail-volume --test crash --test faults --test model

fuzz: ## Each parser for FUZZ_SECONDS with what libFuzzer makes up, or those of PARSERS alone (needs a C++ compiler)
	cp Cargo.lock tests/fuzz/
	RUSTFLAGS='$(COVERAGE)' cargo build --release --manifest-path tests/fuzz/Cargo.toml --target $(HOST) --target-dir target/fuzz
	@for parser in $${PARSERS:-$$(sed -n 's/^    ("\([a-z-]*\)",.*/\1/p' tests/fuzz/src/parsers.rs)}; do \
	  mkdir -p target/fuzz/corpus/$$parser; \
	  TRYSAIL_FUZZ=$$parser target/fuzz/$(HOST)/release/fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
	    -artifact_prefix=target/fuzz/$$parser- -print_final_stats=0 -verbosity=0 target/fuzz/corpus/$$parser \
	    && echo "ok      $$parser" || { echo "FAILED  $$parser"; exit 1; }; \
	done

bench: ## Beside restic, kopia and tar | zstd | age, which it builds (needs Go); TRYSAIL_BENCH_* choose sets and rounds
	cargo build --release --package trysail-cli
	cargo run --release --package trysail-tests --bin bench

bench-cluster: ## Beside stock Velero 1.18, which it builds, on clusters (needs what test-cluster needs); TRYSAIL_BENCH_* choose peers, rounds and scale
	cargo run --release --package trysail-tests --bin bench-cluster

image: ## The container image as target/trysail-image.tar (skopeo copy oci-archive:…), and its digest
	@mkdir -p "$${CARGO_TARGET_DIR:-target}"
	cargo run --release --locked --package trysail-tests --bin image -- "$${CARGO_TARGET_DIR:-target}/trysail-image.tar"

release: check test-all ## The program after all tests, and its SHA-256
	cargo build --release --locked --package trysail-cli
	cd "$${CARGO_TARGET_DIR:-target}/release" && sha256sum trysail | tee trysail.sha256
