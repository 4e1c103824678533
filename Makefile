# SPDX-License-Identifier: Apache-2.0
#
# Two targets do everything on a fresh Debian 12 with Go 1.26, make and root: `make demo` and `make test`.
# Root is needed by: deps (apt), demo, test (network namespaces, a virtual machine), bench, install.

GO      ?= go
PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
FUZZTIME ?= 10s
BENCHOUT ?= bench-out

export CGO_ENABLED = 0
# go.mod names the Go release whose standard library has the known faults repaired; it is fetched where Go is older and the
# module proxy is reached. GOTOOLCHAIN=local in the environment keeps the installed one.
ifndef GOTOOLCHAIN
GOTOOLCHAIN := $(shell GOTOOLCHAIN=auto $(GO) version >/dev/null 2>&1 && echo auto || echo local)
endif
export GOTOOLCHAIN

.PHONY: all build generate demo unit race e2e interop soak vm kernels test bench bench-quick bench-go lint vuln fuzz install deps clean

all: build

## build: the three programs, in bin/
build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/mcrd ./cmd/mcrctl ./cmd/mcrgen

## generate: Go structs and pages of docs from the YANG modules, and the code of the Operations service
generate:
	$(GO) generate ./gen ./northbound/operations

## demo: the main job, in network namespaces that it makes and removes (root)
demo: deps build
	$(GO) run ./tests/demo

## unit: the tests that need no other machine than this process and network namespaces
unit:
	$(GO) test $$($(GO) list ./... | grep -v -e /tests/e2e -e /tests/interop -e /tests/vm -e /tests/bench)
	$(GO) test ./tests/bench/... # it measures: not beside dataplane's floods

## race: the same under the race detector (the one thing that needs a C compiler)
race:
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./... | grep -v -e /tests/ -e /gen)

## e2e: the built programs in network namespaces (root)
e2e: build
	$(GO) test -count=1 -timeout 15m ./tests/e2e/...

## interop: the gNMI contract and other people's gNMI clients, at the built mcrd (root)
interop: build
	$(GO) test -count=1 -timeout 10m ./tests/interop/...

## soak: the tests under load, in full length and with their figures (root, an hour and a half, and a machine that does nothing else)
soak: build
	$(GO) test -count=1 -timeout 100m -v -run '^Test(G[0-9]|Soak)' ./tests/e2e -soak

## vm: kinds of interfaces, real tunnels and a part of the dataplane's tests on the kernels of Debian 12 and 11, in virtual machines (root for nothing but apt)
vm: build
	$(GO) test -count=1 -timeout 10m ./tests/vm/...

## kernels: all tests of the dataplane there, and some of tests/e2e: half an hour
kernels: build
	$(GO) test -count=1 -timeout 60m -v -run '^TestDebian' ./tests/vm -kernels

## test: everything
test: deps lint race unit e2e interop vm

## bench: MCR beside reference forwarders, about 25 minutes on a machine that does nothing else (root); goes on where it was stopped
bench: deps build
	$(GO) run ./tests/bench run -out $(BENCHOUT)

## bench-quick: the same in three minutes, to see what is badly wrong
bench-quick: deps build
	$(GO) run ./tests/bench run -quick -out $(BENCHOUT)-quick

## bench-go: the Go benchmarks
bench-go: build
	$(GO) test -run '^$$' -bench . -benchmem ./dataplane/... ./mroute/... ./northbound/...
	$(GO) test -run '^$$' -bench . -benchtime 15x ./tests/e2e

## lint: vet, staticcheck, gofumpt, import rules, generated code up to date, known vulnerabilities
lint:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@out=$$($(GO) tool gofumpt -l $$(git ls-files '*.go' | grep -v -e '^gen/oc.go$$' -e '\.pb\.go$$')); [ -z "$$out" ] || { echo "gofumpt would change:"; echo "$$out"; exit 1; }
	$(GO) test -count=1 ./tests/arch ./gen ./northbound/operations/protogen
	$(GO) mod tidy -diff

## vuln: known vulnerabilities in what is used; needs the vulnerability database
vuln:
	$(GO) tool govulncheck ./...

## fuzz: each fuzz target for FUZZTIME
fuzz:
	@set -e; for pkg in $$($(GO) list ./... ); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
			echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; done; done

## deps: what a fresh machine lacks
deps:
	@sh tests/deps.sh

## install: programs, man pages, completion, systemd unit
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/mcr/yang
	install -m 755 bin/mcrd bin/mcrctl bin/mcrgen $(DESTDIR)$(PREFIX)/bin/
	install -m 644 yang/*.yang $(DESTDIR)$(PREFIX)/share/mcr/yang/
	bin/mcrctl man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)/etc/systemd/system
	bin/mcrctl completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/mcrctl
	sed 's#@PREFIX@#$(PREFIX)#' dist/mcrd.service > $(DESTDIR)/etc/systemd/system/mcrd.service

clean:
	rm -rf bin
