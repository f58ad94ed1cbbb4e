"""Loads an autoencoder trained with Lerpbench, any of its seven variants, in PyTorch.

    from lerp_torch import load
    model = load("FOLDER")                     # the folder of config.json and model.safetensors
    z = model.encode(x)                        # x: [n, channels, height, width], values in [-1, 1]
    halfway = model.decode(0.5 * (z[:1] + z[1:2]))

Images and latents are NCHW in this module, as usual in PyTorch. In the files they are NHWC, and convolution kernels are
[height, width, in, out], so `load` transposes them. Flattened latents are in the order (height, width, channel), which
the rows of dense layers expect. Parameters have the same names as in the file.

    save(model, "OTHER FOLDER")                # after fine-tuning: `lerp import` evaluates it as a run

    python lerp_torch.py [FOLDER]              # compares the outputs with those in check.safetensors

Needs torch and safetensors.
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

# Largest allowed deviation, relative to the largest value. Both programs compute in 32-bit floats and sum up to a few
# thousand products in different orders, which causes deviations of 1e-6 to 1e-5 after twenty layers.
TOLERANCE = 1e-4


def leaky(x):
    return F.leaky_relu(x, 0.2)


def flatten(z):
    """[n, c, h, w] to [n, h*w*c], in the order (h, w, c)."""
    return z.permute(0, 2, 3, 1).flatten(1)


def unflatten(flat, latent):
    """The inverse of `flatten`."""
    return flat.reshape(-1, *latent).permute(0, 3, 1, 2)


def conv(inputs, outputs, size=3):
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class Convolutions(nn.Module):
    """A module with convolutions named conv0, conv1, ..."""

    def __init__(self, layers):
        super().__init__()
        for i, layer in enumerate(layers):
            self.add_module(f"conv{i}", layer)
        self.count = len(layers)

    def conv(self, i):
        return getattr(self, f"conv{i}")


class Encoder(Convolutions):
    def __init__(self, channels, scales, depth, latent):
        layers, width = [conv(channels, depth, 1)], depth
        for scale in range(scales):
            layers += [conv(width, depth << scale), conv(depth << scale, depth << scale)]
            width = depth << scale
        super().__init__(layers + [conv(width, depth << scales), conv(depth << scales, latent)])

    def forward(self, x):
        x = self.conv(0)(x)
        for i in range(1, self.count - 2, 2):
            x = F.avg_pool2d(leaky(self.conv(i + 1)(leaky(self.conv(i)(x)))), 2)
        return self.conv(self.count - 1)(leaky(self.conv(self.count - 2)(x)))


class Decoder(Convolutions):
    def __init__(self, channels, scales, depth, latent):
        layers, width = [], latent
        for scale in reversed(range(scales)):
            layers += [conv(width, depth << scale), conv(depth << scale, depth << scale)]
            width = depth << scale
        super().__init__(layers + [conv(width, depth), conv(depth, channels)])

    def forward(self, z):
        for i in range(0, self.count - 2, 2):
            z = leaky(self.conv(i + 1)(leaky(self.conv(i)(z))))
            z = F.interpolate(z, scale_factor=2, mode="nearest")
        return self.conv(self.count - 1)(leaky(self.conv(self.count - 2)(z)))


class Lerp(nn.Module):
    """A model as described by `config.json`, with newly initialised parameters; `load` returns the trained model."""

    def __init__(self, config):
        super().__init__()
        cell = config["cell"]
        self.config, self.variant, self.latent = config, cell["variant"], config["latent"]
        network, dims = cell["network"], math.prod(self.latent)
        sizes = (config["image"]["channels"], network["scales"], network["depth"], network["latent"])
        self.enc, self.dec = Encoder(*sizes), Decoder(*sizes)
        if self.variant == "acai":
            self.critic = Encoder(*sizes)
        elif self.variant == "aae":
            self.critic = nn.Module()
            for i, (inputs, outputs) in enumerate([(dims, 100), (100, 100), (100, 1)]):
                self.critic.add_module(f"dense{i}", nn.Linear(inputs, outputs))
        elif self.variant == "vae":
            self.lat = nn.Module()
            self.lat.mu, self.lat.logvar = nn.Linear(dims, dims), nn.Linear(dims, dims)
        elif self.variant == "vqvae":
            hyper = cell["hyper"]
            self.vectors = int(hyper["vectors"])
            self.vq = nn.Module()
            self.vq.proj = nn.Linear(dims, self.vectors * dims)
            self.vq.vch2 = nn.Linear(self.vectors * dims, int(hyper["filter"]))
            self.vq.vcfin = nn.Linear(int(hyper["filter"]), dims)
            codes = int(hyper["codes"])
            self.vq.register_buffer("means", torch.zeros(codes, dims))
            self.vq.register_buffer("ema_means", torch.zeros(codes, dims))
            self.vq.register_buffer("ema_count", torch.zeros(codes))
        elif self.variant not in ("baseline", "dropout", "denoising"):
            raise ValueError(f"'{self.variant}' is none of the seven variants; it needs code of its own")
        self.cls = nn.Linear(config["features"], config["classes"]) if config["classes"] else None

    def encode(self, x):
        """Returns the latents to interpolate. For a VAE these are means of q(z|x), where `lerp` draws samples."""
        return self.posterior(x)[0] if self.variant == "vae" else self.enc(x)

    def decode(self, z, codes=None):
        """Returns the images of latents, not clipped. `codes` is for a VQ-VAE, see `bottleneck`."""
        if self.variant == "vqvae":
            z = unflatten(self.bottleneck(z, codes), self.latent)
        image = self.dec(z)
        # 2 * sigmoid(logits) - 1
        return torch.tanh(0.5 * image) if self.variant == "vae" else image

    def reconstruct(self, x):
        return self.decode(self.encode(x))

    def posterior(self, x):
        """Returns the mean and the logarithm of the variance of a VAE's q(z|x), in the shape of latents."""
        h = flatten(self.enc(x))
        return unflatten(self.lat.mu(h), self.latent), unflatten(self.lat.logvar(h), self.latent)

    def features(self, x, codes=None):
        """Returns the input of the classifier, [n, features]."""
        h = self.enc(x)
        return self.bottleneck(h, codes) if self.variant == "vqvae" else flatten(h)

    def classify(self, features):
        """Returns the logits of the classes, [n, classes]."""
        return self.cls(features)

    def guess(self, value):
        """Returns for ACAI the critic's estimates of the interpolation coefficient of images, [n]; for the AAE the
        discriminator's logits that latents are draws from the prior, [n]."""
        if self.variant == "acai":
            return self.critic(value).mean((1, 2, 3))
        x = leaky(self.critic.dense0(flatten(value)))
        return self.critic.dense2(leaky(self.critic.dense1(x)))[:, 0]

    def project(self, z):
        """Returns a VQ-VAE's vectors, projected from latents, [n, vectors, dims]."""
        flat = flatten(z)
        return self.vq.proj(flat).reshape(flat.shape[0], self.vectors, flat.shape[1])

    def distances(self, vectors):
        """Returns the squared distances of vectors to all codes, [n, vectors, codes], in 64-bit floats, because many
        codes are almost equally near."""
        v, means = vectors.double(), self.vq.means.double()
        return v.square().sum(-1, keepdim=True) - 2 * v @ means.T + means.square().sum(-1)

    def bottleneck(self, z, codes=None):
        """Returns the input of a VQ-VAE's decoder, flattened: each vector is replaced by the nearest code of the
        codebook, or by the code whose index is in `codes` [n, vectors], before two dense layers."""
        if codes is None:
            codes = self.distances(self.project(z)).argmin(-1)
        quantised = self.vq.means[codes].flatten(1)
        return self.vq.vcfin(F.relu(self.vq.vch2(F.relu(quantised))))

    forward = reconstruct


