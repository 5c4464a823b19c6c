#!/bin/sh
# Can a program be built against the installed copy, does the tool run, and is
# everything gone after uninstall?
#
#   install.sh source-dir build-dir
set -eu
src=$1 build=$2
MAKE=${MAKE:-make} CC=${CC:-cc}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
to() {
    "$MAKE" --no-print-directory -s -f "$src/Makefile" BUILD="$build" PREFIX=/usr DESTDIR="$dir/root" "$@" > /dev/null
}

to install
cat > "$dir/program.c" <<'C'
#include <stdio.h>
#include <string.h>
#include <twal.h>
int main(void)
{
    twal_error error = TWAL_ERROR_INIT;
    if (twal_version_number() != TWAL_VERSION_NUMBER ||
        strcmp(twal_version_string(), TWAL_VERSION_STRING) != 0)
        return 1;
    if (twal_open("", NULL, NULL) != TWAL_E_INVAL)
        return 2;
    if (twal_last_error(&error) != TWAL_OK || error.code != TWAL_E_INVAL)
        return 3;
    return 0;
}
C

root=$dir/root/usr
private=$(sed -n 's/^Libs.private: //p' "$root/lib/pkgconfig/twal.pc")
if command -v pkg-config > /dev/null; then
    export PKG_CONFIG_LIBDIR="$root/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$dir/root"
    # pkg-config leaves out what is a system path without the sysroot.
    flags="-I$root/include -L$root/lib $(pkg-config --libs-only-l twal)"
    [ "$(pkg-config --modversion twal)" = "$(sed -n 's/^Version: //p' "$root/lib/pkgconfig/twal.pc")" ]
else
    flags="-I$root/include -L$root/lib -ltwal"
fi

# shellcheck disable=SC2086
$CC -o "$dir/shared" "$dir/program.c" $flags
LD_LIBRARY_PATH=$root/lib "$dir/shared"
# shellcheck disable=SC2086
$CC -o "$dir/static" "$dir/program.c" -I"$root/include" "$root/lib/libtwal.a" $private
"$dir/static"

[ "$("$root/bin/twal" --version)" = "twal $(sed -n 's/^Version: //p' "$root/lib/pkgconfig/twal.pc")" ]
# What debuggers read would be six times the program.
if ${READELF:-readelf} -SW "$root/bin/twal" | grep -q '\.debug_'; then
    echo "$root/bin/twal has debugging information" >&2
    exit 1
fi
for file in share/man/man1/twal.1 share/man/man7/twal.7 share/bash-completion/completions/twal \
    share/zsh/site-functions/_twal share/fish/vendor_completions.d/twal.fish; do
    [ -s "$root/$file" ] || { printf 'not installed: %s\n' "$file" >&2; exit 1; }
done

to uninstall
left=$(find "$dir/root" ! -type d)
if [ -n "$left" ]; then
    printf 'left behind by uninstall:\n%s\n' "$left" >&2
    exit 1
fi
