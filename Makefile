# make check        the quick inner loop: formatting, vet, staticcheck, unit tests
# make test         everything: what the tests need is installed, then all of them run
# make audit        known vulnerabilities in dependencies; it says if a database cannot be reached
# make attack       hostile clients, and what others feel of them; part of make test
# make site         the documentation as a site with a search, in site/dist; part of make test
# make cross        vet for all platforms that the README names
# make perf         the bars on cost and speed, each beside a reference of the same run
# make soak         what is random for much longer: kills, cuts, restarts; hours
# make bench        Parley and other servers under the same load, compared; three minutes
# make microbench   Go benchmarks

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO ?= go

# Modules of their own keep what only tests and checks need from programs that import Parley.
MODULES := . internal/certs/acmetest
STATICCHECK := $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck
PLATFORMS = $(shell sed -n 's/^Platforms: //p' README.md | tr -d '`,.')

.PHONY: check test perf soak audit cross bench microbench format deps race js conformance site attack

check: format
	for dir in $(MODULES); do (cd $$dir && $(GO) vet ./... && $(STATICCHECK) ./... && $(GO) test -timeout 20m ./...); done

# The race detector wants processors, and the others mostly wait: they run beside each other. The
# attacks come last, for the other tests would be one more attack.
test: deps check
	$(MAKE) -j 3 race js conformance
	$(MAKE) site
	$(MAKE) attack

format:
	@files=$$(find . -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

# SQLite and its C library are translated to Go. Their memory is not Go's, so the race detector sees
# nothing there: watching it makes the tests of stores take five times as long.
race: FLAGS = -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc/...=-race=false'
race:
	for dir in $(MODULES); do (cd $$dir && $(GO) test $(FLAGS) -timeout 30m ./...); done

# The store's database is translated C, anew for each platform, which takes a minute each.
cross:
	@test -n "$(PLATFORMS)"
	for p in $(PLATFORMS); do echo $$p; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) vet ./...; done

# Node.js 20 or later with npm is needed; the rest comes from npm and Debian's packages.
deps:
	./scripts/install-test-deps

js: deps
	cd js && npm test && npm run types && npm run test:browser

conformance: deps
	cd conformance && npm test

site: deps
	cd site && npm run build

attack:
	$(GO) run ./conformance/attack

perf:
	./bench/perf

# What is random, and what kills, cuts and restarts, with the counts of PARLEY_SOAK.
soak: export PARLEY_SOAK = 1
soak: deps
	$(GO) test -count=1 -timeout 24h ./internal/fifo ./internal/rooms ./internal/ws ./internal/engine ./history/historytest -rapid.checks 20000
	$(GO) test -count=1 -timeout 24h . ./adapter/... ./history/... ./internal/access ./internal/app ./internal/chat
	$(GO) test -race -count=1 -timeout 24h -run Cuts ./client
	cd conformance && npm test -- connect.test.mjs disconnect.test.mjs recovery.test.mjs cluster.test.mjs packer.test.mjs outbox.test.mjs peers.test.mjs

audit:
	./scripts/audit

bench:
	./bench/run

microbench:
	$(GO) test -run '^$$' -bench . -benchmem ./...
