# Everything a contributor runs. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.NOTPARALLEL:

CACHE   := $(CURDIR)/.cache
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# docs/adr/0002-pinned-linter.md says why the linter is installed this way.
LINT_VERSION := v2.15.0
LINT         := $(CACHE)/bin/golangci-lint-$(LINT_VERSION)

# The binary, vet, lint and the end-to-end tests share one set of compiled
# packages (without cgo); the unit tests have the other (with the race
# detector, which needs cgo). Nothing is compiled a third way.
PLAIN     := CGO_ENABLED=0
CGO       := $(shell go env CGO_ENABLED)
RACE      := $(if $(filter 1,$(CGO)),-race)
E2E       := ./test/e2e/... ./test/docs/... ./guest/... ./internal/host/...
# Packages of $(E2E) that exist here; a tree without one of the folders is not an error.
E2E_HERE   = $(foreach p,$(E2E),$(if $(wildcard $(p:/...=)),$(p)))
CHECKS    := fmt-check vet lint unit
RESULTS   := $(CACHE)/test
GUEST     := $(CACHE)/tiny
DEBIAN    := $(CACHE)/debian
CAN_SETUP := $(and $(filter 0,$(shell id -u)),$(wildcard /etc/debian_version))

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build bin/muster
	$(PLAIN) go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/muster ./cmd/muster

.PHONY: demo
demo: setup-demo guest build ## Start a scale set of real virtual machines on this machine and show it at work
	@scripts/demo.sh

.PHONY: guest
guest: ## Build the tiny guest image into .cache/tiny, unless it is current
	@guest/tiny/build.sh $(GUEST)

.PHONY: guest-debian
guest-debian: setup-debian ## Build a Debian image and its catalogue file into .cache/debian, unless they are current (root)
	@guest/debian/build.sh $(DEBIAN)

# Where things are installed; DESTDIR goes before all of it.
PREFIX  := /usr/local
INSTALL := install -D

