#!/bin/sh
# Do both libraries export the functions of the header, and nothing else?
#
#   symbols.sh source-dir libtwal.so libtwal.a soname version-node
set -eu
src=$1 so=$2 archive=$3 soname=$4 node=$5
NM=${NM:-nm} READELF=${READELF:-readelf}
bad=0

complain() {
    printf '%s\n' "$*" >&2
    bad=1
}

# Says what is in one list and not in the other.
compare() {
    if [ "$2" != "$4" ]; then
        complain "$1 and $3 differ:"
        printf '%s\n' "$2" > "${TMPDIR:-/tmp}/twal-symbols.$$"
        printf '%s\n' "$4" | diff "${TMPDIR:-/tmp}/twal-symbols.$$" - >&2 || true
        rm -f "${TMPDIR:-/tmp}/twal-symbols.$$"
    fi
}

# A function's name stands before "(" in the first column or after its type, outside comments.
header=$(sed -n '/^ *\*/d; /^#/d; /^    /d; s/^[a-z].*[ *]\(twal_[a-z0-9_]*\)(.*/\1/p' "$src/include/twal.h" | LC_ALL=C sort)
map=$(sed -n 's/^ *\(twal_[a-z0-9_]*\);$/\1/p' "$src/twal.map" | LC_ALL=C sort)
dynamic=$($NM -D --defined-only "$so" | awk '$2 != "A" {print $3}' | LC_ALL=C sort)
static=$($NM -g --defined-only "$archive" | awk 'NF == 3 {print $3}' | LC_ALL=C sort)

[ "$(printf '%s\n' "$header" | wc -l)" -ge 17 ] || complain "found only these functions in the header: $header"
compare include/twal.h "$header" twal.map "$map"
compare "$so" "$dynamic" "the header, each with version $node" "$(printf '%s\n' "$header" | sed "s/\$/@@$node/")"
compare "$archive" "$static" include/twal.h "$header"

dynamic_section=$($READELF -dW "$so")
case $dynamic_section in
*"soname: [$soname]"*) ;;
*) complain "$so: SONAME is not $soname" ;;
esac
for flag in NOW NODELETE; do
    case $dynamic_section in
    *FLAGS_1*"$flag"*) ;;
    *) complain "$so: not linked with -z $(printf %s $flag | tr A-Z a-z)" ;;
    esac
done
segments=$($READELF -lW "$so")
case $segments in
*GNU_RELRO*) ;;
*) complain "$so: not linked with -z relro" ;;
esac
case $segments in
*GNU_STACK*RWE*) complain "$so: has an executable stack" ;;
esac

[ $bad = 0 ] && printf '  %-8s %s\n' SYMBOLS "$(printf '%s\n' "$header" | wc -l) functions, in the header, the map and both libraries"
exit $bad
