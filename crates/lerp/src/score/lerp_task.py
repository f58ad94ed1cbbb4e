"""Answers a task of Lerpbench: encodes its images, decodes interpolated latents, and writes results for `lerp score`.

Write two functions of your model on NumPy arrays into a file of your own, for example model.py:

    def encode(images): ...         # [n, height, width, channels] in [-1, 1] to latents [n, ...]
    def decode(latents): ...        # latents [n, ...] to images [n, height, width, channels] in [-1, 1]

and optionally:

    def mix(a, b, t): ...           # latents a fraction t of the way from a to b; default: (1 - t) * a + t * b
    def features(images): ...       # input of a classifier, [n, ...]; default: the latents
    CHANNELS_FIRST = True           # images are [n, channels, height, width] in these functions
    RECORD = {"framework": "PyTorch", "version": "2.9", "device": "...", "samples": 131072, "seed": 0, "notes": "..."}

Then, in the folder of the task or from anywhere:

    python lerp_task.py model.py

or, in a program of your own, `lerp_task.answer(encode, decode, framework="PyTorch", samples=131072)`.
Needs only NumPy. Your functions may return arrays of PyTorch and JAX, and may change their arguments, which are copies.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import numbers
import os
import shlex
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent

# The allowed fields of a record and their types.
RECORD = {"framework": str, "version": str, "device": str, "notes": str, "samples": int, "seed": int}


class Mistake(Exception):
    """An error that the owner of the model can correct; its text is one sentence."""


class Task:
    """A task: its images and the description of the answers wanted."""

    def __init__(self, folder=HERE):
        self.folder = Path(folder)
        path = self.folder / "task.json"
        if not path.exists():
            raise Mistake(f"{self.folder} is no task: it has no task.json; `lerp score prepare` makes one")
        self.description = json.loads(path.read_text(encoding="utf-8"))
        self.positions, self.image = self.description["positions"], self.description["image"]
        self.wanted = {(answer["file"], answer["name"]): answer["shape"] for answer in self.description["answers"]}

    def images(self, name):
        """Returns the images `name`, [n, height, width, channels], float32 in [-1, 1]."""
        one, all_in_one = self.folder / "images" / f"{name}.npy", self.folder / "images.safetensors"
        if one.exists():
            array = np.load(one, allow_pickle=False)
        elif all_in_one.exists():
            array = read_safetensors(all_in_one, name)
        else:
            raise Mistake(f"{self.folder} has lost its images; prepare the task anew")
        array = np.ascontiguousarray(array, dtype="<f4")
        if hashlib.sha256(array.tobytes()).hexdigest() != self.description["images"][name]["sha256"]:
            raise Mistake(f"{self.folder}: the images '{name}' were changed or damaged; prepare the task anew")
        return array


def read_safetensors(path, name):
    """Returns the array `name` of a file in the safetensors format."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        begin, end = header[name]["data_offsets"]
        file.seek(begin, os.SEEK_CUR)
        return np.frombuffer(file.read(end - begin), dtype="<f4").reshape(header[name]["shape"])


def write_safetensors(path, arrays):
    """Writes float32 arrays in the safetensors format, atomically: a temporary file is renamed when it is complete."""
    header, offset = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    draft = path.with_name(path.name + ".tmp")
    with open(draft, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())
    os.replace(draft, path)


def linear(a, b, t):
    """Returns the latents a fraction `t` of the way from `a` to `b`."""
    return np.float32(1 - t) * a + np.float32(t) * b


def as_array(x, what, count):
    """Converts the result of a model's function for `count` inputs to float32, and checks it."""
    if isinstance(x, (tuple, list, dict)):
        raise Mistake(f"{what} returned a {type(x).__name__}, wanted one array (of a VAE the mean, or a draw)")
    if hasattr(x, "detach"):  # A tensor of PyTorch, of any precision, on any device.
        x = x.detach().cpu().float().numpy()
    x = np.asarray(x)
    if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)):
        raise Mistake(f"{what} returned numbers of type {x.dtype}, wanted floating-point numbers")
    if x.ndim < 2 or len(x) != count:
        raise Mistake(f"{what} returned an array {list(x.shape)} for {count} inputs, wanted [{count}, ...]")
    with np.errstate(over="ignore"):
        x = np.array(x, dtype="<f4", order="C")
    if not np.isfinite(x).all():
        raise Mistake(f"{what} returned numbers that are not finite")
    return x


