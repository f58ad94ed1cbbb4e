"""Principal components as an autoencoder: the simplest model that can answer a task, in NumPy alone.

    cargo xtask score prepare --dataset lines --training 4096 --out task
    python task/lerp_task.py examples/numpy/pca.py
    cargo xtask score task --name PCA --out results/quick

Decoding is linear, so a decoded interpolation between two images is a pixel blend of their reconstructions.
"""

import sys
from pathlib import Path

import numpy as np

COMPONENTS = 64  # As many as the latent dimensions of the seven variants on lines.

# The folder of the task, whose lerp_task.py runs this file.
TASK = Path(sys.argv[0]).resolve().parent
training = np.load(TASK / "training" / "training.npy")
flat = training.reshape(len(training), -1)
mean = flat.mean(0)
components = np.linalg.svd(flat - mean, full_matrices=False)[2][:COMPONENTS]

RECORD = {"framework": "NumPy", "version": np.__version__, "samples": len(training)}


def encode(images):
    return (images.reshape(len(images), -1) - mean) @ components.T


def decode(latents):
    return (latents @ components + mean).reshape(len(latents), *training.shape[1:])