.PHONY: install
install: build guest ## Install the program, the tiny guest, the manual and the systemd units (DESTDIR, PREFIX)
	$(INSTALL) -m 755 bin/muster $(DESTDIR)$(PREFIX)/bin/muster
	$(INSTALL) -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/muster README.md docs/*.md
	$(INSTALL) -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/muster/api docs/api/*.md
	$(INSTALL) -m 644 -t $(DESTDIR)/usr/share/muster/tiny $(GUEST)/manifest.json $(GUEST)/cmdline $(GUEST)/vmlinux $(GUEST)/initrd $(GUEST)/disk.qcow2
	$(INSTALL) -m 644 packaging/sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/muster.conf
	$(INSTALL) -m 644 packaging/tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/muster.conf
	for unit in muster muster-sim; do sed 's|/usr/local/|$(PREFIX)/|' packaging/$$unit.service | $(INSTALL) -m 644 /dev/stdin $(DESTDIR)/usr/lib/systemd/system/$$unit.service; done
	[ -e $(DESTDIR)/etc/muster/config.yaml ] || $(INSTALL) -m 644 packaging/config.yaml $(DESTDIR)/etc/muster/config.yaml

##@ Check

.PHONY: check
check: $(CHECKS) ## Format, vet, lint, unit tests with the race detector, tests about the code

.PHONY: test
test: ## Everything: install what the tests need, check, then end to end with real virtual machines
	@$(MAKE) setup-test
	@$(MAKE) guest-if-possible
	@rm -rf $(RESULTS) && mkdir -p $(RESULTS)
	@failed=; for step in $(CHECKS) e2e; do $(MAKE) $$step || failed+=" $$step"; done; \
	echo; echo "== results$${failed:+, failed:$$failed} =="; \
	cat $(RESULTS)/*.out 2>/dev/null | grep -E '^((ok|FAIL|panic:)[[:space:]]|--- (FAIL|SKIP))' || echo "no test ran"; \
	[ -z "$$failed" ]

.PHONY: test-slow
test-slow: setup-test build guest guest-debian ## Boot the Debian image with Muster: minutes, and not part of `make test`
	$(PLAIN) go test -v -tags 'e2e slow' -count=1 -timeout 90m -run '^TestDebian' ./test/e2e

.PHONY: unit
unit:
	@mkdir -p $(RESULTS)
	@$(if $(RACE),,echo "skip: no C compiler, so no race detector; tests run without it")
	go test $(RACE) -timeout 10m ./... 2>&1 | tee $(RESULTS)/1-unit.out | sed '/\[no test files\]/d'

.PHONY: e2e
e2e: build
	@mkdir -p $(RESULTS)
	$(if $(E2E_HERE),MUSTER_TINY_GUEST=$(GUEST) $(PLAIN) go test -v -tags e2e -count=1 -p 1 -timeout 30m $(E2E_HERE) 2>&1 | tee $(RESULTS)/2-e2e.out | sed '/\[no test files\]/d')

.PHONY: fmt-check
fmt-check:
	@files=$$(find . -name '*.go' -not -path './.cache/*' -not -path '*/node_modules/*' -not -path '*/testdata/*' -exec gofmt -l {} +); \
	if [ -n "$$files" ]; then echo "not formatted (make fmt):"; echo "$$files"; exit 1; fi

.PHONY: vet
vet:
	$(PLAIN) go vet -tags 'e2e slow' ./...

.PHONY: lint
lint: $(LINT)
	$(PLAIN) GOLANGCI_LINT_CACHE=$(CACHE)/golangci-lint $(LINT) run ./...

$(LINT):
	@mkdir -p $(CACHE)/bin
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	echo "installing golangci-lint $(LINT_VERSION)"; cd "$$dir"; \
	$(PLAIN) GOBIN="$$dir" GOFLAGS='-mod=mod -buildvcs=false' GOWORK=off \
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION); \
	mv golangci-lint $@

.PHONY: tidy-check
tidy-check: ## Show what `go mod tidy -e` would change in go.mod; change nothing
	go mod tidy -e -diff

.PHONY: fuzz
fuzz: ## Run every fuzz target for a few seconds each (FUZZTIME=5s)
	@{ grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' cmd internal test 2>/dev/null || true; } | sed 's/:func /:/' | \
	while IFS=: read -r file name; do \
		echo "$$name ($$(dirname $$file))"; \
		$(PLAIN) go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),5s) ./$$(dirname $$file) </dev/null; \
	done

.PHONY: bench
bench: setup-bench build ## Measure the targets and print their figures (ONLY=P3,P4 for some; GUESTS=10)
	@$(MAKE) guest || echo "skip: the tiny guest could not be built here; what boots it is not measured"
	@ONLY='$(ONLY)' GUESTS='$(GUESTS)' PAIRS='$(PAIRS)' RUNS='$(RUNS)' bench/run.sh

##@ Change

.PHONY: fmt
fmt: ## Format the Go files
	gofmt -w $$(find . -name '*.go' -not -path './.cache/*' -not -path '*/node_modules/*' -not -path '*/testdata/*')

.PHONY: golden
golden: ## Rewrite the golden files and scenarios from what the code does now
	@failed=; \
	rewrite() { for dir in $$(grep -rlE --include='*_test.go' "$$1" . | xargs -r -n1 dirname | sort -u); do \
		echo "go test $$dir $$2"; go test $$dir $$2 || failed=1; done; }; \
	rewrite 'flag\.Bool\("update"' -update; \
	rewrite '^(import)?[[:space:]]*"github.com/cockroachdb/datadriven"$$' -rewrite; \
	[ -z "$$failed" ]

.PHONY: clean
clean: ## Remove what make built
	rm -rf bin .cache

# Installing packages needs root and apt; elsewhere the tests use what there is.
.PHONY: setup-test setup-demo setup-bench setup-debian guest-if-possible
setup-test setup-demo setup-bench setup-debian: setup-%:
	@$(if $(CAN_SETUP),scripts/install-deps.sh $*,echo "skip: installing packages needs root on Debian; using what is installed")

guest-if-possible:
	@$(if $(CAN_SETUP),$(MAKE) guest,$(MAKE) guest || echo "skip: the tiny guest could not be built here; tests that boot it will skip")
