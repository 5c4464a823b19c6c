#!/bin/bash
# Builds and runs the C tests.
#
#   c-tests/run.sh BUILD_DIR [plain|asan|valgrind|tsan|install|headers|soak-kill] [test...]
#
# BUILD_DIR (or, without any argument, $TWAL_BUILD) holds libtwal.so and libtwal.a.  Every *.c with a main() is a test,
# built against the shared and against the static library, run in a process and
# a scratch directory of its own: exit status 0 passed, 1 failed, 77 skipped.
#
#   plain     all tests, shared; static too those that asan leaves out, and what is
#             asked for by name; the header in every standard comes first
#   asan      the C side with AddressSanitizer and UBSan, static, but for those
#             with "t:asan no, <reason>"
#   valgrind  all tests but those that say why not, in their first comment:
#             "t:valgrind no, <reason>"; without its leak check where they say
#             "t:leaks no, <reason>"; shared
#   tsan      what has threads, both sides with ThreadSanitizer, static: BUILD_DIR's
#             libtwal.a is built for it, $TSAN_RUNTIME is rustc's runtime ("make
#             check-tsan"); but for those with "t:tsan no, <reason>"
#   install   "make install" into an empty directory; a C++ and a Zig program
#             are built from there, through pkg-config, and run
#   headers   only the header
#   soak-kill what kills writers, everything mixed, for $TWAL_SOAK_SECONDS (60),
#             all at once, coordinators of transactions $TWAL_TXN_ROUNDS (500)
#             times at least; then how many rounds it were
#
# A test may ask for more than 180 seconds with "t:timeout SECONDS" in its first
# comment, and for files that only some tests are built with, with "t:with FILE...".
# "t:shared no, <reason>" runs it with the static library only.
# Environment: TWAL_SEED, TWAL_TEST_ENGINE (uring, blocking), TWAL_TEST_THIN (fewer rounds, in some),
# TWAL_TEST_DIR, TWAL_INCLUDE (default: include beside c-tests), JOBS (3 a CPU: most wait for the disk),
# CC, CXX, ZIG.
set -u -o pipefail

