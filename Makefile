# The front door; meson.build is the build. `make` gives build/ccproxy.
FORMAT ?= clang-format-14
FUZZ_SECONDS ?= 60

all: build/build.ninja
	@ninja -C build --quiet ccproxy

build/build.ninja:
	@tools/install-packages.sh build
	@meson setup build >/dev/null || { tail -n 20 build/meson-logs/meson-log.txt >&2; exit 1; }

# The program as it is meant to be run: compiled again by what it was seen to do under load.
release: build/build.ninja
	@tools/release.sh build-release

run: all
	@build/ccproxy

# Everything that is quick: ends in one line "N passed, N failed".
test:
	@tools/test.sh build

# The same under AddressSanitizer and UndefinedBehaviorSanitizer.
asan:
	@tools/test.sh build-asan -Db_sanitize=address,undefined

# Each fuzzer for FUZZ_SECONDS, from its corpus in the tree.
fuzz:
	@tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

# Everything that reads the code instead of running it.
tidy:
	@tools/tidy.sh build-clang

format:
	@$(FORMAT) -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

bench: release
	@tools/install-packages.sh bench
	@ninja -C build --quiet estimate load scrape translate
	@bench/run.py --binary build-release/ccproxy

docs: all
	@mkdir -p docs
	@build/ccproxy help --markdown > docs/configuration.md
	@tools/dashboards.py deploy/grafana/dashboards

clean:
	rm -rf build build-asan build-fuzz build-clang build-release

.PHONY: all release run test asan fuzz tidy format bench docs clean
