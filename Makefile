# `make test` is all a fresh machine needs: it installs what the tests use and runs them.

PEERS := tests/peers

.PHONY: test deps tools ci deb rpm clean-deps

# Every test: unit, property, documentation, black-box.
test: deps
	.ci/test

# What the tests need beside a Rust toolchain; quick once it is there.
deps: tools .venv/.ready $(PEERS)/node_modules/.ready

tools:
	@.ci/tools

.venv/.ready: $(PEERS)/requirements.txt
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(PEERS)/node_modules/.ready: $(PEERS)/package.json
	npm install --prefix $(PEERS) --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

# Everything a change has to pass.
ci:
	.ci/run

# The packages, in target/packages/.
deb rpm:
	packaging/build $@

clean-deps:
	rm -rf .venv $(PEERS)/node_modules
