#!/usr/bin/env bash
# stubs.sh OBJECT...: prints C source with a stub for each CUDA function that the program refers to (the list in
# crates/lerp-kernels/src/cuda/loader/symbols.rs) and that the given object files do not define. A stub prints its name
# and aborts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
symbols=$here/../../crates/lerp-kernels/src/cuda/loader/symbols.rs
have=$(nm --defined-only "$@" | awk '$2 == "T" { print $3 }' | LC_ALL=C sort -u)
# The names are in lists: a line that ends in '[' opens one, and a line that starts with ']' closes it.
lists='/\[[[:space:]]*$/ { on = 1; next } /^[[:space:]]*\]/ { on = 0 } on { for (i = 1; i <= NF; i++) print $i }'
all=$(awk "$lists" "$symbols" |
    grep -E '^(cu|nvrtc)[A-Za-z0-9_]+$' | LC_ALL=C sort -u)
[ -n "$all" ] || { echo "stubs.sh: no names in $symbols" >&2; exit 1; }
echo 'void emu_unimplemented(const char *);'
LC_ALL=C comm -13 <(echo "$have") <(echo "$all") | while read -r name; do
    echo "void $name(void) { emu_unimplemented(\"$name\"); }"
done
