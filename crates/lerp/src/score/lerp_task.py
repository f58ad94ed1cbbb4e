"""Answers a task of Lerpbench: encodes its images, decodes what is between them, and writes what `lerp score` measures.

Your model is two functions on NumPy arrays, in a file of your own, say model.py:

    def encode(images): ...         # [n, height, width, channels] in [-1, 1] to latents [n, ...]
    def decode(latents): ...        # latents [n, ...] to images [n, height, width, channels] in [-1, 1]

and if you want to:

    def mix(a, b, t): ...           # latents a fraction t of the way from a to b; without it (1 - t) * a + t * b
    def features(images): ...       # what a classifier is to see, [n, ...]; without it the latents
    CHANNELS_FIRST = True           # images are [n, channels, height, width] in these functions
    RECORD = {"framework": "PyTorch", "version": "2.9", "device": "...", "samples": 131072, "seed": 0, "notes": "..."}

Then, in the folder of the task or from anywhere:

    python lerp_task.py model.py

or, in a program of your own, `lerp_task.answer(encode, decode, framework="PyTorch", samples=131072)`.
Needs NumPy and nothing else. Arrays of PyTorch and JAX may be returned as they are.
"""

import hashlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


class Task:
    """The images of a task, and what is wanted of them."""

    def __init__(self, folder=HERE):
        self.folder = Path(folder)
        self.description = json.loads((self.folder / "task.json").read_text(encoding="utf-8"))
        self.positions = self.description["positions"]
        self.wanted = {(answer["file"], answer["name"]) for answer in self.description["answers"]}

    def images(self, name):
        """The images `name`, [n, height, width, channels], float32 in [-1, 1]; none if the task has none of that name."""
        known = self.description["images"].get(name)
        if known is None:
            return None
        one = self.folder / "images" / f"{name}.npy"
        if one.exists():
            array = np.load(one, allow_pickle=False)
        else:
            array = read_safetensors(self.folder / "images.safetensors", name)
        array = np.ascontiguousarray(array, dtype="<f4")
        if hashlib.sha256(array.tobytes()).hexdigest() != known["sha256"]:
            raise ValueError(f"{self.folder}: the images '{name}' were changed or damaged; prepare the task anew")
        return array


def read_safetensors(path, name):
    """The array `name` of a file in the safetensors format."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        begin, end = header[name]["data_offsets"]
        file.seek(begin, os.SEEK_CUR)
        return np.frombuffer(file.read(end - begin), dtype="<f4").reshape(header[name]["shape"])


def write_safetensors(path, arrays):
    """Writes arrays of float32 in the safetensors format, under their name at last."""
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
    """The latents a fraction `t` of the way from `a` to `b`."""
    return np.float32(1 - t) * a + np.float32(t) * b


def as_array(x, what, count):
    """What a model's function returned, as float32."""
    for step in ("detach", "cpu", "numpy"):
        x = getattr(x, step)() if hasattr(x, step) else x
    x = np.asarray(x)
    if x.dtype == object or not np.issubdtype(x.dtype, np.number):
        raise ValueError(f"{what} returned {x.dtype}, wanted an array of numbers")
    if x.ndim < 2 or len(x) != count:
        raise ValueError(f"{what} returned an array {list(x.shape)} for {count} inputs, wanted [{count}, ...]")
    if not np.isfinite(x).all():
        raise ValueError(f"{what} returned numbers that are not finite")
    return np.ascontiguousarray(x, dtype="<f4")


class Model:
    """The functions of a model, called on a few inputs at a time, with channels last."""

    def __init__(self, encode, decode, mix=None, features=None, channels_first=False, batch=256):
        self.functions = {"encode": encode, "decode": decode, "features": features}
        self.mix, self.channels_first, self.batch = mix or linear, channels_first, batch

    def call(self, name, inputs):
        function, outputs = self.functions[name], []
        for first in range(0, len(inputs), self.batch):
            some = inputs[first : first + self.batch]
            outputs.append(as_array(function(some), f"{name}(...)", len(some)))
        return np.concatenate(outputs)

    def turned(self, images):
        """Images as the model's functions take them."""
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if self.channels_first else images

    def encode(self, images):
        return self.call("encode", self.turned(images))

    def features(self, images):
        return self.call("features", self.turned(images))

    def decode(self, latents):
        images = self.call("decode", latents)
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if self.channels_first else images

    def between(self, left, right, positions):
        """Latents between those of images left and right, and their images, [n, positions, ...] each."""
        a, b = self.encode(left), self.encode(right)
        steps = [i / (positions - 1) for i in range(positions)]
        latents = [as_array(self.mix(a, b, t), "mix(...)", len(a)) for t in steps]
        images = [self.decode(latent) for latent in latents]
        return np.stack(latents, 1), np.stack(images, 1)


def answer(encode, decode, mix=None, features=None, *, folder=HERE, channels_first=False, batch=256, **record):
    """Answers the task in `folder`; `record` may have framework, version, device, samples, seed and notes.

    `encode` gets images and `decode` latents, at most `batch` at a time.
    """
    task = Task(folder)
    model = Model(encode, decode, mix, features, channels_first, batch)
    decoded, latents = {}, {}
    latents["between"], decoded["between"] = model.between(task.images("left"), task.images("right"), task.positions)
    ends = task.images("figure_left"), task.images("figure_right")
    _, decoded["figure"] = model.between(*ends, task.positions)
    if ("decoded", "figure_again") in task.wanted:
        flat = decoded["figure"].reshape(-1, *decoded["figure"].shape[2:])
        decoded["figure_again"] = model.decode(model.encode(flat)).reshape(decoded["figure"].shape)
    test = task.images("test")
    codes = model.encode(test)
    shape = next(a["shape"] for a in task.description["answers"] if (a["file"], a["name"]) == ("decoded", "test"))
    decoded["test"] = model.decode(codes[: shape[0]])
    if ("latents", "train") in task.wanted:
        train = task.images("train")
        latents["test"], latents["train"] = codes, model.encode(train)
        if features is not None:
            latents["test_features"], latents["train_features"] = model.features(test), model.features(train)
    # The record last: whoever finds it finds all answers.
    record_path = task.folder / "record.json"
    record_path.unlink(missing_ok=True)
    write_safetensors(task.folder / "decoded.safetensors", decoded)
    write_safetensors(task.folder / "latents.safetensors", latents)
    text = json.dumps({"task": task.description["digest"], **record}, indent=2)
    record_path.write_text(text + "\n", encoding="utf-8")
    print(f"answered: lerp score {task.folder} --name NAME --out results/quick")


def main(path):
    """Answers the task beside this file with the model in the Python file `path`."""
    sys.path.insert(0, str(Path(path).resolve().parent))
    spec = importlib.util.spec_from_file_location("model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    optional = {name: getattr(module, name, None) for name in ("mix", "features")}
    record = getattr(module, "RECORD", {})
    answer(module.encode, module.decode, **optional, channels_first=getattr(module, "CHANNELS_FIRST", False), **record)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python lerp_task.py MODEL.py, a file with encode(images) and decode(latents)")
    try:
        main(sys.argv[1])
    except (ValueError, AttributeError) as error:
        sys.exit(f"error: {error}")