class Model:
    """Calls the functions of a model in batches, on images with channels last."""

    def __init__(self, task, encode, decode, mix=None, features=None, channels_first=False, batch=256):
        self.image, self.functions = task.image, {"encode": encode, "decode": decode, "features": features}
        self.mix, self.channels_first, self.batch = mix or linear, channels_first, batch

    def call(self, name, inputs):
        """Calls a function of the model on `batch` inputs at a time. It receives copies, which it may change."""
        function, outputs = self.functions[name], []
        for first in range(0, len(inputs), self.batch):
            some = inputs[first : first + self.batch].copy()
            output = as_array(function(some), f"{name}(...)", len(some))
            if name == "decode":
                output = self.last(output)
            if outputs and output.shape[1:] != outputs[0].shape[1:]:
                shapes = f"{list(outputs[0].shape[1:])} and {list(output.shape[1:])}"
                raise Mistake(f"{name}(...) returned arrays of two shapes, [n, ...] of {shapes}")
            outputs.append(output)
        return np.concatenate(outputs)

    def last(self, images):
        """Converts decoded images to channels last, and checks their shape."""
        height, width, channels = self.image
        first = [channels, height, width]
        wanted = first if self.channels_first else self.image
        if list(images.shape[1:]) != wanted:
            other = self.image if self.channels_first else first
            turned = f"; set CHANNELS_FIRST = {not self.channels_first}" if list(images.shape[1:]) == other else ""
            raise Mistake(f"decode(...) returned images {list(images.shape[1:])}, wanted {wanted}{turned}")
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if self.channels_first else images

    def turned(self, images):
        """Converts images to the layout that the model's functions expect."""
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if self.channels_first else images

    def encode(self, images):
        return self.call("encode", self.turned(images))

    def features(self, images):
        return self.call("features", self.turned(images))

    def decode(self, latents):
        return self.call("decode", latents)

    def between(self, left, right, positions):
        """Returns interpolated latents between `left` and `right` and decoded images, each [n, positions, ...]."""
        a, b = self.encode(left), self.encode(right)
        latents = []
        for i in range(positions):
            mixed = as_array(self.mix(a.copy(), b.copy(), i / (positions - 1)), "mix(...)", len(a))
            if mixed.shape != a.shape:
                raise Mistake(f"mix(...) returned latents {list(mixed.shape)} between two of {list(a.shape)}")
            latents.append(mixed)
        return np.stack(latents, 1), np.stack([self.decode(latent) for latent in latents], 1)


def checked(record):
    """Checks a record and returns it in the form in which it is written."""
    clean = {}
    for name, value in record.items():
        if name not in RECORD:
            raise Mistake(f"a record has no '{name}'; it may have {', '.join(RECORD)}")
        if RECORD[name] is str:
            clean[name] = str(value)
        elif isinstance(value, numbers.Real) and value == int(value) and value >= 0:
            clean[name] = int(value)
        else:
            raise Mistake(f"the record's '{name}' is {value!r}, wanted a whole number, not negative")
    return clean


def answer(encode, decode, mix=None, features=None, *, folder=HERE, channels_first=False, batch=256, **record):
    """Answers the task in `folder`; `record` may have framework, version, device, samples, seed and notes.

    `encode`, `features` and `decode` get at most `batch` images or latents at a time, `mix` all latents of the pairs.
    """
    record, task = checked(record), Task(folder)
    model = Model(task, encode, decode, mix, features, channels_first, batch)
    decoded, latents = {}, {}
    latents["between"], decoded["between"] = model.between(task.images("left"), task.images("right"), task.positions)
    ends = task.images("figure_left"), task.images("figure_right")
    _, decoded["figure"] = model.between(*ends, task.positions)
    if ("decoded", "figure_again") in task.wanted:
        flat = decoded["figure"].reshape(-1, *task.image)
        decoded["figure_again"] = model.decode(model.encode(flat)).reshape(decoded["figure"].shape)
    test = task.images("test")
    codes = model.encode(test)
    decoded["test"] = model.decode(codes[: task.wanted["decoded", "test"][0]])
    if ("latents", "train") in task.wanted:
        train = task.images("train")
        latents["test"], latents["train"] = codes, model.encode(train)
        if features is not None:
            latents["test_features"], latents["train_features"] = model.features(test), model.features(train)
    elif features is not None:
        print("note: this task has no classes, so features(...) is not asked")
    # The record is written last, so that it exists only together with all answers.
    record_path = task.folder / "record.json"
    record_path.unlink(missing_ok=True)
    write_safetensors(task.folder / "decoded.safetensors", decoded)
    write_safetensors(task.folder / "latents.safetensors", latents)
    text = json.dumps({"task": task.description["digest"], **record}, indent=2)
    record_path.write_text(text + "\n", encoding="utf-8")
    folder = shlex.quote(str(task.folder))
    print(f"answered; now: cargo xtask score {folder} --name NAME --out SWEEP (or lerp score ...)")


def main(path):
    """Answers the task beside this file with the model in the Python file `path`."""
    path = Path(path)
    if not path.is_file():
        raise Mistake(f"there is no file {path}; give one with encode(images) and decode(latents)")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_loader("model", importlib.machinery.SourceFileLoader("model", str(path)))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("encode", "decode"):
        if not callable(getattr(module, name, None)):
            raise Mistake(f"{path} has no function {name}")
    functions = {name: getattr(module, name, None) for name in ("encode", "decode", "mix", "features")}
    record = checked(getattr(module, "RECORD", {}))
    answer(**functions, channels_first=getattr(module, "CHANNELS_FIRST", False), **record)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python lerp_task.py MODEL.py, a file with encode(images) and decode(latents)")
    try:
        main(sys.argv[1])
    except Mistake as mistake:
        sys.exit(f"error: {mistake}")
