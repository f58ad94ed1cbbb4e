"""Makes the golden values again from their inputs, independently of this repository's Rust.

    python tools/golden/golden.py check DIR
    python tools/golden/golden.py make DIR OUT [--thin]

README.md says what the values are and what is compared.
"""

import argparse
import json
import os
from pathlib import Path

# One thread, so that results do not depend on the number of cores. It must be set before NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import clusters
import compare
import files
import lines
import parts
import training


def compute(folder, stem):
    """Returns all outputs of the file `stem`, in double precision, from its inputs alone."""
    inputs, manifest = folder.inputs(stem), folder.manifest
    network, _, variant = stem.partition("_")
    if stem.startswith("metric_line_eval_"):
        return lines.line_eval(inputs)
    if network in manifest["configs"]:
        config = manifest["configs"][network]
        if variant == "common":
            return training.common(inputs, config)
        if variant in training.VARIANTS:
            # The images of lines are an output of the common file, and an input of the variants.
            shared = folder.inputs(f"{network}_common")
            images = folder.read(f"{network}_common")
            shared |= {name: files.wide(value) for name, value in images.items() if name.startswith("x.")}
            return training.model(shared, inputs, variant, config, manifest)
    computed = {
        "classifier_adam": lambda: parts.classifier_adam(inputs),
        "cluster": lambda: clusters.cluster(inputs),
        "interpolation": lambda: lines.interpolation(inputs),
        "metric_draw_line": lambda: lines.draw_line(inputs),
        "metric_smoothness": lambda: lines.metric_smoothness(inputs),
        "vq_bottleneck": lambda: parts.vq_bottleneck(inputs, manifest),
    }.get(stem)
    if computed is None:
        raise SystemExit(
            f"{folder.file(stem)} is of a kind that is not known here; see tools/golden/README.md"
        )
    return computed()


def check(folder, every):
    """Compares all outputs of a folder and prints a line for each file. Returns whether all passed."""
    total = failed = 0
    for stem in folder.stems:
        recorded = folder.read(stem)
        outputs = [name for name in recorded if not files.is_input(stem, name)]
        computed, tolerances = compute(folder, stem), folder.manifest["tolerances"]
        results = list(compare.file(stem, recorded, outputs, computed, tolerances))
        missed = [result for result in results if not result.passed]
        total, failed = total + len(results), failed + len(missed)
        line = f"{'MISS' if missed else 'ok':4} {stem:32} {len(results):4} comparisons"
        if results:
            worst = max(results, key=lambda result: result.share)
            line += f"; closest to its tolerance: {worst.name}, {worst.error:.1e} of {worst.tolerance:.1e}"
        print(line, flush=True)
        for result in results if every else missed:
            word = "ok" if result.passed else "MISS"
            print(f"     {word:4} {result.name}: {result.error:.2e} of {result.tolerance:.1e}")
    print(f"{len(folder.stems)} files, {total} comparisons, {failed} beyond their tolerance")
    return failed == 0


def make(folder, out, thin):
    """Writes a folder with the same inputs and computed outputs."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise SystemExit(f"{out} is not empty; name a new folder")
    entries = {}
    for stem in folder.stems:
        tensors = files.stored(stem, folder.read(stem), compute(folder, stem))
        packed = thin or folder.file(stem).suffix == ".gz"
        if thin:
            tensors = files.thinned(stem, tensors, folder.manifest)
        entries[f"{stem}.safetensors"] = files.write(out, stem, tensors, packed)
        print(f"made {stem}", flush=True)
    # A thinned folder has a manifest without sizes and shapes.
    short = thin or not any(folder.manifest["files"].values())
    manifest = folder.manifest | {"files": {name: {} if short else entry for name, entry in entries.items()}}
    text = json.dumps(manifest, indent=1) if short else json.dumps(manifest, separators=(",", ":"))
    (out / "manifest.json").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("check", help="compare all values of a folder")
    one.add_argument("folder", type=Path, metavar="DIR")
    one.add_argument("--every", action="store_true", help="print a line for every comparison")
    other = commands.add_parser(
        "make", help="write all values anew, with the inputs and the layout of a folder"
    )
    other.add_argument("folder", type=Path, metavar="DIR")
    other.add_argument("out", type=Path, metavar="OUT")
    other.add_argument("--thin", action="store_true", help="write the thinned form that the repository holds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = files.Folder(options.folder)
    if options.command == "make":
        make(folder, options.out, options.thin)
    elif not check(folder, options.every):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
