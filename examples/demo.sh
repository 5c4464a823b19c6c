#!/bin/sh
# Shows the promise at work on real bytes: a writer is killed with SIGKILL in
# the middle of a file, started again, and the log gives the file back byte for
# byte.  With both engines.  Run by "make demo", after the build; DEMO_DIR says
# where the data goes (build/demo), DEMO_INPUT which file is carried through.
set -eu

cd "$(dirname "$0")/.."
build=${TWAL_BUILD:-$PWD/build}
include=${TWAL_INCLUDE:-$PWD/include}
dir=${DEMO_DIR:-$build/demo}
cc=${CC:-cc}
demo=$build/demo-bin/demo
at_most=$((64 * 1024 * 1024))
at_least=$((20 * 1024 * 1024))

fail() {
    echo "demo.sh: $*" >&2
    exit 1
}

[ -e "$build/libtwal.so" ] || fail "$build/libtwal.so is not there: run make"
mkdir -p "$dir" "$build/demo-bin"
"$cc" -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -I"$include" examples/demo.c -o "$demo" \
    -L"$build" -ltwal -Wl,-rpath,"$build" -pthread

# A real file of this machine that is big enough: parts of the compilers that built twal.
find_input() {
    if [ -n "${DEMO_INPUT:-}" ]; then
        echo "$DEMO_INPUT"
        return
    fi
    sysroot=$(rustc --print sysroot 2>/dev/null || echo /nonexistent)
    for file in "$sysroot"/bin/rustc "$sysroot"/bin/cargo "$sysroot"/lib/librustc_driver*.so \
        "$("$cc" -print-prog-name=cc1)" /usr/bin/cargo /usr/lib/*/libLLVM*.so*; do
        [ -f "$file" ] && [ "$(wc -c <"$file")" -ge "$at_least" ] && echo "$file" && return
    done
    return 1
}

source=$(find_input) || fail "no file of 20 MB found: give one in DEMO_INPUT"
input=$dir/input
head -c "$at_most" "$source" >"$input"
echo "input: $source, $(wc -c <"$input") bytes of it"

# Starts the writer, and kills it when one in $1 chunks is acknowledged.  The
# writer tells through a pipe; nothing here waits by time.
# 0: killed in the middle; 1: it was done before the signal came.
write_and_kill() {
    rm -rf "$log" "$acks" "$pipe"
    mkfifo "$pipe"
    "$demo" write "$log" "$input" --engine "$engine" --acks "$acks" --progress >"$pipe" &
    writer=$!
    killed=
    while IFS= read -r line; do
        case $line in
        "acknowledged "*)
            all=${line##* }
            count=${line#acknowledged }
            count=${count%% *}
            if [ -z "$killed" ] && [ $((count * $1)) -ge "$all" ]; then
                kill -KILL "$writer" || true # done already: wait tells
                killed=$count
            fi
            ;;
        *) echo "$line" ;;
        esac
    done <"$pipe"
    status=0
    wait "$writer" 2>/dev/null || status=$?
    rm -f "$pipe"
    case $status in
    137) return 0 ;;
    0) return 1 ;;
    *) fail "the writer failed with status $status" ;;
    esac
}

# How many chunks the writer was told are durable: bytes of the file that are not 0.
acknowledged() {
    tr -d '\000' <"$acks" | wc -c
}

run() {
    engine=$1
    log=$dir/log-$engine
    acks=$dir/acks-$engine
    pipe=$dir/pipe-$engine
    echo
    echo "== engine $engine"

    # A fast disk may finish before the signal comes: then earlier.
    for share in 3 10 50 none; do
        [ $share = none ] && fail "the writer was always done before it could be killed: give a larger file in DEMO_INPUT"
        write_and_kill $share && break
    done
    echo "-- killed with SIGKILL after it had reported $killed of $all chunks as acknowledged; by then $(acknowledged) were"

    echo "-- started again"
    "$demo" write "$log" "$input" --engine "$engine" --acks "$acks"

    echo "-- started once more, with nothing left to do"
    again=$("$demo" write "$log" "$input" --engine "$engine" --acks "$acks")
    echo "$again" | grep -E 'recovered|to do'
    echo "$again" | grep -q " 0 of $all chunks" || fail "chunks were missing after a run that ended well"

    echo "-- read back"
    "$demo" verify "$log" "$input" --rebuild "$dir/rebuilt"
    cmp "$input" "$dir/rebuilt" || fail "the rebuilt file differs"
    echo "  cmp                    $input and $dir/rebuilt are the same"
    rm -rf "$log" "$acks" "$dir/rebuilt"
    summary="$summary
  $engine: killed at $killed of $all chunks, recovered, continued, verified byte for byte"
}

summary=
# An empty input tells whether the engine is to be had.
available() {
    rm -rf "$dir/log-try"
    status=0
    why=$("$demo" write "$dir/log-try" /dev/null --engine "$1" 2>&1 >/dev/null) || status=$?
    rm -rf "$dir/log-try"
    case $status in
    0) return 0 ;;
    3) echo && echo "== engine $1: ${why#demo: }" && return 1 ;;
    *) fail "$why" ;;
    esac
}

if available uring; then
    run uring
else
    summary="
  uring: not run, not available here"
fi
available blocking || fail "not even the blocking engine runs in $dir: set DEMO_DIR to a folder on a disk"
run blocking
rm -f "$input"
echo
echo "summary$summary"
