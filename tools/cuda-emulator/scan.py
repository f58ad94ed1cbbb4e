#!/usr/bin/env python3
"""scan.py FILE.cu OUT.cpp INCLUDE...: rewrites a file of CUDA kernels for g++ and appends the table of its kernels.

Dynamic shared memory becomes a pointer; the rest is left to shim/emu_cuda.h. The names of the kernels are found in the
preprocessed source, where __global__ reads __EMU_KERNEL__.
"""
import os
import re
import subprocess
import sys

source, out, includes = sys.argv[1], sys.argv[2], sys.argv[3:]
here = os.path.dirname(os.path.abspath(__file__))
path = os.path.abspath(source)

# extern __shared__ T name[];  ->  T* name = dynamic shared memory
text = re.sub(r'extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w:<> ]+?)\s+(\w+)\s*\[\s*\]\s*;',
              r'\1* \2 = (\1*)emu_t.dyn;', open(source).read())
body = os.path.abspath(out) + '.body.cu'
with open(body, 'w') as f:
    f.write('#line 1 "%s"\n%s' % (path, text))

flags = ['-x', 'c++', '-std=c++17', '-I' + here + '/shim', '-I' + os.path.dirname(path)] + includes
command = ['g++', '-E', '-P', '-D__EMU_SCAN__', '-include', here + '/shim/emu_cuda.h'] + flags + [body]
preprocessed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
attribute = r'(?:__attribute__\(\([^;{]*?\)\)\s+)?'
names = []
for m in re.finditer(r'__EMU_KERNEL__\s+' + attribute + r'void\s+' + attribute + r'(\w+)\s*\(', preprocessed):
    if m.group(1) not in names:
        names.append(m.group(1))
if not names:
    sys.exit('scan.py: no kernels in ' + source)

visible = 'extern "C" __attribute__((visibility("default"))) '
with open(out, 'w') as f:
    f.write('#include "%s"\n' % body)
    f.write('static const emu_kernel emu_table[] = {\n')
    f.writelines('EMU_K(%s)\n' % n for n in names)
    f.write('};\n')
    f.write(visible + 'const emu_kernel *emu_kernels(int *n) { *n = %d; return emu_table; }\n' % len(names))
    f.write(visible + 'const char emu_source[] = "%s";\n' % path)
print('%s: %d kernels' % (os.path.basename(source), len(names)))
