#!/usr/bin/env bash
# Everything that shows whether a CUDA build is right and fast on a GPU, in the order in which it is worth knowing, and
# then as many full-length cells of the paper's Table 1 as time allows. See gpu.md beside this file.
#
#   docs/gpu-check.sh LERP OUT [MINUTES]
#
# LERP: a binary built with --features cuda. OUT: a folder for logs. MINUTES: for all of it (25).
# STEPS, BATCH, LEARN, PRESET, SWEEP: steps of a timing and images of each, the preset of the two runs and that of the
# sweep, more arguments of the sweep: for a trial. PARTS: a pattern of the parts to do, such as 'step-*' ('*').
# TORCH_STEP: a PyTorch script that takes --variant, --dataset, --device, --modes and --steps and prints JSON, to be timed
# beside. RESULTS: where the sweep goes (results/lines-gpu).
set -u
[ $# -ge 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
lerp=$1 out=$2 minutes=${3:-25}
steps=${STEPS:-500} results=${RESULTS:-results/lines-gpu}
batch=${BATCH:-64} preset=${PRESET:-lines}
mkdir -p "$out" || exit 2
end=$(($(date +%s) + minutes * 60))
left() { echo $((end - $(date +%s))); }

# part NAME SECONDS COMMAND...: runs a command for at most so long, keeps what it says, and goes on in any case.
part() {
    local name=$1 limit=$2 began code
    shift 2
    # shellcheck disable=SC2254
    case $name in ${PARTS:-*}) ;; *) return ;; esac
    [ "$(left)" -gt 5 ] || { echo "SKIPPED $name: no time left"; return; }
    [ "$limit" -lt "$(left)" ] || limit=$(left)
    began=$(date +%s)
    timeout --signal=INT --kill-after=30 "$limit" "$@" >"$out/$name.txt" 2>&1
    code=$?
    printf '%-28s exit %3d  %4d s  %s\n' "$name" "$code" $(($(date +%s) - began)) "$(tail -n 1 "$out/$name.txt" | cut -c1-160)"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | tee "$out/gpu.txt"

# 1. Is it right? 3,340 golden values in full f32, draws, lines and kernels against the CPU's, captured steps against
#    launched ones; then the rules of the trait, which compare captured steps once more.
part verify 240 "$lerp" verify --quiet --device cuda
part conformance 240 "$lerp" conformance --device cuda

# 2. Is it fast? A step alone, captured; the same launch by launch, and in full f32; then PyTorch's.
for dataset in lines svhn; do
    for variant in baseline acai; do
        bench=("$lerp" bench step --device cuda --variant "$variant" --dataset "$dataset" --steps "$steps" --batch "$batch" --json)
        part "step-$variant-$dataset" 60 "${bench[@]}"
        part "step-$variant-$dataset-launches" 60 "${bench[@]}" --launches
        part "step-$variant-$dataset-f32" 60 "${bench[@]}" --full-f32
        if [ -n "${TORCH_STEP:-}" ]; then
            part "torch-$variant-$dataset" 120 python3 "$TORCH_STEP" --variant "$variant" --dataset "$dataset" \
                --device cuda --modes nchw,nhwc,compile --steps "$steps" --batch "$batch"
        fi
    done
done
for variant in dropout denoising vae aae vqvae; do
    part "step-$variant-lines" 60 "$lerp" bench step --device cuda --variant "$variant" --steps "$steps" \
        --batch "$batch" --json
done

# 3. Does it learn what the CPU learns? The plan of results/reference/evening, to be set beside it.
for variant in baseline acai; do
    part "train-$variant" 420 "$lerp" train --preset "${LEARN:-evening}" --variant "$variant" --device cuda \
        --out "$out/train"
done
[ ! -d "$out/train/runs" ] || part compare 60 "$lerp" compare "$out/train" results/reference/evening

# 4. The paper's Table 1, packed as measured, until the time is over; the same command goes on where it was.
# shellcheck disable=SC2086
part sweep "$(($(left) > 90 ? $(left) - 60 : 30))" "$lerp" sweep --preset "$preset" ${SWEEP:-} --device cuda --out "$results"
part report 60 "$lerp" report "$results"
echo "Logs: $out; results: $results"
