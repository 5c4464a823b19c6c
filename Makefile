# twal: build, install, check.  GNU make; needs cargo, a C compiler, binutils.
#
#   make            build/libtwal.so.0.x.y, its links, build/libtwal.a, build/twal.pc, build/twal
#   make install    PREFIX=/usr/local DESTDIR= LIBDIR=... ; make uninstall
#   make check      everything that must hold before a change goes in
#   make soak       crashes on the simulated disk for SOAK_SECONDS, on SOAK_JOBS threads
#   make help       all targets
#
# cargo makes the archive; this file links the shared library from it, because
# rustc drops a version script given to it without a word.  Everything that is
# made lies in $(BUILD) and $(CARGO_TARGET_DIR); both may be outside the tree.

SRC := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
BUILD ?= build
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/twal
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
DESTDIR ?=

CARGO ?= cargo
CC ?= cc
CXX ?= c++
LD ?= ld
AR ?= ar
NM ?= nm
OBJCOPY ?= objcopy
READELF ?= readelf
INSTALL ?= install
CARGOFLAGS ?= --locked
LDFLAGS ?=

CARGO_TARGET_DIR ?= $(BUILD)/cargo
override CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
export CARGO_TARGET_DIR

# Cargo.toml is where the version is written; everything else is derived or tested.
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p;/^version/q' '$(SRC)/Cargo.toml')
MAJOR := $(firstword $(subst ., ,$(VERSION)))
SONAME := libtwal.so.$(MAJOR)
SOFILE := libtwal.so.$(VERSION)
NODE := TWAL_0.1

ARCHIVE := $(CARGO_TARGET_DIR)/release/libtwal.a
NATIVE := $(CARGO_TARGET_DIR)/release/libtwal.native-libs
SYMBOLS = $(shell sed -n 's/^ *\(twal_[a-z0-9_]*\);$$/\1/p' '$(SRC)/twal.map')
# In the tree, because cargo looks for .cargo/config.toml (make vendor) from where it runs.
CARGO_RUN := cd '$(SRC)' && $(CARGO) --color=auto

# What the compilers must not say anything about.
WARN := -Wall -Wextra -Wpedantic -Werror -Wconversion -Wundef
C_STANDARDS := c99 c11 c17 c2x
CXX_STANDARDS := c++11 c++17 c++20

say = @printf '  %-8s %s\n' '$(1)' '$(2)'

# A command that fails in a pipe has failed.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all built help install uninstall header tool-text vendor lint symbols check check-rust check-models check-fuzz check-header \
        check-install check-c check-tsan demo soak soak-kill powerloss fuzz bench bench-report bench-micro \
        bench-peers bench-flushes clean FORCE

all: $(BUILD)/libtwal.a $(BUILD)/$(SOFILE) $(BUILD)/twal.pc $(BUILD)/twal

help:
	@sed -n 's/^#   make/  make/p' '$(SRC)/Makefile'
	@printf '  make %-12s %s\n' \
	    header 'generate include/twal.h from src/ffi' \
	    tool-text 'generate man/twal.1, completions/ and tests/tool/expected of src/bin/twal' \
	    vendor 'copy the dependencies here, so that builds need no network' \
	    lint 'clippy, rustfmt, rustdoc' \
	    symbols 'what both libraries export' \
	    check-c 'the C programs of c-tests' \
	    check-tsan 'what has threads, with ThreadSanitizer; needs a nightly rustc' \
	    soak-kill 'writers killed for SOAK_SECONDS=600' \
	    demo 'a log that is killed and opened again' \
	    soak 'crash states on the simulated disk, SOAK_SECONDS=600 SOAK_JOBS=nproc' \
	    powerloss 'power cuts on real file systems; needs root, POWERLOSS_SECONDS=200 for each' \
	    fuzz 'hostile bytes for FUZZ_SECONDS=60 each; needs nightly Rust and cargo-fuzz' \
	    bench 'speed against the device and against others' \
	    bench-report 'docs/BENCHMARKS.md and its plots of what bench measured' \
	    bench-micro 'speed of the inner parts' \
	    bench-peers 'builds the others, lists which can run here' \
	    bench-flushes 'whether twal and the others flush before they acknowledge; needs strace' \
	    clean 'remove what was made'

