# shellcheck shell=bash disable=SC2030,SC2031
# Sourced, not run: finds the compilers that the wasm32 and aarch64 tests use.
#
# Three cases, tried in this order for each target:
#   1. the rustc on PATH has the target's standard library (`rustup target add T` was run);
#   2. the rustc on PATH has rust-src, so cargo builds the standard library itself (wasm32 only);
#   3. Debian's own rustc in /usr/bin (packages rustc-web, rust-web-src, ...) does 1 or 2.
# Nothing here calls rustup or installs anything: scripts/setup does the installing.

WASM_TARGET=wasm32-unknown-unknown
ARM_TARGET=aarch64-unknown-linux-gnu
DEBIAN_RUSTC=/usr/bin/rustc

# has_std RUSTC TARGET: is the target's standard library there, ready-made?
has_std() {
    local libdir
    libdir=$("$1" --print target-libdir --target "$2" 2>/dev/null) || return 1
    compgen -G "$libdir/libcore-*.rlib" >/dev/null
}

# has_rust_src RUSTC: are the sources of the standard library there?
has_rust_src() {
    [ -e "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/Cargo.lock" ]
}

# new_enough RUSTC: is it at least the workspace's rust-version?
new_enough() {
    local want have
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$("$1" --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ]
}

# is_debian_rustc RUSTC: not rustup's, so cargo must be Debian's as well.
is_debian_rustc() { [ "$1" = "$DEBIAN_RUSTC" ]; }

# candidates: the compilers to try, the one on PATH first.
candidates() {
    command -v rustc
    [ "$(command -v rustc)" = "$DEBIAN_RUSTC" ] || { [ -x "$DEBIAN_RUSTC" ] && echo "$DEBIAN_RUSTC"; }
}

# wasm_linker RUSTC: a wasm-ld of the compiler's own LLVM version, or nothing (rustup ships rust-lld).
wasm_linker() {
    local llvm
    llvm=$("$1" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    command -v "wasm-ld-$llvm" || command -v wasm-ld
}

# find_wasm: sets wasm_rustc and wasm_build_std ("" or "yes"); fails if there is no way to build.
find_wasm() {
    local rustc
    for rustc in $(candidates); do
        new_enough "$rustc" || continue
        wasm_rustc=$rustc
        wasm_build_std=
        has_std "$rustc" "$WASM_TARGET" && return 0
        wasm_build_std=yes
        has_rust_src "$rustc" || continue
        is_debian_rustc "$rustc" && [ -z "$(wasm_linker "$rustc")" ] && continue
        return 0
    done
    return 1
}

# find_arm: sets arm_rustc; fails if there is no standard library, no linker or no emulator.
find_arm() {
    local rustc
    command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null || return 1
    for rustc in $(candidates); do
        arm_rustc=$rustc
        new_enough "$rustc" && has_std "$rustc" "$ARM_TARGET" && return 0
    done
    return 1
}

# find_mca: sets llvm_mca, the newest there is; fails if it is older than 19 or there is no host compiler.
find_mca() {
    llvm_mca=$(compgen -G '/usr/bin/llvm-mca-*' | sort -V | tail -n 1)
    [ -n "$llvm_mca" ] && [ "${llvm_mca##*-}" -ge 19 ] && command -v gcc >/dev/null
}

# cargo_of RUSTC: the cargo that belongs to a compiler.
cargo_of() { if is_debian_rustc "$1"; then echo /usr/bin/cargo; else command -v cargo; fi; }

# wasm_flags VARIANT: a wasm module cannot ask what its engine can do, so each variant is a build.
# getrandom knows no source of randomness on this target; the final module provides one.
# With threads, the page makes the memory, as large as it wishes up to 4 GiB, and hands it to every instance; the
# exports are what wasm-bindgen needs to give each its own stack and thread-local variables.
wasm_flags() {
    local features link='' symbol
    case $1 in
        simd | relaxed) features=+simd128 ;; # rustc_relaxed has the rest
        threads)
            features=+simd128,+relaxed-simd,+atomics,+bulk-memory,+mutable-globals
            link="-C link-arg=--shared-memory -C link-arg=--import-memory -C link-arg=--max-memory=4294967296"
            for symbol in __wasm_init_tls __tls_size __tls_align __tls_base; do
                link+=" -C link-arg=--export=$symbol"
            done
            ;;
        *) echo "toolchain: unknown wasm variant $1 (simd, relaxed, threads)" >&2; return 1 ;;
    esac
    echo "-C target-feature=$features --cfg getrandom_backend=\"custom\" $link"
}

