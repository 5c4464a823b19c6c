#!/bin/sh
# The example node beside Redis with appendfsync always, by redis-benchmark: SET and MSET by 50 clients without pipelining.
#
#   bench/node.sh [BUILD_DIR [ROUNDS [REQUESTS]]]
#
# BUILD_DIR (build) holds libtwal.so; logs are made in BUILD_DIR/bench-node, or in $TWAL_BENCH_DIR: on the disk that is
# to be measured.  A round is one run of each, in turn; the medians of the rounds are printed, and those of their ratios.
# Needs Debian's redis-server and redis-tools.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$here/build}" && pwd)
rounds=${2:-5} requests=${3:-50000} port=${PORT:-17379}
dir=${TWAL_BENCH_DIR:-$build/bench-node}
for tool in redis-server redis-benchmark redis-cli; do
    command -v $tool > /dev/null || { echo "skipped: there is no $tool"; exit 0; }
done
mkdir -p "$dir"
node=$build/bench-node-program
${CC:-cc} -O2 -I"$here/include" "$here"/examples/node/*.c -o "$node" "$build/libtwal.so" -Wl,-rpath,"$build"

server=
stop() {
    [ -z "$server" ] || { kill "$server" && wait "$server" || true; }
    server=
}
trap 'stop; rm -rf "$dir/node" "$dir/redis" "$dir/lines"' EXIT
trap 'exit 1' INT TERM

start() { # node|redis
    rm -rf "${dir:?}/$1" && mkdir "$dir/$1"
    case $1 in
    node) "$node" --dir "$dir/node/log" --port "$port" > /dev/null & ;;
    redis) redis-server --port "$port" --bind 127.0.0.1 --dir "$dir/redis" --save '' --appendonly yes \
        --appendfsync always --auto-aof-rewrite-percentage 0 --loglevel warning > /dev/null & ;;
    esac
    server=$!
    until redis-cli -p "$port" ping > /dev/null 2>&1; do kill -0 "$server" && sleep 0.1; done
}

: > "$dir/lines"
round=1
while [ "$round" -le "$rounds" ]; do
    for who in $([ $((round % 2)) = 1 ] && echo node redis || echo redis node); do
        start $who
        redis-benchmark -p "$port" -c 50 -n "$requests" -d 128 -r 100000 -t set,mset --csv |
            sed -n "s/^\"\(SET\|MSET[^\"]*\)\",/$round,$who,\1,/p" | tr -d '"' >> "$dir/lines"
        stop
        sync
    done
    round=$((round + 1))
done

# round,who,test,rps,avg,min,p50,p95,p99,max
awk -F, '
function median(list, n,    i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
{ rps[$1, $2, $3] = $4; p50[$1, $2, $3] = $7; p99[$1, $2, $3] = $9; tests[$3]; if ($1 > rounds) rounds = $1 }
END {
    printf "%-16s %-6s %12s %9s %9s %10s %10s\n", "request", "", "requests/s", "p50 ms", "p99 ms", "× Redis", "p99 ×"
    for (test in tests) for (w = 1; w <= 2; w++) {
        who = w == 1 ? "node" : "redis"
        for (r = 1; r <= rounds; r++) {
            a[r] = rps[r, who, test]; b[r] = p50[r, who, test]; c[r] = p99[r, who, test]
            d[r] = a[r] / rps[r, "redis", test]; e[r] = c[r] / p99[r, "redis", test]
        }
        printf "%-16s %-6s %12.0f %9.3f %9.3f %10.2f %10.2f\n", test, who, median(a, rounds), median(b, rounds), median(c, rounds), median(d, rounds), median(e, rounds)
    }
}' "$dir/lines"
