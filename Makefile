# make demo and make test want Go, make and git, nothing else.

GO       ?= go
FUZZTIME ?= 20s
PKG      ?= ./...
BENCH    ?= .

# The race detector wants a C compiler that works, headers included.
CC_WORKS := $(shell printf '\043include <stdlib.h>\nint main(void){return 0;}' | $$($(GO) env CC) -x c -o /dev/null - 2>/dev/null && echo yes)
RACE     := $(if $(CC_WORKS),-race)

# Without one, go must not try it: nothing here needs cgo but the race detector.
ifeq ($(CC_WORKS),)
export CGO_ENABLED := 0
endif

# go build asks git for the commit; where git will not answer (a copy without .git, another owner), build without it.
ifneq ($(shell git status --porcelain >/dev/null 2>&1 && echo yes),yes)
export GOFLAGS += -buildvcs=false
endif

.DEFAULT_GOAL := help
.PHONY: help build demo test race lint fuzz bench profile examples install clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/mailer, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/mailer

demo: build ## Build, then see the whole loop on a made-up list; nobody is mailed
	./bin/mailer demo

test: ## Run all tests, with the race detector if there is a C compiler; name what was skipped
	@skips=$$(mktemp); \
	MAILER_TEST_SKIPS=$$skips $(GO) test $(RACE) -timeout 40m $(PKG); status=$$?; \
	if [ -z "$(RACE)" ]; then echo "race detector: no C compiler (apt-get install gcc libc6-dev)" >>$$skips; fi; \
	if [ -s $$skips ]; then echo; echo "not tested here:"; sort -u $$skips | sed 's/^/  /'; fi; \
	if [ -s $$skips ] && [ -n "$$MAILER_TEST_NO_SKIP" ]; then status=1; fi; \
	rm -f $$skips; exit $$status

race: ## Run all tests with the race detector
	$(GO) test -race -timeout 40m $(PKG)

lint: ## gofmt, go vet for Linux, macOS and Windows, staticcheck
	@unformatted=$$(gofmt -l cmd internal templates examples); \
	if [ -n "$$unformatted" ]; then echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; fi
	@for os in linux darwin windows; do echo "go vet for $$os"; CGO_ENABLED=0 GOOS=$$os $(GO) vet $(PKG) || exit 1; done
	$(GO) tool staticcheck $(PKG)

fuzz: ## Fuzz every target for FUZZTIME (20s)
	@for pkg in $$($(GO) list $(PKG)); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s $$pkg || exit 1; \
		done; \
	done

bench: ## Run the benchmarks, or those that match BENCH
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(PKG)

profile: ## Show where the CPU of a send goes, and keep the profile in bin/
	@mkdir -p bin
	$(GO) test -run '^$$' -bench 'SendInProcess/run' -benchmem -timeout 60m -o bin/send.test -cpuprofile bin/send.prof ./cmd/mailer
	$(GO) tool pprof -top -nodecount 40 bin/send.test bin/send.prof

examples: ## Run every workspace and every scheduler file in examples/
	$(GO) test -run 'TestExample' -v ./cmd/mailer

install: ## Install mailer into Go's bin folder
	CGO_ENABLED=0 $(GO) install -trimpath ./cmd/mailer

clean: ## Remove what make build left
	rm -rf bin
