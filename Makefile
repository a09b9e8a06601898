# The newcomer's two commands are `make demo` and `make test`; each sets up what it needs.

export PATH := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/coreos-image-service/tools/bin:$(PATH)

.PHONY: demo demo-operator test setup fixtures check image audit fuzz bench clean

demo: setup
	scripts/demo

test: setup fixtures check
	cargo test --workspace --locked
	deploy/container/smoke target/debug/coreos-image-service
	scripts/operator-journey
	deploy/ci/test target/debug/coreos-image-service
	deploy/check target/debug/coreos-image-service

# Debian packages, coreos-installer and schemas of Kubernetes; does nothing where all is there.
setup:
	scripts/setup

# The operator's journey: a hub, a registry, the operator and an image service.
demo-operator: setup fixtures
	scripts/operator-journey

# The live ISOs that tests and demo use, built from Debian's parts.
fixtures: setup
	fixtures/iso/all

check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

# The container image, localhost/coreos-image-service:latest.
image: setup
	cargo build --release --locked --package coreos-image-service
	deploy/container/build

# Licences, bans and sources of every dependency.
audit:
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources

# Every fuzz target for SECONDS seconds; needs a nightly toolchain and cargo-fuzz. Some begin with the fixtures' heads,
# which are longer than the inputs that libFuzzer makes by itself.
SECONDS ?= 60
fuzz: fixtures
	fuzz/seeds
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
	  cargo +nightly fuzz run $$target -- -max_total_time=$(SECONDS) -max_len=131072 || exit 1; done

# Each figure beside the tool one would use otherwise; see benches/README.md.
bench: setup
	benches/extraction
	benches/minimal
	benches/serving

clean:
	cargo clean