def transposed(name, tensor):
    """Converts a tensor from the file's layout to PyTorch's."""
    if name.endswith(".weight"):
        return tensor.permute(3, 2, 0, 1).contiguous() if tensor.dim() == 4 else tensor.T.contiguous()
    return tensor


def load(folder="."):
    """Returns the trained model in `folder`, in evaluation mode."""
    folder = Path(folder)
    model = Lerp(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict({name: transposed(name, tensor) for name, tensor in tensors.items()})
    return model.eval()


def reversed_layout(name, tensor):
    """Converts a tensor from PyTorch's layout to the file's."""
    if name.endswith(".weight"):
        return tensor.permute(2, 3, 1, 0).contiguous() if tensor.dim() == 4 else tensor.T.contiguous()
    return tensor.contiguous()


def save(model, folder):
    """Writes a model, for example after fine-tuning, in the format that `load` and `lerp import` read."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: reversed_layout(name, tensor.detach().cpu()) for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def check(folder="."):
    """Compares the outputs with those of the program that trained the model; returns the largest relative deviation."""
    model, expected = load(folder), load_file(Path(folder) / "check.safetensors")
    nchw = {name: t.permute(0, 3, 1, 2) if t.dim() == 4 else t for name, t in expected.items()}
    x, z = nchw["images"], nchw["z"]
    codes, codes_z = nchw.get("codes"), nchw.get("codes_z")
    latents, features = model.encode(x), model.features(x, codes)
    ours = {
        "latents": latents,
        "features": features,
        "reconstructions": model.decode(latents, codes),
        "decoded": model.decode(z, codes_z),
    }
    if "logits" in nchw:
        ours["logits"] = model.classify(features)
    if model.variant == "vae":
        ours["log_variance"] = flatten(model.posterior(x)[1])
    if model.variant in ("acai", "aae"):
        ours["critic"] = model.guess(ours["decoded"] if model.variant == "acai" else latents)
    if model.variant == "vqvae":
        ours["vectors"] = model.project(latents)
    deviations = []
    for name, value in ours.items():
        # The critic's output is a mean of values that cancel, so the error is relative to the scale of its estimate.
        scale = max(nchw[name].abs().max().item(), 1.0 if name == "critic" else 1e-30)
        deviations.append((value - nchw[name]).abs().max().item() / scale)
        print(f"{name:<16} {deviations[-1]:.1e}")
    for name, latent, chosen in [("codes", latents, codes), ("codes_z", z, codes_z)]:
        if chosen is None:
            continue
        # Two codes may be equally near up to rounding errors, so the chosen code must only be as near as the nearest
        # one.
        vectors = model.project(latent)
        distances = model.distances(vectors)
        excess = distances.gather(-1, chosen[..., None])[..., 0] - distances.min(-1).values
        scale = vectors.square().sum(-1) + model.vq.means[chosen].square().sum(-1)
        deviations.append((excess / scale.clamp_min(1e-30)).max().item())
        same = (distances.argmin(-1) == chosen).sum().item()
        print(f"{name:<16} {deviations[-1]:.1e}  ({same} of {chosen.numel()} the same)")
    return math.inf if any(map(math.isnan, deviations)) else max(deviations)


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent
    found = check(where)
    word = "ok" if found <= TOLERANCE else "DIFFERENT"
    print(f"{word}: largest deviation {found:.1e} of the largest value, {TOLERANCE:.0e} allowed")
    sys.exit(0 if found <= TOLERANCE else 1)
