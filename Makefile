# What can be done with this repository. Every target does its own set-up: as root
# on Debian it installs the packages it needs and says which. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The runtime that the integration targets run against: carpel, or containerd to
# prove the tests themselves.
RUNTIME ?= carpel
# A regular expression over the names of critest's specs; empty for all.
FOCUS ?=
# The network of Carpel's pods in nodes in a box: built-in, or cni for Debian's plugins.
NETWORK ?= built-in
PREFIX ?= /usr/local

need := integration/need
lane := integration/lane
carpel := target/release/carpel
tools := integration/tools/bin
tool_sources := $(shell find integration/tools -name '*.go' -o -name 'go.mod' -o -name 'go.sum')
go_programs := testimages conformance image-pause image-nonewprivs image-sh image-health

.PHONY: help
help: ## say what the targets do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build release
build: ## build everything, quickly, for development
	@$(need) rust build
	cargo build --workspace --all-targets

release: ## build target/release/carpel, the one binary that a node needs
	@$(need) rust build
	cargo build --release

.PHONY: demo
demo: ## run pods from Kubernetes manifests before your eyes, and clean up
	@$(need) rust build images
	cargo build --release
	cargo run --release --quiet --example demo

.PHONY: test
test: ## run all tests: unit tests, then the real crictl against nodes in a box and against limits
	@rm -f integration/work/tally
	@status=0; \
	$(MAKE) test-unit || status=1; \
	$(MAKE) integration || status=1; \
	$(MAKE) soak-exec EXECS=2000 || status=1; \
	$(MAKE) uml || status=1; \
	$(lane) summary; exit $$status

.PHONY: test-unit
test-unit:
	@$(need) rust build cni
	@$(lane) run unit cargo test --workspace --exclude carpel-integration -- --show-output

.PHONY: integration
integration: ## run crictl against RUNTIME=carpel|containerd, and a real kubelet against Carpel, in nodes in a box
	@$(MAKE) node-$(RUNTIME) kubelet-tools
	@RUNTIME=$(RUNTIME) $(lane) run integration \
	    cargo test --package carpel-integration --no-fail-fast -- --show-output --test-threads 2

# Idle pods whose cost is measured by kubelet, and for how long.
COST_PODS ?= 100
COST_SECONDS ?= 300
.PHONY: kubelet
kubelet: ## run a real kubelet on Carpel and print the table of what works, and what COST_PODS idle pods cost
	@$(MAKE) node-carpel kubelet-tools
	@status=0; \
	COST_PODS=$(COST_PODS) COST_SECONDS=$(COST_SECONDS) $(lane) run kubelet \
	    cargo test --package carpel-integration --no-fail-fast $(addprefix --test kubelet_,pods endpoints faults cost) \
	    -- --show-output --test-threads 1 || status=1; \
	integration/kubelet/errors integration/work/kubelet.log || status=1; exit $$status

.PHONY: cluster
cluster: ## run a cluster of one node on Carpel (API server, etcd, kubelet, kubectl) and print the table of what works
	@$(MAKE) node-carpel cluster-tools
	@$(need) uml
	@status=0; \
	$(lane) run cluster cargo test --package carpel-integration --test cluster \
	    -- --ignored --show-output --test-threads 1 --skip limits:: || status=1; \
	$(lane) run cluster-limits integration/uml/cluster || status=1; \
	for lane in cluster cluster-limits; do \
	    integration/kubelet/errors integration/work/$$lane.log || status=1; \
	done; exit $$status

.PHONY: soak-network
soak-network: ## 500 pods with a network up and down, then again with the daemon killed at random moments
	@$(MAKE) node-carpel
	@CHURN_PODS=500 $(lane) run soak-network \
	    cargo test --package carpel-integration --test network_churn -- --show-output --test-threads 1

.PHONY: conformance-websocket
conformance-websocket: ## run critest's Streaming specs again with exec, attach and port-forward over WebSocket
	@$(MAKE) node-$(RUNTIME)
	@$(need) critest
	@RUNTIME=$(RUNTIME) FOCUS='Streaming' CRITEST_FLAGS='-websocket-exec -websocket-attach -websocket-portforward' \
	    $(lane) run conformance-websocket integration/critest/run

.PHONY: conformance conformance-accept
conformance: ## run critest against RUNTIME, compare with integration/critest/expected.txt (FOCUS=regex, NETWORK=cni)
	@$(MAKE) node-$(RUNTIME)
	@$(need) critest
	@NODE_NETWORK=$(NETWORK) RUNTIME=$(RUNTIME) FOCUS='$(FOCUS)' $(lane) run conformance integration/critest/run