usage() {
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 2
}
[ $# -ge 1 ] || { [ -n "${TWAL_BUILD:-}" ] && set -- "$TWAL_BUILD"; }
[ $# -ge 1 ] && [ -d "$1" ] || usage

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
mode=${2:-plain}
[ $# -ge 2 ] && shift 2 || shift 1
only=("$@")

include=${TWAL_INCLUDE:-$here/../include}
jobs=${JOBS:-$((3 * $(nproc)))}
CC=${CC:-cc}
CXX=${CXX:-c++}
out=$build/c-tests/$mode
export TWAL_TEST_DIR=${TWAL_TEST_DIR:-$build/c-tests-data}
warnings="-Wall -Wextra -Wpedantic -Werror"
cflags="-std=c11 -D_GNU_SOURCE -g -O1 $warnings -I$include -I$here"
# What rustc says a static libtwal needs (--print native-static-libs).
static_libs="-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc"
wrapper=()
# What differs between the two libraries is linking, which plain looks at; the rest is the same code.
linkages=(shared static)

case $mode in
plain | install | headers) ;;
soak-kill)
    export TWAL_SOAK_SECONDS=${TWAL_SOAK_SECONDS:-60} TWAL_TXN_ROUNDS=${TWAL_TXN_ROUNDS:-500}
    [ ${#only[@]} -gt 0 ] || only=($(cd "$here" && grep -l 't_kill_mixed(.*);$' kill_*.c | grep -v kill_rounds) txn_kill)
    jobs=${JOBS:-$((2 * ${#only[@]}))}
    ;;
asan)
    linkages=(static)
    cflags+=" -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:exitcode=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    ;;
tsan)
    linkages=(static)
    cflags+=" -fsanitize=thread"
    static_libs="-no-pie -Wl,--whole-archive ${TSAN_RUNTIME:?} -Wl,--no-whole-archive $static_libs -lstdc++"
    export TSAN_OPTIONS=${TSAN_OPTIONS:-exitcode=1:die_after_fork=0}
    ;;
valgrind)
    linkages=(shared)
    command -v valgrind >/dev/null || { echo "skipped: no valgrind"; exit 0; }
    wrapper=(valgrind -q --error-exitcode=1 --leak-check=full --show-leak-kinds=definite
             --errors-for-leak-kinds=definite --trace-children=no --fair-sched=try
             --suppressions="$here/valgrind.supp")
    # It does not know every operation of io_uring.
    export TWAL_TEST_ENGINE=${TWAL_TEST_ENGINE:-blocking}
    # A step takes tens of times as long, and is looked at once as well as often.
    export TWAL_TEST_THIN=1
    ;;
*) usage ;;
esac

[ "$mode" = install ] || [ -e "$include/twal.h" ] || { echo "no twal.h in $include"; exit 2; }
mkdir -p "$out" "$TWAL_TEST_DIR"
results=$out/results
rm -rf "$results" && mkdir -p "$results"
passed=0 failed=0 skipped=0

# report ok|FAIL|skipped "why" name seconds
report() {
    case $1 in
    ok) passed=$((passed + 1)); printf 'ok       %s  %s\n' "$3" "$4" ;;
    FAIL) failed=$((failed + 1)); printf 'FAIL     %s  %s%s\n' "$3" "$4" "${2:+  ($2)}" ;;
    *) skipped=$((skipped + 1)); printf 'skipped: %s  %s\n' "$2" "$3" ;;
    esac
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

# A word of the first comment: tag NAME FILE
tag() {
    sed -n "1,/\*\//s/^ \* t:$1 //p" "$2" | head -n 1
}

# ---- the header ----

try() { # name command...
    local name=$1
    shift
    if "$@" >"$out/header.log" 2>&1; then
        report ok "" "$name" ""
    else
        report FAIL "$*" "$name" ""
        sed 's/^/    /' "$out/header.log" | head -n 20
    fi
}

headers() {
    local std
    for std in c99 c11 c17 c2x; do
        try "header in $std" "$CC" -std=$std $warnings -Wconversion -Wstrict-prototypes \
            -I"$include" -fsyntax-only "$here/header_c.c"
    done
    # Anything but 64-bit Linux is an #error, with words.
    if "$CC" -std=c11 -I"$include" -ffreestanding -U__LP64__ -fsyntax-only "$here/header_c.c" \
        >"$out/header.log" 2>&1; then
        report FAIL "no #error" "header without LP64" ""
    elif grep -q '#error.*64-bit' "$out/header.log"; then
        report ok "" "header without LP64 is refused" ""
    else
        report FAIL "no word of 64-bit" "header without LP64" ""
    fi
    command -v "${CXX%% *}" >/dev/null || { report skipped "there is no $CXX" "header in C++" ""; return; }
    for std in c++11 c++14 c++17 c++20; do
        try "header in $std" "$CXX" -std=$std $warnings -Wconversion -Wold-style-cast \
            -Wzero-as-null-pointer-constant -Wno-error=zero-as-null-pointer-constant \
            -I"$include" -fsyntax-only "$here/header_cxx.cc"
    done
}

# ---- the installed library ----

install_mode() {
    local root=$out/root log=$out/install.log zig
    command -v pkg-config >/dev/null || { report skipped "there is no pkg-config" "install" ""; return; }
    command -v "${CXX%% *}" >/dev/null || { report skipped "there is no $CXX" "install" ""; return; }
    rm -rf "$root"
    if ! make -C "$here/.." install DESTDIR="$root" PREFIX=/usr >"$log" 2>&1; then
        tail -n 20 "$log"
        report FAIL "make install" "install" ""
        return
    fi
    report ok "" "make install" ""
    local pc libdir
    pc=$(find "$root" -name twal.pc | head -n 1)
    [ -n "$pc" ] || { report FAIL "no twal.pc" "pkg-config" ""; return; }
    export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=${pc%/*}
    export PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
    libdir=$(dirname "$(find "$root" -name 'libtwal.so' | head -n 1)")

    local dir=$TWAL_TEST_DIR/install
    rm -rf "$dir" && mkdir -p "$dir"
    consumer "C++ consumer (shared)" "$dir/cxx" "$libdir" \
        "$CXX" -std=c++17 $warnings $(pkg-config --cflags twal) "$here/consumer.cc" \
        -o "$out/consumer-cxx" $(pkg-config --libs twal) -pthread
    consumer "C++ consumer (static)" "$dir/cxx-static" "" \
        "$CXX" -std=c++17 $warnings $(pkg-config --cflags twal) "$here/consumer.cc" \
        -o "$out/consumer-cxx-static" "$libdir/libtwal.a" \
        $(pkg-config --static --libs-only-l twal | sed 's/-ltwal//') -pthread

    zig=${ZIG:-}
    [ -n "$zig" ] || { command -v zig >/dev/null && zig=zig; }
    [ -n "$zig" ] || { python3 -m ziglang version >/dev/null 2>&1 && zig="python3 -m ziglang"; }
    if [ -z "$zig" ]; then
        report skipped "no zig; PyPI's ziglang has one" "Zig consumer" ""
    else
        cp "$here/consumer.zig" "$out/consumer.zig"
        if $zig translate-c -lc $(pkg-config --cflags twal) \
            "$(find "$root" -name twal.h | head -n 1)" >"$out/twal.zig" 2>"$log"; then
            consumer "Zig consumer" "$dir/zig" "$libdir" \
                $zig build-exe --dep twal "-Mroot=$out/consumer.zig" "-Mtwal=$out/twal.zig" \
                -lc "$libdir/libtwal.so" "-femit-bin=$out/consumer-zig"
        else
            report FAIL "zig translate-c" "Zig consumer" ""
            head -n 20 "$log"
        fi
    fi
    rm -rf "$dir"
}

# consumer NAME LOG_DIR LIB_DIR command...  The program is what -o or -femit-bin says.
consumer() {
    local name=$1 dir=$2 libdir=$3 log=$out/consumer.log program= arg previous=
    shift 3
    for arg in "$@"; do
        [ "$previous" = -o ] && program=$arg
        case $arg in -femit-bin=*) program=${arg#*=} ;; esac
        previous=$arg
    done
    if ! "$@" >"$log" 2>&1; then
        report FAIL "does not build" "$name" ""
        head -n 20 "$log" | sed 's/^/    /'
        return
    fi
    # Twice: the second run reads what the first left.
    for arg in 1 2; do
        if ! TWAL_CONSUMER_DIR=$dir LD_LIBRARY_PATH=$libdir timeout 60 "$program" "$dir" >"$log" 2>&1; then
            report FAIL "run $arg" "$name" ""
            head -n 20 "$log" | sed 's/^/    /'
            return
        fi
    done
    report ok "" "$name" ""
}

# ---- building ----

shared=(helpers files kill_rounds crashed full_disk)
special=(fault_calls countdown node_helpers txn_helpers txn_participant txn_scenarios)
tests=()
list_tests() {
    local file name
    for file in "$here"/*.c; do
        name=$(basename "$file" .c)
        [ "$mode" = tsan ] && ! grep -q 't_thread(\|pthread_create(\|t_kill_mixed(NULL' "$file" && continue
        case " ${shared[*]} ${special[*]} canary header_c " in *" $name "*) continue ;; esac
        tests+=("$name")
    done
    if [ ${#only[@]} -gt 0 ]; then
        tests=()
        for name in "${only[@]}"; do
            name=$(basename "$name" .c)
            [ -f "$here/$name.c" ] || { echo "no test $name"; exit 2; }
            tests+=("$name")
        done
    fi
}

build_one() { # name: its object, then both programs
    local name=$1 linkage objects
    objects=$(printf " $out/%s.o" "${shared[@]}" $(tag with "$here/$name.c"))
    $CC $cflags -c "$here/$name.c" -o "$out/$name.o" || return
    for linkage in "${linkages[@]}"; do
        case $mode-$linkage in
        tsan-*) # without what the compiler would link: it has a runtime of its own
            $CC "$out/$name.o" $objects -o "$out/$name.static" "$build/libtwal.a" $static_libs ;;
        *-shared) $CC $cflags "$out/$name.o" $objects -o "$out/$name.shared" "$build/libtwal.so" -Wl,-rpath,"$build" -pthread ;;
        *) $CC $cflags "$out/$name.o" $objects -o "$out/$name.static" "$build/libtwal.a" $static_libs ;;
        esac || return
    done
}

build_all() {
    local name
    for name in "${shared[@]}" "${special[@]}"; do
        $CC $cflags -c "$here/$name.c" -o "$out/$name.o" || { report FAIL "does not compile" "$name" ""; finish; }
    done
    for name in canary "${tests[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
        { build_one "$name" >"$out/$name.build" 2>&1 || touch "$out/$name.unbuilt"; } &
    done
    wait
}

# ---- running ----

run_one() { # name linkage: leaves result, reason, time and output in $results
    local name=$1 linkage=$2 seconds status began ended
    local mark=$results/$name.$linkage
    seconds=$(tag timeout "$here/$name.c")
    seconds=$((${seconds:-180} + ${TWAL_SOAK_SECONDS:-0}))
    case $mode in valgrind) seconds=$((seconds * 10)) ;; asan) seconds=$((seconds * 2)) ;; tsan) seconds=$((seconds * 5)) ;; esac
    [ "$mode" = valgrind ] && [ -n "$(tag leaks "$here/$name.c")" ] && wrapper+=(--leak-check=no)
    began=$EPOCHREALTIME
    timeout --signal=TERM --kill-after=5 "$seconds" ${wrapper[@]+"${wrapper[@]}"} "$out/$name.$linkage" >"$mark.log" 2>&1
    status=$?
    ended=$EPOCHREALTIME
    awk -v b="$began" -v e="$ended" 'BEGIN { printf "%.1fs", e - b }' >"$mark.time"
    case $status in
    0) echo ok ;;
    77) sed -n 's/^skipped: /skipped: /p' "$mark.log" | head -n 1 ;;
    124 | 137) echo "FAIL not done after $seconds s" ;;
    *) echo "FAIL exit status $status" ;;
    esac >"$mark.result"
}

show_one() {
    local name=$1 linkage=$2 mark=$results/$1.$2 result time
    result=$(cat "$mark.result" 2>/dev/null)
    time=$(cat "$mark.time" 2>/dev/null)
    case $result in
    ok) report ok "" "$name ($linkage)" "$time" ;;
    skipped:*) report skipped "${result#skipped: }" "$name ($linkage)" "$time" ;;
    *)
        report FAIL "${result#FAIL }" "$name ($linkage)" "$time"
        tail -n 30 "$mark.log" | sed 's/^/    /'
        ;;
    esac
}

run_all() {
    local name linkage why
    local -a queue=()
    for name in "${tests[@]}"; do
        if [ -e "$out/$name.unbuilt" ]; then
            report FAIL "does not build" "$name" ""
            head -n 20 "$out/$name.build" | sed 's/^/    /'
            continue
        fi
        why=$(tag "$mode" "$here/$name.c")
        if [ -n "$why" ]; then
            report skipped "${why#no, }" "$name" ""
            continue
        fi
        why=$(tag shared "$here/$name.c")
        for linkage in "${linkages[@]}"; do
            if [ "$mode-$linkage" = plain-static ] && [ ${#only[@]} -eq 0 ] && [ -z "$why" ] &&
                [ -z "$(tag asan "$here/$name.c")" ]; then
                continue # asan runs it
            elif [ "$linkage" != shared ] || [ -z "$why" ]; then
                queue+=("$name $linkage")
            elif [ ${#linkages[@]} -eq 1 ]; then
                report skipped "${why#no, }" "$name" ""
            fi
        done
    done
    # As many at once as there are jobs; shown in order of their ends.  (Their
    # ends are read off files: "wait -n" can miss one that was quick.)
    local -a running=() left=()
    local one ended
    for name in ${queue[@]+"${queue[@]}"} ""; do
        while [ ${#running[@]} -ge "$jobs" ] || { [ -z "$name" ] && [ ${#running[@]} -gt 0 ]; }; do
            left=() ended=0
            for one in "${running[@]}"; do
                if [ -e "$results/${one/ /.}.done" ]; then
                    show_one $one
                    ended=1
                else
                    left+=("$one")
                fi
            done
            running=(${left[@]+"${left[@]}"})
            [ $ended -eq 1 ] || sleep 0.02
        done
        [ -n "$name" ] || break
        { run_one $name; touch "$results/${name/ /.}.done"; } &
        running+=("$name")
    done
    wait
}

# The alarm must ring: each fault has to be noticed.
canaries() {
    local fault linkage status faults=(check child payload)
    [ "$mode" = asan ] && faults+=(overflow undefined leak)
    [ "$mode" = valgrind ] && faults+=(overflow leak)
    [ "$mode" = tsan ] && faults+=(race)
    if [ -e "$out/canary.unbuilt" ]; then
        report FAIL "does not build" "canary" ""
        head -n 20 "$out/canary.build"
        return
    fi
    for linkage in "${linkages[@]}"; do
        for fault in "${faults[@]}"; do
            timeout 60 ${wrapper[@]+"${wrapper[@]}"} "$out/canary.$linkage" "$fault" >"$out/canary.log" 2>&1
            status=$?
            if [ $status -eq 1 ]; then
                report ok "" "canary fails as it must: $fault ($linkage)" ""
            else
                report FAIL "exit status $status" "canary not noticed: $fault ($linkage)" ""
            fi
        done
        timeout 60 "$out/canary.$linkage" skip >"$out/canary.log" 2>&1
        [ $? -eq 77 ] || report FAIL "exit status is not 77" "canary skip" ""
        timeout 1 "$out/canary.$linkage" hang >"$out/canary.log" 2>&1
        [ $? -eq 124 ] || report FAIL "no timeout" "canary hang" ""
        timeout 60 ${wrapper[@]+"${wrapper[@]}"} "$out/canary.$linkage" >"$out/canary.log" 2>&1 ||
            report FAIL "exit status $?" "canary without a fault" ""
    done
    rm -rf "$TWAL_TEST_DIR"/canary.*
}

case $mode in
headers) headers; finish ;;
install) install_mode; finish ;;
esac
[ -e "$build/libtwal.so" ] || [ "$mode" = tsan ] && [ -e "$build/libtwal.a" ] || { echo "no libtwal.so or libtwal.a in $build"; exit 2; }
rm -f "$out"/*.unbuilt
list_tests
[ "$mode" = plain ] && [ ${#only[@]} -eq 0 ] && headers
build_all
[ ${#only[@]} -eq 0 ] && canaries
run_all
[ "$mode" = soak-kill ] && cat "$results"/*.log | awk '
    / rounds, / { rounds += $2; rate += $4; held += $11; over += $14 }
    END { printf "%d rounds, %.1f a second, %d acknowledgements held, %d taken over\n", rounds, rate, held, over }'
finish
