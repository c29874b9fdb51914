# make install PREFIX=… · make up · make test · make test-all · make down · make bench · make small · make explore · make explore-real N=… · make fuzz · make mutants SHARD=k/n
# make package · make verify (never writes) · make fix (may write)
CARGO ?= cargo
SWARM := target/release/swarm
LAB := .lab/lab/swarm.yaml
# Stories wait more than they compute: so many labs run side by side.
LABS ?= 6

.PHONY: api semver package messages install small up down test test-all units bench verify fix setup build deny explore explore-real fuzz mutants msrv
export CARGO LABS

up: setup build
	$(SWARM) lab up
	$(SWARM) apply -f $(LAB) --yes
	$(SWARM) verify -f $(LAB) --timeout 30s
	$(SWARM) status -f $(LAB)

down: build
	$(SWARM) lab down

build:
	$(CARGO) build --locked --release --package swarm-cli

setup:
	scripts/setup

# Unit tests, documentation tests, every story that is tagged `pr` on real engines (these need root), and one shard of the `full` ones.
test: units
	scripts/stories pr
	scripts/stories shard

# The same, with all shards.
test-all: units
	scripts/stories pr
	scripts/stories full

# Always the whole workspace: another choice of packages has other features, and everything would be built once more.
units: setup
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --lib --bins --examples
	$(CARGO) test --locked --workspace --doc

# Mutants of swarm-core against unit tests and the simulator: one shard, `make mutants SHARD=0/4`; `0/1` is all of them.
SHARD ?= 0/4
mutants:
	scripts/mutants $(SHARD)

# Random schedules on simulated worlds until there were a million, or for an hour; then pairs of cuts of every story.
explore:
	$(CARGO) run --locked --release --package swarm-tests --bin explore -- --pairs

# Random sequences of calls and faults on real engines and in the simulator, compared: `make explore-real N=200`.
N ?= 40
explore-real: setup
	$(CARGO) run --locked --package swarm-tests --bin explore_real -- --sequences $(N)

# All fuzz targets for an hour; a shard of `make test` runs each for some seconds.
fuzz: setup
	fuzz/run 720

# The program, its manual pages and completions, under PREFIX.
PREFIX ?= /usr/local
install: build
	install -Dm755 $(SWARM) $(DESTDIR)$(PREFIX)/bin/swarm
	$(SWARM) man $(DESTDIR)$(PREFIX)/share/man/man1
	mkdir -p $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(SWARM) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/swarm
	$(SWARM) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_swarm
	$(SWARM) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/swarm.fish

bench: setup build
	$(CARGO) run --locked --release --package swarm-tests --bin bench

# What each library offers, to docs/api; needs a nightly toolchain and cargo-public-api.
api:
	scripts/api

# What no longer compiles for those who use the libraries, against the commit that docs/api/baseline names.
semver:
	scripts/semver

verify: setup
	$(CARGO) fmt --all --check
	rustfmt --check swarm-probe/probe/main.rs --config-path rustfmt.toml --edition 2024
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --target-dir target/doc-check
	$(MAKE) deny
	$(MAKE) msrv
	$(MAKE) test

# The oldest Rust that the manifests promise builds everything.
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
msrv:
	@rustup toolchain list | grep -q '^$(MSRV)' || rustup toolchain install $(MSRV) --profile minimal
	CARGO_TARGET_DIR=target/msrv $(CARGO) +$(MSRV) check --locked --workspace

# The small program for images: one static file where the target for it is installed.
MUSL := $(shell uname -m)-unknown-linux-musl
small:
	@if rustup target list --installed 2>/dev/null | grep -qx $(MUSL); then \
		$(CARGO) build --locked --profile small --package swarm-bootstrap --target $(MUSL); ls -l target/$(MUSL)/small/swarm-bootstrap; \
	else \
		echo "the target $(MUSL) is not installed, so the program is linked dynamically"; \
		$(CARGO) build --locked --profile small --package swarm-bootstrap; ls -l target/small/swarm-bootstrap; \
	fi

# Every crate is packaged, and built from its packaged files alone with the packages of the others. Versions of crates of this workspace are exact: a
# registry may have another crate of the same name (crates.io has a `swarm-ssh` 0.1.2).
package:
	$(CARGO) package --locked --workspace --exclude swarm-tests --exclude swarm-test-family --exclude swarm-examples --allow-dirty

# docs/messages.md: every text that a user can see.
messages:
	$(CARGO) run --quiet --package swarm-tests --bin messages

deny:
	@command -v cargo-deny >/dev/null 2>&1 || { echo "deny: cargo-deny is not installed (cargo install --locked cargo-deny)" >&2; exit 1; }
	$(CARGO) deny check bans licenses sources

fix:
	$(CARGO) fmt --all
	rustfmt swarm-probe/probe/main.rs --config-path rustfmt.toml --edition 2024
	$(CARGO) clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged
