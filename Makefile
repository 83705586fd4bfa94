# make check        the quick inner loop: formatting, vet, staticcheck, unit tests
# make test         everything: what the tests need is installed, then all of them run
# make bench        Parley and other servers under the same load, compared; three minutes
# make microbench   Go benchmarks

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO ?= go

.PHONY: check test bench microbench format deps unit race js conformance

check: format
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -timeout 5m ./...

test: deps check race js conformance

format:
	@files=$$(find . -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

race:
	$(GO) test -race -timeout 15m ./...

# Node.js 20 or later with npm is needed; the rest comes from npm and Debian's packages.
deps:
	./scripts/install-test-deps

js: deps
	cd js && npm test && npm run types && npm run test:browser

conformance: deps
	cd conformance && npm test

bench:
	./bench/run

microbench:
	$(GO) test -run '^$$' -bench . -benchmem ./...
