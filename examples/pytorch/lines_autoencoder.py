"""A small convolutional autoencoder in PyTorch, trained for a minute on the benchmark's lines, and ready to be scored.

    cargo xtask score prepare --dataset lines --training 32768 --batch 64 --out task
    pip install numpy torch
    python task/lerp_task.py examples/pytorch/lines_autoencoder.py
    cargo xtask score task --name "Conv AE" --out results/quick
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

STEPS, BATCH, LATENT = 1024, 64, 64  # As many numbers as the latents of the seven on lines.

# The folder of the task, whose lerp_task.py runs this file.
TASK = Path(sys.argv[0]).resolve().parent
CHANNELS_FIRST = True  # encode and decode take and give [n, channels, height, width], as PyTorch does.


def block(inputs, outputs, resize):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.2), resize)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [1, 16, 32, 64]
        down = [block(a, b, nn.AvgPool2d(2)) for a, b in zip(widths, widths[1:])]
        up = [block(b, a, nn.Upsample(scale_factor=2)) for a, b in zip([16, *widths[1:]], widths[1:])][::-1]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(64 * 4 * 4, LATENT))
        start = [nn.Linear(LATENT, 64 * 4 * 4), nn.Unflatten(1, (64, 4, 4))]
        self.decoder = nn.Sequential(*start, *up, nn.Conv2d(16, 1, 3, padding=1))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def trained(seed=0):
    torch.manual_seed(seed)
    model = Autoencoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    images = torch.from_numpy(np.load(TASK / "training" / "training.npy")).permute(0, 3, 1, 2)
    for step in range(STEPS):
        first = step * BATCH % len(images)
        x = images[first : first + BATCH]
        loss = nn.functional.mse_loss(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 256 == 255:
            print(f"step {step + 1}: loss {loss.item():.5f}")
    return model.eval()


model = trained()
RECORD = {"framework": "PyTorch", "version": torch.__version__, "device": "cpu", "samples": STEPS * BATCH, "seed": 0}


@torch.no_grad()
def encode(images):
    return model.encoder(torch.from_numpy(images))


@torch.no_grad()
def decode(latents):
    return model.decoder(torch.from_numpy(latents))