# --- build -------------------------------------------------------------------

# cargo itself knows what is out of date; it touches the archive only if so.
# What it needs from the system is asked in the same breath, into $(NATIVE).
$(ARCHIVE): FORCE
	$(call say,CARGO,libtwal.a)
	@mkdir -p $(BUILD) $(dir $(NATIVE))
	@{ $(CARGO_RUN) rustc $(CARGOFLAGS) --quiet --release --lib --crate-type staticlib \
	    -- --cfg twal_c_library --print=native-static-libs=$(NATIVE).new 2>&1 >&3 | \
	    sed '/^note: native artifacts/,/^$$/d' >&2; } 3>&1
	@if [ -s $(NATIVE).new ] && ! cmp -s $(NATIVE).new $(NATIVE); then mv $(NATIVE).new $(NATIVE); else rm -f $(NATIVE).new; fi

$(NATIVE): $(ARCHIVE)
	@test -s $@

# One object of which nothing is global but twal_*, so that a program may link
# another Rust library beside it.
$(BUILD)/libtwal.a: $(ARCHIVE) $(SRC)/twal.map
	$(call say,AR,$@)
	@$(LD) -r --whole-archive --no-gc-sections -o $(BUILD)/twal.whole.o $(ARCHIVE)
	@$(OBJCOPY) --wildcard --keep-global-symbol='twal_*' -R .llvmbc -R .llvmcmd \
	    $(BUILD)/twal.whole.o $(BUILD)/twal.o
	@rm -f $@ $(BUILD)/twal.whole.o
	@$(AR) rcsD $@ $(BUILD)/twal.o
	@rm -f $(BUILD)/twal.o

# nodelete: Rust's thread-locals have destructors, which dlclose() would unmap.
$(BUILD)/$(SOFILE): $(ARCHIVE) $(NATIVE) $(SRC)/twal.map
	$(call say,LINK,$@)
	@$(CC) -shared -o $@ $(LDFLAGS) -Wl,-soname,$(SONAME) -Wl,--version-script='$(SRC)/twal.map' \
	    -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,-z,nodelete -Wl,-z,noexecstack \
	    -Wl,--no-undefined -Wl,--no-undefined-version -Wl,--as-needed \
	    $(SYMBOLS:%=-Wl,-u,%) $(ARCHIVE) $$(cat $(NATIVE))
	@ln -sf $(SOFILE) $(BUILD)/$(SONAME)
	@ln -sf $(SONAME) $(BUILD)/libtwal.so

# Prefixes are those of this run of make, so install makes its own.
write-pc = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)%=$${prefix}%)|' \
    -e 's|@INCLUDEDIR@|$(INCLUDEDIR:$(PREFIX)%=$${prefix}%)|' -e 's|@VERSION@|$(VERSION)|' \
    -e "s|@LIBS_PRIVATE@|$$(cat $(NATIVE))|" '$(SRC)/twal.pc.in'

$(BUILD)/twal.pc: $(SRC)/twal.pc.in $(SRC)/Cargo.toml $(SRC)/Makefile $(NATIVE)
	$(call say,GEN,$@)
	@$(write-pc) > $@

# The program, with what it needs and the library does not.
TOOL := $(CARGO_TARGET_DIR)/tool/twal
$(TOOL): FORCE
	$(call say,CARGO,twal)
	@mkdir -p $(BUILD)
	@$(CARGO_RUN) build $(CARGOFLAGS) --quiet --profile tool --features tool --bin twal

$(BUILD)/twal: $(TOOL)
	@cp $(TOOL) $@

# --- install -----------------------------------------------------------------