conformance-accept: node-carpel ## write what critest shows now into expected.txt, keeping the reasons
	@$(need) critest
	@FOCUS='$(FOCUS)' ACCEPT=1 integration/critest/run

.PHONY: bench
bench: node-carpel node-containerd ## time every CRI call on Carpel, with its own network and CNI, and on containerd
	cargo build --release --package carpel-bench
	integration/node/pair bash -c 'target/release/carpel-bench \
	    --endpoint "carpel=unix://$$CARPEL_SOCKET" --endpoint "carpel-cni=unix://$$CARPEL_CNI_SOCKET" \
	    --endpoint "containerd=unix://$$CONTAINERD_SOCKET" \
	    --image registry.k8s.io/e2e-test-images/busybox:1.29-2 $(BENCH_FLAGS)'

.PHONY: bench-logs
bench-logs: node-carpel node-containerd ## time 1 GB of log lines on Carpel and on containerd, in one run
	cargo build --release --package carpel-bench
	integration/node/pair bash -c 'target/release/carpel-bench --measure logs --runs 3 \
	    --endpoint "carpel=unix://$$CARPEL_SOCKET" --endpoint "containerd=unix://$$CONTAINERD_SOCKET" \
	    --image registry.k8s.io/e2e-test-images/busybox:1.29-2 $(BENCH_FLAGS)'

# How many execs soak-exec makes.
EXECS ?= 100000
.PHONY: soak-exec
soak-exec: node-carpel ## EXECS=100000 execs by ten clients; fails if they leave a zombie, a process or a descriptor
	cargo build --release --package carpel-bench
	@$(lane) run soak-exec integration/soak-exec $(EXECS)

.PHONY: bench-pull
bench-pull: node-carpel node-containerd ## time image pulls on Carpel, on containerd and by a bare program, in one run
	cargo build --release --package carpel-bench-pull
	@$(need) disk
	@mkdir -p integration/work/bench-pull
	integration/node/on-disk integration/node/pair bash -c 'target/release/carpel-bench-pull \
	    --endpoint "carpel=unix://$$CARPEL_SOCKET=$$CARPEL_ROOT" \
	    --endpoint "containerd=unix://$$CONTAINERD_SOCKET=$$CONTAINERD_ROOT" \
	    --images integration/work/bench-pull --scratch "$$PAIR_FOLDER" $(BENCH_FLAGS)'

.PHONY: churn
churn: ## bring 500 pods up and down, ten at a time, with CNI; then again while the daemon is killed
	@$(need) rust build cni
	CNI_PODS=500 cargo test --lib many_pods_ten_at_a_time -- --show-output
	@$(MAKE) node-carpel
	CNI_PODS=500 cargo test --package carpel-integration --test cni -- --show-output

.PHONY: uml
uml: release tools kubelet-tools ## try limits in User-mode Linux, which has cgroup v2 with its controllers
	@$(need) rust build images uml runtimes
	@$(lane) run uml integration/uml/all

.PHONY: test-kernel
test-kernel: release tools ## try AppArmor, SELinux, cpusets, swap and huge pages under a full kernel in QEMU: slow, not part of test
	@$(need) rust build images kernel
	@$(lane) run kernel integration/kernel/all

.PHONY: test-systemd
test-systemd: release tools ## try the systemd cgroup driver below a real systemd, in User-mode Linux on a Debian tree
	@$(need) rust build images uml systemd
	@$(lane) run systemd integration/uml/systemd

.PHONY: ci
ci: ## what the continuous integration runs: test, then conformance
	@status=0; \
	$(MAKE) test || status=1; \
	$(MAKE) conformance || status=1; \
	$(lane) summary || status=1; exit $$status

# What a node in a box with this runtime needs.
.PHONY: node-carpel node-containerd
node-carpel: release tools
	@$(need) node images registry cni runtimes
node-containerd: tools
	@$(need) rust build node images containerd

.PHONY: tools
tools: $(tools)/.built ## build crictl, critest and our test tools, once

$(tools)/.built: $(tool_sources)
	@echo "building crictl, critest and the test tools (once)"
	@mkdir -p $(tools)
	@go="$$($(need) go)"; cd integration/tools; export CGO_ENABLED=0; \
	"$$go" build -o bin/crictl sigs.k8s.io/cri-tools/cmd/crictl; \
	"$$go" test -c -o bin/critest sigs.k8s.io/cri-tools/cmd/critest; \
	for program in $(go_programs); do \
	    "$$go" build -trimpath -ldflags '-s -w' -o "bin/$$program" "./cmd/$$program"; \
	done; \
	"$$go" vet ./cmd/...; "$$go" test ./cmd/...
	@touch $@

