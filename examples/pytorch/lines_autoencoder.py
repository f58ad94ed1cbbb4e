"""A small convolutional autoencoder in PyTorch, trained for a minute on the benchmark's lines, and ready to be scored.

    pip install numpy torch
    cargo xtask score prepare --dataset lines --training 32768 --out task
    python task/lerp_task.py examples/pytorch/lines_autoencoder.py
    cargo xtask score task --name "Conv AE" --out results/quick
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

STEPS, BATCH, LATENT, SEED = 2048, 64, 64, 0  # As many latent dimensions as the seven variants on lines.
TASK = Path(sys.argv[0]).resolve().parent  # The folder of the task, whose lerp_task.py runs this file.


def block(inputs, outputs, resize):
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2), resize)


torch.manual_seed(SEED)
down = [block(a, b, nn.AvgPool2d(2)) for a, b in [(1, 16), (16, 32), (32, 64)]]
up = [block(a, b, nn.Upsample(scale_factor=2)) for a, b in [(64, 32), (32, 16), (16, 16)]]
encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(1024, LATENT))
start = [nn.Linear(LATENT, 1024), nn.Unflatten(1, (64, 4, 4))]
decoder = nn.Sequential(*start, *up, nn.Conv2d(16, 1, 3, padding=1))
model = nn.Sequential(encoder, decoder)
optimizer = torch.optim.Adam(model.parameters(), 2e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
images = torch.from_numpy(np.load(TASK / "training" / "training.npy")).permute(0, 3, 1, 2)
for step in range(STEPS):
    x = images[step * BATCH % len(images) :][:BATCH]
    loss = nn.functional.mse_loss(model(x), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
model.eval()
print(f"loss {loss.item():.5f}")

# lerp_task.py reads the following names. PyTorch's images are [n, channels, height, width].
CHANNELS_FIRST = True
RECORD = {"framework": "PyTorch", "version": torch.__version__, "device": "cpu", "samples": STEPS * BATCH, "seed": SEED}


@torch.no_grad()
def encode(images):
    return encoder(torch.from_numpy(images))


@torch.no_grad()
def decode(latents):
    return decoder(torch.from_numpy(latents))
