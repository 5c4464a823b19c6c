#!/bin/sh
# Do twal and each peer flush before they acknowledge?  A short slice with one thread
# under strace: between its start and its end there must be at least as many
# flushes, each after a write, as there were appends (sync), or batches (batch1000).
#
#   flushes.sh [twal-peers [twal-bench [directory]]]
#
# A flush is an fsync or fdatasync that succeeded, or a write with RWF_DSYNC or
# RWF_SYNC, or to a file opened with O_DSYNC or O_SYNC.  sync_file_range is none: it
# does not flush the device's cache.  Flushes asked of io_uring are not seen: of twal it is
# the blocking engine that is traced.
# One line for each slice: name, version, appends or batches, flushes seen (and those it counted itself),
# verdict.  Exits with 1 if one flushes less; a peer that cannot run here is skipped.
set -u

here=$(dirname "$0")
peers=${1:-${CARGO_TARGET_DIR:-$here/../../build/cargo}/release/twal-peers}
bench=${2:-$(dirname "$peers")/twal-bench}
records=300

if [ ! -x "$bench" ]; then
    echo "no $bench: make bench-flushes builds it, or name the binary" >&2
    exit 2
fi
if ! command -v strace > /dev/null; then
    echo 'skipped: there is no strace'
    exit 0
fi
if ! reason=$(strace -o /dev/null true 2>&1); then
    echo "skipped: strace may not trace here: $reason"
    exit 0
fi

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
dir=${3:-$work}
mkdir -p "$dir" || exit 2

# The slice begins after twal-peers or twal-bench opens clear_refs and ends before it opens
# status.  A call that another thread interrupts takes two lines; its result is on
# the second.
count() {
    awk '
        /\/proc\/self\/clear_refs/ { inside = 1; written = 0; next }
        /\/proc\/self\/status/ { inside = 0 }
        /open(at)?\(.*O_D?SYNC/ && match($0, /= [0-9]+<[^>]*>/) {
            path = substr($0, RSTART, RLENGTH); sub(/^= [0-9]+/, "", path); always[path] = 1
        }
        !inside || / = -1 / { next }
        /(write|pwrite64|writev|pwritev|pwritev2)\(/ {
            written = 1
            path = match($0, /\([0-9]+<[^>]*>/) ? substr($0, RSTART, RLENGTH) : ""
            sub(/^\([0-9]+/, "", path)
            if (path in always || /RWF_D?SYNC/) { flushes++; written = 0 }
        }
        /(fsync|fdatasync)(\(| resumed)/ && / = 0/ && written { flushes++; written = 0 }
        /sync_file_range\(/ { ranges++ }
        END { print flushes + 0, ranges + 0 }
    ' "$1"
}

# trace COMMAND...: runs one slice under strace.
trace() {
    strace -f -y -qq -s 0 -o "$work/trace" \
        -e trace=open,openat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range \
        "$@" --threads 1 --dir "$dir" > "$work/out" 2> "$work/err" < /dev/null
}

# alarm COMMAND...: where nobody waits for a flush the check must see fewer of them than appends.
alarm() {
    trace "$@" --count "$records" || { cat "$work/err" >&2; exit 2; }
    read -r flushes ranges <<EOF
$(count "$work/trace")
EOF
    if [ "$flushes" -eq 0 ] || [ "$flushes" -ge "$records" ]; then
        echo "appends that do not wait show $flushes flushes: this check does not see what it looks for" >&2
        exit 2
    fi
}

failed=0
# check NAME VERSION WHAT RECORDS COMMAND...: every so many records are one of what is acknowledged.
check() {
    name=$1 version=$2 what=$3 each=$4
    shift 4
    if ! trace "$@"; then
        printf '%-14s FAILED to run: %s\n' "$name" "$(tail -n 1 "$work/err")"
        failed=1
        return
    fi
    read -r flushes ranges <<EOF
$(count "$work/trace")
EOF
    wanted=$(($(sed -n 's/.*"records":\([0-9]*\).*/\1/p' "$work/out") / each))
    own=$(sed -n 's/.*"flushes":\([0-9a-z]*\),.*/\1/p' "$work/out")
    verdict=ok
    if [ "$wanted" -eq 0 ] || [ "$flushes" -lt "$wanted" ]; then
        verdict='TOO FEW: it acknowledges before a flush'
        failed=1
    fi
    printf '%-14s %-8s %s %s, %s flushes after writes (it counted %s), %s sync_file_range: %s\n' \
        "$name" "$version" "$wanted" "$what" "$flushes" "$own" "$ranges" "$verdict"
}

alarm "$bench" slice async --engine blocking --seconds 600
check twal - appends 1 "$bench" slice sync --engine blocking --seconds 600 --count "$records"
check twal - batches 1000 "$bench" slice batch1000 --engine blocking --seconds 0.2

if [ ! -x "$peers" ]; then
    echo "peers          skipped: no $peers: make bench-peers"
    exit $failed
fi
alarm "$peers" naive async
"$peers" --list > "$work/list" || exit 2
while IFS="$(printf '\t')" read -r peer version reason; do
    if [ "$version" = - ]; then
        printf '%-14s skipped: %s\n' "$peer" "$reason"
        continue
    fi
    check "$peer" "$version" appends 1 "$peers" "$peer" sync --count "$records"
    check "$peer" "$version" batches 1000 "$peers" "$peer" batch1000 --seconds 0.2
done < "$work/list"
exit $failed