.PHONY: kubelet-tools
kubelet-tools: $(tools)/.kubelet ## build kubelet, kubectl and kubelet-api, once; this takes minutes

# From the same module versions as crictl and critest; the version is what a release has.
$(tools)/.kubelet: $(tool_sources)
	@echo "building kubelet and kubectl (once: some minutes)"
	@mkdir -p $(tools)
	@go="$$($(need) go)"; cd integration/tools; export CGO_ENABLED=0; \
	version="$$("$$go" list -m -f '{{.Version}}' k8s.io/kubernetes)"; \
	"$$go" build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$version" -o bin/ \
	    k8s.io/kubernetes/cmd/kubelet k8s.io/kubernetes/cmd/kubectl ./cmd/kubelet-api
	@touch $@

.PHONY: cluster-tools
cluster-tools: kubelet-tools $(tools)/.cluster ## build etcd, the control plane and kubeadm, once; this takes many minutes

$(tools)/.cluster: $(tool_sources)
	@echo "building etcd, API server, controller manager, scheduler and kubeadm (once: many minutes)"
	@go="$$($(need) go)"; cd integration/tools; export CGO_ENABLED=0; \
	version="$$("$$go" list -m -f '{{.Version}}' k8s.io/kubernetes)"; \
	"$$go" build -ldflags '-s -w' -o bin/etcd go.etcd.io/etcd/server/v3; \
	"$$go" build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$version" -o bin/ \
	    $(addprefix k8s.io/kubernetes/cmd/,kube-apiserver kube-controller-manager kube-scheduler kubeadm)
	@touch $@

.PHONY: check fmt
check: ## formatting, lints, documentation without warnings, architecture
	@$(need) rust build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	cargo test --test architecture

fmt: ## format the sources
	@$(need) rust
	cargo fmt --all

.PHONY: docs
docs: ## build the API documentation
	@$(need) rust build
	cargo doc --workspace --no-deps --document-private-items

.PHONY: coverage
coverage: ## line coverage of the unit tests
	@$(need) rust build
	@command -v cargo-llvm-cov >/dev/null || { echo "installing cargo-llvm-cov"; cargo install --locked cargo-llvm-cov; }
	cargo llvm-cov --workspace --exclude carpel-integration --summary-only

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZ_SECONDS (default 30)
	@$(need) rust build
	@command -v cargo-fuzz >/dev/null || { echo "installing cargo-fuzz"; cargo install --locked cargo-fuzz; }
	cargo run --quiet --manifest-path fuzz/seeds/Cargo.toml
	@for target in $$(RUSTC_BOOTSTRAP=1 cargo fuzz list); do \
	    RUSTC_BOOTSTRAP=1 cargo fuzz run "$$target" -- -max_total_time=$${FUZZ_SECONDS:-30}; \
	done

share := $(DESTDIR)$(PREFIX)/share
completion_files := $(share)/bash-completion/completions/carpel \
    $(share)/zsh/site-functions/_carpel $(share)/fish/vendor_completions.d/carpel.fish
man_directory := $(share)/man/man1
unit := $(DESTDIR)$(PREFIX)/lib/systemd/system/carpel.service

.PHONY: install uninstall
install: release ## install binary, systemd unit, shell completion and man pages into PREFIX (default /usr/local)
	install -D -m 0755 $(carpel) $(DESTDIR)$(PREFIX)/bin/carpel
	install -d $(dir $(unit))
	sed 's|^ExecStart=.*/carpel |ExecStart=$(PREFIX)/bin/carpel |' packaging/carpel.service >$(unit)
	install -d $(dir $(completion_files))
	$(carpel) completion bash >$(word 1,$(completion_files))
	$(carpel) completion zsh >$(word 2,$(completion_files))
	$(carpel) completion fish >$(word 3,$(completion_files))
	$(carpel) man-pages $(man_directory)

uninstall: ## remove what install put there; state below /var/lib/carpel stays
	rm -f $(DESTDIR)$(PREFIX)/bin/carpel $(unit) $(completion_files)
	rm -f $(man_directory)/carpel.1 $(man_directory)/carpel-*.1

.PHONY: clean
clean: ## remove what was built; the Go tools stay (rm -r integration/tools/bin)
	cargo clean
	rm -rf integration/work