# Installs what is built; builds only if nothing is, so that root needs no cargo.
install: $(if $(and $(wildcard $(BUILD)/libtwal.a),$(wildcard $(BUILD)/$(SOFILE)),$(wildcard $(BUILD)/twal)),,all)
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	@$(INSTALL) -d '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(DOCDIR)'
	@$(INSTALL) -m 644 '$(SRC)/include/twal.h' '$(DESTDIR)$(INCLUDEDIR)/twal.h'
	@$(INSTALL) -m 644 $(BUILD)/libtwal.a '$(DESTDIR)$(LIBDIR)/libtwal.a'
	@$(INSTALL) -m 755 $(BUILD)/$(SOFILE) '$(DESTDIR)$(LIBDIR)/$(SOFILE)'
	@ln -sf $(SOFILE) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	@ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/libtwal.so'
	@$(write-pc) > '$(DESTDIR)$(LIBDIR)/pkgconfig/twal.pc'
	@chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/twal.pc'
	@$(INSTALL) -m 644 '$(SRC)/LICENSE-MIT' '$(SRC)/LICENSE-APACHE' '$(DESTDIR)$(DOCDIR)'
	@$(INSTALL) -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(BASHDIR)' '$(DESTDIR)$(ZSHDIR)' '$(DESTDIR)$(FISHDIR)'
	@$(INSTALL) -m 755 $(BUILD)/twal '$(DESTDIR)$(BINDIR)/twal'
	@$(INSTALL) -m 644 '$(SRC)/completions/twal.bash' '$(DESTDIR)$(BASHDIR)/twal'
	@$(INSTALL) -m 644 '$(SRC)/completions/_twal' '$(DESTDIR)$(ZSHDIR)/_twal'
	@$(INSTALL) -m 644 '$(SRC)/completions/twal.fish' '$(DESTDIR)$(FISHDIR)/twal.fish'
	@for page in '$(SRC)'/man/*.[1-9]; do \
	    [ -e "$$page" ] || continue; \
	    $(INSTALL) -d "$(DESTDIR)$(MANDIR)/man$${page##*.}" && \
	    $(INSTALL) -m 644 "$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}"; \
	done

uninstall:
	$(call say,REMOVE,$(DESTDIR)$(PREFIX))
	@rm -f '$(DESTDIR)$(INCLUDEDIR)/twal.h' '$(DESTDIR)$(LIBDIR)/pkgconfig/twal.pc' \
	    '$(DESTDIR)$(LIBDIR)/libtwal.a' '$(DESTDIR)$(LIBDIR)/libtwal.so' \
	    '$(DESTDIR)$(LIBDIR)/$(SONAME)' '$(DESTDIR)$(LIBDIR)/$(SOFILE)' \
	    '$(DESTDIR)$(DOCDIR)/LICENSE-MIT' '$(DESTDIR)$(DOCDIR)/LICENSE-APACHE' '$(DESTDIR)$(BINDIR)/twal' \
	    '$(DESTDIR)$(BASHDIR)/twal' '$(DESTDIR)$(ZSHDIR)/_twal' '$(DESTDIR)$(FISHDIR)/twal.fish'
	@for page in '$(SRC)'/man/*.[1-9]; do \
	    rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; \
	done
	@rmdir '$(DESTDIR)$(DOCDIR)' 2>/dev/null || true

# --- generated, and committed ------------------------------------------------

# tests/header.rs generates it; without the variable it compares.
header:
	$(call say,GEN,include/twal.h)
	@$(CARGO_RUN) build $(CARGOFLAGS) --quiet
	@TWAL_WRITE_HEADER=1; export TWAL_WRITE_HEADER; $(CARGO_RUN) test $(CARGOFLAGS) --quiet --test header the_header_is_what_the_source_says > /dev/null

# tests/tool compares them; with the variable it writes them.
tool-text:
	$(call say,GEN,man/twal.1 completions)
	@TWAL_WRITE_TOOL=1; export TWAL_WRITE_TOOL; $(CARGO_RUN) test $(CARGOFLAGS) --quiet --features tool --test tool > /dev/null

# cargo prints the settings that make it look there, and what it copies on stderr.
vendor:
	$(call say,VENDOR,vendor/)
	@mkdir -p $(BUILD) '$(SRC)/.cargo'
	@$(CARGO) vendor --locked --manifest-path '$(SRC)/Cargo.toml' '$(SRC)/vendor' > $(BUILD)/vendor.config 2> $(BUILD)/vendor.log || \
	    { cat $(BUILD)/vendor.log >&2; exit 1; }
	@sed 's|^directory = .*|directory = "vendor"|' $(BUILD)/vendor.config > '$(SRC)/.cargo/config.toml'
	@rm $(BUILD)/vendor.config $(BUILD)/vendor.log

# --- check -------------------------------------------------------------------

check: lint check-rust check-models check-fuzz check-header built symbols check-install check-c
	@echo 'all checks passed'

# The last link of the library is work for one processor; the program is built on the other one.
built:
	@+$(MAKE) --no-print-directory -j2 all

# What the bench needs beside the library is not in vendor/.
lint:
	$(call say,LINT,clippy rustfmt rustdoc)
	@$(CARGO_RUN) fmt --check
	@$(CARGO_RUN) fmt --check --manifest-path models/Cargo.toml
	@$(CARGO_RUN) fmt --check --manifest-path fuzz/Cargo.toml
	@$(CARGO_RUN) clippy $(CARGOFLAGS) --quiet --all-targets --features tool -- -D warnings
	@$(CARGO_RUN) fmt --check --manifest-path bench/Cargo.toml
	@$(CARGO_RUN) fmt --check --manifest-path bench/peers/Cargo.toml
	@$(if $(wildcard $(SRC)/vendor),,$(CARGO_RUN) clippy $(CARGOFLAGS) --quiet --all-targets --manifest-path bench/Cargo.toml -- -D warnings)
	@$(if $(fuzz-not-here),,$(CARGO_RUN) clippy $(CARGOFLAGS) --quiet --all-targets --manifest-path fuzz/Cargo.toml -- -D warnings)
	@export RUSTDOCFLAGS='-D warnings'; $(CARGO_RUN) doc $(CARGOFLAGS) --quiet --no-deps --document-private-items

check-rust:
	$(call say,TEST,cargo test)
	@$(CARGO_RUN) test $(CARGOFLAGS) --quiet --features tool

# Every order of memory accesses of what threads share without a lock; a workspace of its own.
check-models:
	$(call say,TEST,models)
	@$(if $(wildcard $(SRC)/vendor),echo 'skipped: loom is not in vendor/',mkdir -p $(BUILD); \
	    $(CARGO_RUN) test $(CARGOFLAGS) --quiet --release --manifest-path models/Cargo.toml > $(abspath $(BUILD))/models.log 2>&1 || \
	    { cat $(abspath $(BUILD))/models.log; exit 1; })

# libfuzzer-sys compiles libFuzzer, which is C++, and is not in vendor/.
fuzz-not-here = $(if $(wildcard $(SRC)/vendor),libfuzzer-sys is not in vendor/,$(if $(shell command -v $(firstword $(CXX))),,there is no $(CXX)))

# Every fuzz target is built, and run on its corpus: all that stable Rust allows.  Led by coverage: make fuzz.
check-fuzz:
	$(call say,TEST,fuzz targets)
	@$(if $(fuzz-not-here),echo 'skipped: $(fuzz-not-here)',mkdir -p $(BUILD) && \
	    $(CARGO_RUN) build $(CARGOFLAGS) --quiet --manifest-path fuzz/Cargo.toml --bins && \
	    for target in $(FUZZ_TARGETS); do \
	        '$(CARGO_TARGET_DIR)'/debug/$$target -timeout=25 '$(SRC)/fuzz/corpus/'$$target/* > $(abspath $(BUILD))/fuzz.log 2>&1 || \
	            { cat $(abspath $(BUILD))/fuzz.log; exit 1; }; \
	    done)

check-header:
	@mkdir -p $(BUILD)
	@sh '$(SRC)/tests/header.sh' '$(SRC)/include/twal.h' $(BUILD)/check-header \
	    '$(CC)' '$(CXX)' '$(WARN)' '$(C_STANDARDS)' '$(CXX_STANDARDS)'

symbols: $(BUILD)/libtwal.a $(BUILD)/$(SOFILE)
	@NM='$(NM)' READELF='$(READELF)' sh '$(SRC)/tests/symbols.sh' '$(SRC)' $(BUILD)/$(SOFILE) $(BUILD)/libtwal.a $(SONAME) $(NODE)

# A small program against the installed copy, found through pkg-config's file.
check-install: all
	$(call say,CHECK,install and uninstall)
	@+MAKE='$(MAKE)' CC='$(CC)' sh '$(SRC)/tests/install.sh' '$(SRC)' '$(abspath $(BUILD))'

# The C programs, against both libraries: as they are, with sanitizers on the C
# side, under valgrind, and from an installed copy.
C_MODES ?= plain asan valgrind install
check-c: all
	@for mode in $(C_MODES); do \
	    printf '  %-8s %s\n' TEST "c-tests, $$mode"; \
	    TWAL_INCLUDE='$(SRC)/include' CC='$(CC)' CXX='$(CXX)' MAKE='$(MAKE)' \
	        '$(SRC)/c-tests/run.sh' '$(abspath $(BUILD))' $$mode || exit 1; \
	done

# ThreadSanitizer on what has threads, in C and in Rust.  Not part of check: it needs
# a nightly rustc with its sources, and a second build of everything.
TSAN_TOOLCHAIN ?= nightly
TSAN_TARGET ?= x86_64-unknown-linux-gnu
TSAN_TESTS ?= notify group readers
TSAN_CARGO = cd '$(SRC)' && CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)/tsan' RUSTFLAGS=-Zsanitizer=thread \
    $(CARGO) +$(TSAN_TOOLCHAIN)
TSAN_FLAGS = $(CARGOFLAGS) --quiet -Zbuild-std --target $(TSAN_TARGET)
check-tsan:
	@sysroot=$$(rustc +$(TSAN_TOOLCHAIN) --print sysroot 2> /dev/null) && [ -d "$$sysroot/lib/rustlib/src" ] || \
	    { echo 'skipped: no $(TSAN_TOOLCHAIN) toolchain with rust-src'; exit 0; }; \
	set -e; mkdir -p $(BUILD)/tsan; \
	printf '  %-8s %s\n' CARGO 'libtwal.a for ThreadSanitizer'; \
	($(TSAN_CARGO) rustc $(TSAN_FLAGS) --lib --crate-type staticlib -- --cfg twal_c_library); \
	cp '$(CARGO_TARGET_DIR)/tsan/$(TSAN_TARGET)/debug/libtwal.a' $(BUILD)/tsan/; \
	printf '  %-8s %s\n' TEST 'c-tests, tsan'; \
	TSAN_RUNTIME="$$(ls "$$sysroot"/lib/rustlib/$(TSAN_TARGET)/lib/librustc-*_rt.tsan.a)" TWAL_INCLUDE='$(SRC)/include' \
	    CC='$(CC)' '$(SRC)/c-tests/run.sh' '$(abspath $(BUILD))/tsan' tsan; \
	printf '  %-8s %s\n' TEST 'cargo test $(TSAN_TESTS), tsan'; \
	($(TSAN_CARGO) test $(TSAN_FLAGS) $(TSAN_TESTS:%=--test %))

# The same kill rounds as in check, everything mixed, for as long as told; on the
# file systems that can be mounted here.  Prints the seed of what fails.
SOAK_SECONDS ?= 600
soak-kill: all
	@TWAL_INCLUDE='$(SRC)/include' TWAL_SOAK_SECONDS=$(SOAK_SECONDS) CC='$(CC)' \
	    '$(SRC)/c-tests/run.sh' '$(abspath $(BUILD))' soak-kill

# --- see it work -------------------------------------------------------------

demo: $(BUILD)/libtwal.a $(BUILD)/$(SOFILE)
	@TWAL_BUILD='$(abspath $(BUILD))' TWAL_INCLUDE='$(SRC)/include' CC='$(CC)' '$(SRC)/examples/demo.sh'

# Random lives and crashes on the simulated disk.  SOAK_SEED plays the same again, on one thread in the same order.
SOAK_SECONDS ?= 600
SOAK_JOBS ?= $(shell nproc)
soak:
	@SOAK_SECONDS=$(SOAK_SECONDS) SOAK_JOBS=$(SOAK_JOBS); export SOAK_SECONDS SOAK_JOBS; \
	    $(CARGO_RUN) test $(CARGOFLAGS) --quiet --profile soak --test sim -- --ignored --exact soak_as_long_as_told --nocapture

# A disk in user space, the kernel's own file systems on it, and the power cut at
# many points.  Not part of check: it needs root, FUSE, loop devices and mkfs.
POWERLOSS_SECONDS ?= 200
powerloss: all
	@mkdir -p $(BUILD)/powerloss
	@$(CC) -std=c11 -O2 $(WARN) '$(SRC)/tests/powerloss/disk.c' -o $(BUILD)/powerloss/disk
	@for program in log txn ship; do \
	    $(CC) -std=c11 -O2 $(WARN) -I'$(SRC)/include' -I'$(SRC)/c-tests' '$(SRC)/tests/powerloss/'$$program.c \
	        '$(SRC)/tests/powerloss/lives.c' '$(SRC)/tests/powerloss/histories.c' '$(SRC)/c-tests/helpers.c' '$(SRC)/c-tests/files.c' \
	        '$(SRC)/c-tests/txn_helpers.c' -o $(BUILD)/powerloss/$$program $(BUILD)/libtwal.so -Wl,-rpath,'$(abspath $(BUILD))' -pthread || exit 1; \
	done
	@command -v python3 > /dev/null || { echo 'skipped: there is no python3'; exit 0; }; \
	    python3 '$(SRC)/tests/powerloss/powerloss.py' --build $(BUILD) --seconds $(POWERLOSS_SECONDS) $(POWERLOSS_ARGS) || \
	    { status=$$?; [ $$status = 77 ] || exit $$status; }

# Hostile bytes, led by coverage.  tests/hostile.rs replays fuzz/corpus on stable Rust; what is
# found here goes there by hand, once it is fixed: new inputs are written to $(BUILD)/fuzz.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= segment_header frame_header record name options event v26 holds shipping directory
fuzz:
	@cargo +nightly fuzz --version > /dev/null 2>&1 || { echo 'skipped: there is no nightly Rust with cargo-fuzz'; exit 0; }; \
	for target in $(FUZZ_TARGETS); do \
	    mkdir -p '$(abspath $(BUILD))/fuzz/'$$target && cd '$(SRC)' && \
	    $(CARGO) +nightly fuzz run --sanitizer $(FUZZ_SANITIZER) $$target '$(abspath $(BUILD))/fuzz/'$$target fuzz/corpus/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -artifact_prefix='$(abspath $(BUILD))/fuzz/' -rss_limit_mb=2048 -timeout=25 || exit 1; \
	done
FUZZ_SANITIZER ?= address

# BENCH_ARGS=--help says what else can be asked for.  The others take part if they were built.
TWAL_PEERS := $(CARGO_TARGET_DIR)/release/twal-peers
bench-run = export TWAL_BUILD='$(abspath $(BUILD))'; $(CARGO_RUN) run $(CARGOFLAGS) --quiet --release --manifest-path bench/Cargo.toml --
bench:
	@[ ! -x '$(TWAL_PEERS)' ] || set -- --peers '$(TWAL_PEERS)'; $(bench-run) "$$@" $(BENCH_ARGS)

# Of what bench measured last; measures nothing.
bench-report:
	@$(bench-run) --report $(or $(REPORT_DIR),'$(SRC)/docs') $(BENCH_ARGS)

# Of the inner parts.  MICRO_ARGS: what criterion takes, as a part of a name.
bench-micro:
	@export TWAL_BUILD='$(abspath $(BUILD))'; $(CARGO_RUN) bench $(CARGOFLAGS) --quiet --manifest-path bench/Cargo.toml --bench micro -- $(MICRO_ARGS)

# nodedb-wal wants to be told twice: see bench/peers/Cargo.toml.  PEERS_FEATURES= leaves it out.
PEERS_FEATURES ?= nodedb
bench-peers:
	$(call say,CARGO,twal-peers)
	@$(CARGO_RUN) build $(CARGOFLAGS) --quiet --release --ignore-rust-version --features '$(PEERS_FEATURES)' \
	    --manifest-path bench/peers/Cargo.toml
	@'$(TWAL_PEERS)' --list

# By strace, in the directory where bench makes its logs.
bench-flushes:
	$(call say,CHECK,flushes before acknowledgements)
	@$(CARGO_RUN) build $(CARGOFLAGS) --quiet --release --manifest-path bench/Cargo.toml
	@mkdir -p $(BUILD)/bench
	@sh bench/peers/flushes.sh '$(TWAL_PEERS)' '$(CARGO_TARGET_DIR)/release/twal-bench' '$(abspath $(BUILD))/bench'

clean:
	$(call say,CLEAN,$(BUILD))
	@rm -rf $(BUILD)
