# Two commands to begin with: `make run` and `make test`. Each recipe first finds or installs what it
# needs (scripts/setup, silent when all is there), then makes one call of cargo.
# More arguments go through ARGS: make run ARGS=--serve

.DEFAULT_GOAL := help
.PHONY: help run test lab soak bench setup

export CARGO_TARGET_DIR ?= $(CURDIR)/target
ENV := . scripts/env.sh &&
ARGS ?=

help:
	@echo 'make run     build, and let a piece of music travel between two nodes'
	@echo 'make test    everything that needs neither root nor special devices (cargo xtask ci)'
	@echo 'make lab     namespaces, JACK, a VM: needs root (cargo xtask lab)'
	@echo 'make soak    long runs, on demand; writes a dated result (cargo xtask soak)'
	@echo 'make bench   the figures beside their yardsticks (cargo xtask bench)'
	@echo 'make setup   only find or install what is needed'

run:
	@sh scripts/setup run
	@$(ENV) cargo build --release -p midip2p
	@"$(CARGO_TARGET_DIR)/release/midip2p" demo $(ARGS)

test:
	@sh scripts/setup test
	@$(ENV) cargo xtask ci $(ARGS)

lab:
	@sh scripts/setup lab
	@$(ENV) cargo xtask lab $(ARGS)

soak:
	@sh scripts/setup run
	@$(ENV) cargo xtask soak $(ARGS)

bench:
	@sh scripts/setup bench
	@$(ENV) cargo xtask bench $(ARGS)

setup:
	@sh scripts/setup test
