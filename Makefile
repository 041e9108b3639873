# Two commands for a newcomer: `make run` and `make test`. Each installs what it misses (as root) or names it.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# What must exist, and the Debian package that brings it.
SERVER := /usr/lib/postgresql/*/bin/initdb=postgresql psql=postgresql-client
RIVAL  := pgbouncer=pgbouncer
SUITE  := $(SERVER) $(RIVAL) /usr/lib/postgresql/*/bin/pgbench=postgresql openssl=openssl \
          python3:venv=python3-venv python3:ensurepip=python3-venv node=nodejs npm=npm \
          java=default-jdk-headless javac=default-jdk-headless \
          /usr/share/java/postgresql.jar=libpostgresql-jdbc-java \
          mariadbd=mariadb-server mariadb-install-db=mariadb-server redis-server=redis-server \
          prometheus=prometheus promtool=prometheus prometheus-alertmanager=prometheus-alertmanager \
          chromium=chromium

# The library with every adapter.
FULL   := --features headpond/full

.DEFAULT_GOAL := help
.PHONY: help run build test check docs services bench bench-pool fuzz loom sim lint-deploy

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: ## a private PostgreSQL with the pooler in front of it, ready to connect to (ARGS=--fresh empties it)
	@[ -n "$$DATABASE_URL" ] || scripts/need $(SERVER)
	@$(CARGO) build --release --locked --package headpond-cli
	@exec $(TARGET)/release/headpond dev $(ARGS)

build: ## the release: one binary, target/release/headpond
	$(CARGO) build --release --locked --package headpond-cli

test: ## the whole suite against real servers that it starts and stops itself
	@scripts/need $(SUITE)
	@$(MAKE) --no-print-directory check docs
	$(CARGO) build --locked --package headpond-cli
	$(CARGO) test --locked --workspace $(FULL) --doc --quiet
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    echo "cargo nextest run --workspace $(FULL)"; \
	    $(CARGO) nextest run --locked --workspace $(FULL) --no-fail-fast; \
	else \
	    echo "cargo test --workspace $(FULL)"; \
	    $(CARGO) test --locked --workspace $(FULL) --lib --bins --tests --examples --no-fail-fast; \
	fi

check: ## format, house style, lints (part of test)
	$(CARGO) fmt --all --check
	$(CARGO) xtask tidy
	$(CARGO) clippy --locked --workspace $(FULL) --all-targets --quiet -- -D warnings
	@if rustup target list --installed 2>/dev/null | grep -q x86_64-unknown-none; then \
	    $(CARGO) check --locked --quiet --target x86_64-unknown-none --package headpond-core; \
	fi

docs: ## the API documentation, broken links denied (part of test)
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace $(FULL) --no-deps --quiet

services: ## a PostgreSQL, a MariaDB and a Redis for the examples of the library; prints their URLs
	@scripts/need $(SERVER) mariadbd=mariadb-server mariadb-install-db=mariadb-server redis-server=redis-server
	@exec scripts/services $(ARGS)

bench: ## side by side with PgBouncer on one PostgreSQL; writes docs/benchmarks.md (ARGS=--quick)
	@scripts/need $(SERVER) $(RIVAL)
	@$(CARGO) build --release --locked --package headpond-cli
	@$(CARGO) xtask bench $(ARGS)

bench-pool: ## the library's pool beside deadpool, bb8, sqlx's and mobc; writes docs/benchmarks.md
	$(CARGO) run --release --locked --manifest-path benches/pool/Cargo.toml -- \
	    --write docs/benchmarks.md $(ARGS)

fuzz: ## every parser and both session directions, 60 s each (ARGS="--seconds 5 first_packet")
	@$(CARGO) xtask fuzz $(ARGS)

loom: ## what the library's threads share: every schedule of a few threads (loom), random ones of more (shuttle)
	RUSTFLAGS="--cfg headpond_loom" $(CARGO) test --release --locked --package headpond --lib \
	    --target-dir $(TARGET)/loom schedules
	RUSTFLAGS="--cfg headpond_shuttle" $(CARGO) test --release --locked --package headpond --lib \
	    --target-dir $(TARGET)/shuttle schedules -- --nocapture

sim: ## 10,000 seeds of the pooler on a simulated network with faults (ARGS="--seeds 500")
	@$(CARGO) xtask sim $(ARGS)

lint-deploy: ## the linters of others over deploy/: yamllint, helm, kubernetes-validate, hadolint, promtool, systemd
	@scripts/need python3:venv=python3-venv python3:ensurepip=python3-venv promtool=prometheus systemd-analyze=systemd
	@scripts/lint-deploy