# wasm_module VARIANT PACKAGE: where wasm_build leaves the module.
wasm_module() { echo "target/wasm/$1/${2//-/_}.wasm"; }

# wasm_build VARIANT PACKAGES...: the packages' modules for wasm32, optimized, after find_wasm.
#
# Cargo chooses the features of dependencies for the packages of a call together, and compiles them anew for another choice.
# EDGELLM_WASM_TOGETHER names packages that are always built along, so that who needs them all has one choice.
#
# Relaxed SIMD matters to our own crates only. So the standard library and the dependencies are built once for simd
# and relaxed, in one folder of cargo's, and our own crates are compiled through rustc_relaxed, whose libraries cargo
# keeps apart from plain rustc's. Not so the modules at the end, whose names bear no hash: a variant's, with cargo's
# notes about them, are put in place before it looks and taken away afterwards, or it would link them anew each time.
wasm_build() {
    local variant=$1 folder=simd wrapper='' flags package linker
    local -a packages=()
    shift
    flags=$(wasm_flags "$variant") || return 1
    case $variant in
        relaxed) wrapper=$PWD/scripts/rustc_relaxed ;;
        threads) folder=threads ;;
    esac
    for package in "$@"; do packages+=(-p "$package"); done
    # Threads are for the page only.
    if [ "$variant" != threads ]; then
        for package in ${EDGELLM_WASM_TOGETHER:-}; do packages+=(-p "$package"); done
    fi
    (
        export RUSTC=$wasm_rustc CARGO_TARGET_DIR=target/wasm/cargo-$folder
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=$flags
        if [ -n "$wrapper" ]; then export RUSTC_WORKSPACE_WRAPPER=$wrapper; fi
        # A ready-made standard library is never one for threads.
        if [ -n "$wasm_build_std" ] || [ "$variant" = threads ]; then
            export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
        fi
        if is_debian_rustc "$wasm_rustc"; then
            linker=$(wasm_linker "$wasm_rustc")
            export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
        fi
        cargo=$(cargo_of "$wasm_rustc")
        deps=$CARGO_TARGET_DIR/$WASM_TARGET/release/deps
        notes=$CARGO_TARGET_DIR/$WASM_TARGET/release/.fingerprint
        own=target/wasm/$variant
        mkdir -p "$deps" "$notes" "$own/notes"
        # What a build that was stopped has left.
        find "$deps" -maxdepth 1 -name 'edgellm_*.wasm' -delete
        find "$notes" -maxdepth 1 -name 'edgellm-*' -exec rm -r {} +
        find "$own" -maxdepth 1 -name '*.wasm' -exec mv -t "$deps" {} +
        find "$own/notes" -mindepth 1 -maxdepth 1 -exec mv -t "$notes" {} +
        "$cargo" build --target "$WASM_TARGET" --release --locked "${packages[@]}"
        status=$?
        find "$deps" -maxdepth 1 -name 'edgellm_*.wasm' -exec mv -t "$own" {} +
        find "$notes" -maxdepth 1 -name 'edgellm-*' -exec mv -t "$own/notes" {} +
        exit $status
    )
}

# arm_cargo CPU COMMAND ARGS...: cargo for aarch64, after find_arm; programs run as on that CPU. Dependencies are not
# optimized, because few of them run there: compiling them takes longer.
arm_cargo() {
    local cpu=$1 command=$2
    shift 2
    (
        export RUSTC=$arm_rustc CARGO_TARGET_DIR=target/aarch64 CARGO_PROFILE_DEV_OPT_LEVEL=0
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $cpu -L /usr/aarch64-linux-gnu"
        "$(cargo_of "$arm_rustc")" "$command" --target "$ARM_TARGET" "$@"
    )
}
