"""Folders of golden values: which tensors are inputs, how outputs are stored, reading and writing.

A folder holds `manifest.json` and the `.safetensors` files that it lists, which may be compressed with gzip.
An output is stored whole under its name, or in parts under NAME.digest, NAME.head and NAME.samples.
"""

import gzip
import json
import zlib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

PARTS = (".digest", ".head", ".samples")
HEAD, SAMPLES = 8, 256

# The inputs of each file, as patterns of their names. The first pattern that fits the name of a file counts.
# Every other tensor is an output. Computations get the inputs alone, so they cannot use a recorded output.
INPUTS = {
    # The images of lines are drawn from the recorded angles.
    "lines_common": ["param0.*", "h", "label.step*", "angle.step*"],
    "*_common": ["param0.*", "h", "label.step*", "x.step*"],
    "classifier_adam": [
        "*.x",
        "*.label",
        "*.weight",
        "*.bias",
        "adam.param0",
        "adam.grads",
        "lr_schedule.step",
    ],
    "cluster": ["*_latents", "*_labels", "match_*.assign", "match_*.labels"],
    "interpolation": ["*.start", "*.end"],
    "metric_draw_line": ["angle", "angle_16"],
    "metric_line_eval_*": ["input"],
    "metric_smoothness": ["angles"],
    "vq_bottleneck": ["means0", "ema_count0", "ema_means0", "vch2.*", "vcfin.*", "x.step*"],
    # Files of a variant. Dropout's mask and ACAI's folded coefficients are computed from the other draws.
    "*": [
        "param0.*",
        "draw.*.keep_uniform",
        "draw.*.noise",
        "draw.*.eps",
        "draw.*.prior",
        "draw.*.alpha_raw",
    ],
}


def is_input(stem, name):
    """Returns whether the tensor `name` of the file `stem` is an input."""
    patterns = next(patterns for files, patterns in INPUTS.items() if fnmatch(stem, files))
    return any(fnmatch(name, pattern) for pattern in patterns)


def base(name):
    """Returns the name of the output that the stored tensor `name` is, or is a part of."""
    return next((name.removesuffix(part) for part in PARTS if name.endswith(part)), name)


class Folder:
    """A folder of golden values."""

    def __init__(self, path):
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            raise SystemExit(f"{self.path} has no manifest.json; name a folder of golden values")
        self.manifest = json.loads(manifest.read_text())
        self.stems = [name.removesuffix(".safetensors") for name in self.manifest["files"]]

    def file(self, stem):
        """Returns the path of the file `stem`, compressed or not."""
        plain = self.path / f"{stem}.safetensors"
        packed = self.path / f"{stem}.safetensors.gz"
        found = next((path for path in (plain, packed) if path.is_file()), None)
        if found is None:
            raise SystemExit(f"{plain} is missing, though manifest.json lists it; copy the folder again")
        return found

    def read(self, stem):
        """Returns all tensors of the file `stem` by name, with the types in which they are stored."""
        path = self.file(stem)
        try:
            content = path.read_bytes()
            return load(gzip.decompress(content) if path.suffix == ".gz" else content)
        except (OSError, EOFError, zlib.error, SafetensorError) as error:
            raise SystemExit(f"{path} is cut short or damaged ({error}); copy it again") from error

    def inputs(self, stem):
        """Returns the inputs of the file `stem`, with floating-point numbers in `float64`."""
        tensors = {name: value for name, value in self.read(stem).items() if is_input(stem, name)}
        return {name: wide(value) for name, value in tensors.items()}


def wide(array):
    """Returns floating-point numbers as `float64`, and others as they are."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def part_of(name, whole):
    """Returns what is stored as `name`: the whole output, its digest, its first values, or samples of it."""
    flat = whole.reshape(-1)
    if name.endswith(".digest"):
        return digest(flat)
    if name.endswith(".head"):
        return flat[:HEAD]
    if name.endswith(".samples"):
        return flat[: SAMPLES * (flat.size // SAMPLES) : max(flat.size // SAMPLES, 1)]
    return whole


def digest(flat):
    """Returns sum, Euclidean norm, sum of absolute values, and the product with cos(k) over the index k."""
    flat = flat.astype(np.float64)
    return np.array(
        [flat.sum(), np.sqrt(flat @ flat), np.abs(flat).sum(), flat @ np.cos(np.arange(flat.size))]
    )


def stored(stem, recorded, computed):
    """Returns the tensors of a new file: the recorded inputs, and computed outputs in the same layout."""
    out = {}
    for name, old in recorded.items():
        if is_input(stem, name):
            out[name] = old
            continue
        whole = computed[base(name)]
        # Parts are those of the output as it would be stored whole, in single precision.
        if name.endswith(PARTS):
            whole = whole.astype(np.float32)
        value = np.ascontiguousarray(part_of(name, whole).astype(old.dtype))
        out[name] = value.reshape(old.shape)
    return out


def thinned(stem, tensors, manifest):
    """Returns the tensors of a thinned file.

    In files of variants, outputs, gradients and later parameters of more than 64 numbers become a digest and
    their first values, and samples are left out. Other files stay whole.
    """
    network, _, variant = stem.partition("_")
    if network not in manifest["configs"] or variant == "common":
        return tensors
    out = {}
    for name, value in tensors.items():
        # Indices stay whole because they are compared exactly, the codebook because it is small.
        whole = value.dtype != np.float32 or ".vq.means" in name or ".vq.ema_" in name
        if name.endswith(".samples"):
            continue
        if is_input(stem, name) or name.startswith("draw.") or value.size <= 64 or whole:
            out[name] = value
        else:
            out[f"{name}.digest"], out[f"{name}.head"] = digest(value.reshape(-1)), value.reshape(-1)[:HEAD]
    return out


def write(folder, stem, tensors, packed):
    """Writes a file, and returns its entry for the manifest of a folder that is not thinned."""
    content = save(tensors)
    path = folder / f"{stem}.safetensors{'.gz' if packed else ''}"
    # The header of gzip would hold the time, so that the same tensors would not give the same bytes.
    path.write_bytes(gzip.compress(content, 9, mtime=0) if packed else content)
    kinds = {
        name: [f"{v.dtype.kind}{8 * v.dtype.itemsize}", list(v.shape)] for name, v in sorted(tensors.items())
    }
    return {"bytes": len(content), "tensors": kinds}
