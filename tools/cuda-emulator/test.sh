#!/usr/bin/env bash
# test.sh: tests of the emulated device itself (after build.sh; needs CUDA_HOME with a working nvcc).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/target/emulator
[ -e "$target/lib/libemu.so" ] || { echo "test.sh: call build.sh first" >&2; exit 1; }
: "${CUDA_HOME:?test.sh: set CUDA_HOME to a CUDA toolkit}"
mkdir -p "$target/test/kernels"
bash "$here/build.sh" "$here/test/test_kernels.cu" > /dev/null
mv "$target/lib/kernels/own_test_kernels.so" "$target/test/kernels/"
"$CUDA_HOME/bin/nvcc" -ptx -arch=sm_90 -o "$target/test/test_kernels.ptx" "$here/test/test_kernels.cu"
g++ -std=c++17 -O1 -w "-I$CUDA_HOME/include" "$here/test/test.cpp" -o "$target/test/test" \
    "-L$target/lib" -l:libemu.so "-Wl,-rpath,$target/lib"
harmless='capture ended|warning:|has no entry t_nothing|too many threads in a block|a dimension is 0'
mistakes=('FREED' 'freed before' 'pass the end of allocation' 'deadlock in block' 'AFTER allocation'
    'on a capturing stream' 'cuMemAlloc_v2 is not permitted' 'recorded outside of the capture')
for order in forward reverse; do
    for strict in 0 1; do
        echo "order $order, strict $strict"
        EMU_KERNELS=$target/test/kernels EMU_ORDER=$order EMU_STRICT=$strict \
            "$target/test/test" "$target/test/test_kernels.ptx" 2> "$target/test/errors.txt"
        # Before the mark there may only be the lines that the tests of refused calls provoke.
        if sed '/^---- errors/,$d' "$target/test/errors.txt" | grep '^EMU:' | grep -vE "$harmless"; then
            echo "test.sh: an error where none was expected" >&2
            exit 1
        fi
        # After the mark, every mistake must have been reported.
        for mistake in "${mistakes[@]}"; do
            if ! sed '1,/^---- errors/d' "$target/test/errors.txt" | grep "$mistake" > /dev/null; then
                echo "test.sh: '$mistake' was not reported" >&2
                exit 1
            fi
        done
    done
done
