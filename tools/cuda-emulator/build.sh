#!/usr/bin/env bash
# build.sh            builds the emulated device, candle's kernels and those of lerp-kernels (about 2 minutes)
# build.sh FILE.cu... builds only these kernel files again
#
# Needs CUDA_HOME (a CUDA toolkit 12.4 or later with the headers of cuDNN 9: only include/ and bin/nvcc --version are
# used), g++ for x86-64 and python3. Writes only to target/emulator in the workspace.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$root/target/emulator
build=$target/build
lib=$target/lib
own_kernels=$root/crates/lerp-kernels/src/cuda/kernels.cu

fail() { echo "build.sh: $*" >&2; exit 1; }

# kernels FILE.cu NAME: compiles the kernels of a file for the host, as lib/kernels/NAME.so
kernels() {
    local file name dir
    file=$(realpath "$1") name=$2 dir=$(dirname "$(realpath "$1")")
    python3 "$here/scan.py" "$file" "$build/$name.cpp" "-I$dir"
    g++ -std=c++17 -O2 -g1 -fPIC -shared -ffp-contract=off -fno-strict-aliasing -fvisibility=hidden \
        -mtls-dialect=gnu2 -w -include "$here/shim/emu_cuda.h" "-I$here/shim" "-I$dir" \
        "$build/$name.cpp" -o "$build/$name.so.tmp" "-L$lib" -l:libemu.so "-Wl,-rpath,$lib"
    mv "$build/$name.so.tmp" "$lib/kernels/$name.so"
}

finish() {
    echo
    echo "Run: LD_LIBRARY_PATH=$lib target/cuda/release/lerp verify --device cuda"
}

[ "$(uname -m)" = x86_64 ] || fail "the emulator switches between threads in x86-64 assembly; this is $(uname -m)"
mkdir -p "$build" "$lib/kernels"
if [ $# -gt 0 ]; then
    [ -e "$lib/libemu.so" ] || fail "call it once without arguments first"
    for file in "$@"; do
        [ -e "$file" ] || fail "no file $file"
        kernels "$file" "own_$(basename "$file" .cu)"
    done
    finish
    exit 0
fi

[ -n "${CUDA_HOME:-}" ] || fail "set CUDA_HOME to a CUDA toolkit"
[ -e "$CUDA_HOME/include/cuda.h" ] || fail "no $CUDA_HOME/include/cuda.h"
nvcc=$CUDA_HOME/bin/nvcc
[ -x "$nvcc" ] || nvcc=nvcc
major=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
case $major in
    12 | 13) ;;
    *) fail "the toolkit's version is '$major'; 12 and 13 are known" ;;
esac
candle=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/candle-kernels-*/src 2>/dev/null |
    awk -F/ '{ print $(NF - 1) "\t" $0 }' | sort -V | tail -n 1 | cut -f 2)
[ -n "$candle" ] || fail "no sources of candle-kernels: run 'cargo fetch' first"

echo "the device"
objects=()
for file in "$here"/src/*.cpp; do
    object=$build/$(basename "$file" .cpp).o
    g++ -std=c++17 -O3 -march=native -g1 -fPIC -Wall -Wno-deprecated-declarations "-I$CUDA_HOME/include" \
        -c "$file" -o "$object"
    objects+=("$object")
done
bash "$here/stubs.sh" "${objects[@]}" > "$build/stubs.c"
gcc -O1 -fPIC -w -fno-builtin -c "$build/stubs.c" -o "$build/stubs.o"
cat > "$build/libemu.map" <<END
libcudart.so.$major { global: cuda*; __cuda*; };
libcublas.so.$major { global: cublas[A-KM-Z]*; cublasL[!t]*; };
libcublasLt.so.$major { global: cublasLt*; };
libcurand.so.10 { global: curand*; };
libnvrtc.so.$major { global: nvrtc*; };
libcudnn.so.9 { global: cudnn*; };
EMU { global: cu[A-Z]*; emu_*; local: *; };
END
g++ -shared -o "$build/libemu.so.tmp" "${objects[@]}" "$build/stubs.o" "-Wl,--version-script=$build/libemu.map" \
    -Wl,-soname,libemu.so -Wl,-Bsymbolic-functions -lpthread -ldl
mv "$build/libemu.so.tmp" "$lib/libemu.so"
rm -f "$lib"/libcu*.so.* "$lib"/libnvrtc.so.*
for name in cuda.so.1 cudart.so.$major cublas.so.$major cublasLt.so.$major nvrtc.so.$major curand.so.10 cudnn.so.9; do
    ln -sf libemu.so "$lib/lib$name"
done

echo "the kernels of $(basename "$(dirname "$candle")")"
# A copy of candle's kernels, in which the emulator's own header replaces one of candle's.
rm -rf "$build/candle"
mkdir -p "$build/candle"
cp "$candle"/*.cu "$candle"/*.cuh "$build/candle/"
cp "$here/shim/compatibility.cuh" "$build/candle/"
for name in affine binary cast conv fill indexing reduce sort ternary unary; do
    kernels "$build/candle/$name.cu" "candle_$name"
done

echo "the kernels of lerp-kernels"
kernels "$own_kernels" own_kernels
finish
