#!/bin/sh
# Shipping over loopback beside what bounds it: the same bytes read and written on the bare device, and sent over loopback.
#
#   bench/ship.sh [BUILD_DIR [ROUNDS [MIB]]]
#
# BUILD_DIR (build) holds libtwal.so; logs are made in BUILD_DIR/bench-ship, or in $TWAL_BENCH_DIR: on the disk that is
# to be measured.  A round is one run of each, in turn; the medians of the rounds are printed, and those of their ratios.
# Source and follower are on one device, which so reads and writes at a time: half of what it can is all there is.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$here/build}" && pwd)
rounds=${2:-5} mib=${3:-2048}
dir=${TWAL_BENCH_DIR:-$build/bench-ship}
mkdir -p "$dir"
trap 'rm -rf "$dir/ship" "$dir/lines"' EXIT
trap 'exit 1' INT TERM
ship=$build/bench-ship-program limit=$build/bench-ship-limit
${CC:-cc} -O2 -I"$here/include" "$here/examples/ship.c" -o "$ship" "$build/libtwal.so" -pthread -Wl,-rpath,"$build"
${CC:-cc} -O2 "$here/bench/ship_limit.c" -o "$limit" -pthread

: > "$dir/lines"
round=1
while [ "$round" -le "$rounds" ]; do
    rm -rf "$dir/ship"
    shipped=$("$ship" bench "$dir/ship" "$mib" | sed -n 's/.*durable at the follower at \([0-9]*\) MB.*/\1/p')
    rm -rf "$dir/ship"
    sync
    disk=$("$limit" disk "$dir" "$mib")
    sync
    echo "$shipped $disk $("$limit" loopback "$dir" "$mib")" >> "$dir/lines"
    round=$((round + 1))
done

awk '
function median(list, n,    i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
{ a[NR] = $1; b[NR] = $2; c[NR] = $3; d[NR] = $1 / $2; e[NR] = $1 / $3 }
END {
    printf "%-36s %6.0f MB/s\n", "shipped, durable at the follower", median(a, NR)
    printf "%-36s %6.0f MB/s   shipped, times this: %.2f\n", "bare device, read and written", median(b, NR), median(d, NR)
    printf "%-36s %6.0f MB/s   shipped, times this: %.2f\n", "loopback alone", median(c, NR), median(e, NR)
}' "$dir/lines"
