"""Parts on their own: the single-layer classifier, its learning rate, Adam, and the VQ-VAE's bottleneck."""

import numpy as np
import torch

from networks import (
    adam,
    codebook_update,
    cross_entropy,
    dense,
    flat,
    mean_square,
    quantised,
    tensors,
)

SMOOTHING = {"plain": 0.0, "smoothed": 0.1}
RATES = ("0.0001", "0.01")


def classifier_adam(inputs):
    """Computes the values of the file `classifier_adam`."""
    inputs, out = tensors(inputs), {}
    for case, smoothing in SMOOTHING.items():
        p = {f"cls.{name}": inputs[f"{case}.{name}"].requires_grad_(True) for name in ("weight", "bias")}
        logits = dense(p, "cls", flat(inputs[f"{case}.x"]))
        label = inputs[f"{case}.label"]
        targets = label - smoothing * (label - 1.0 / label.shape[1])
        each = cross_entropy(logits, targets)
        weight, bias = torch.autograd.grad(each.mean(), list(p.values()))
        results = {
            "loss_per_example": each,
            "loss": each.mean().reshape(1),
            "grad_weight": weight,
            "grad_bias": bias,
            "argmax": logits.argmax(1),
        }
        out |= {f"{case}.{name}": value.detach().numpy() for name, value in results.items()}

    # The learning rate of the stand-alone classifier decays by a factor of 10 every 131,072 steps.
    out["lr_schedule.lr"] = 1e-4 * 0.1 ** (inputs["lr_schedule.step"].numpy() / 131_072.0)
    start = inputs["adam.param0"]
    for rate in RATES:
        for name, first in [("param", start), ("cumulative_update", torch.zeros_like(start))]:
            out[f"adam_lr{rate}.{name}"] = adam_path(first, inputs["adam.grads"], float(rate))
    return out


def adam_path(param, gradients, rate):
    """Returns the parameters after each of the updates with these gradients."""
    moments, path = (torch.zeros_like(param), torch.zeros_like(param)), []
    for step, gradient in enumerate(gradients, 1):
        param, moments = adam(param, gradient, moments, rate, step)
        path.append(param.numpy())
    return np.stack(path)


def vq_bottleneck(inputs, manifest):
    """Computes the values of the file `vq_bottleneck`.

    The gradient is that of the weighted commitment loss plus the sum of the outputs. The codebook is that
    after the update of the step.
    """
    p, hyper, out = tensors(inputs), manifest["hyper"], {}
    state = [p[name] for name in ("means0", "ema_count0", "ema_means0")]
    for step in range(manifest["steps"]):
        x = p[f"x.step{step}"].requires_grad_(True)
        vectors, codes, indices, result = quantised(p, x, ("vch2", "vcfin"), state)
        loss = hyper["vq_beta"] * mean_square(vectors, codes)
        (gradient,) = torch.autograd.grad(result.sum() + loss, [x])
        state = codebook_update(state, vectors.detach(), indices, hyper["vq_decay"], hyper["vq_epsilon"])
        results = {"indices": indices, "dense": result, "loss": loss.reshape(1), "grad_x": gradient}
        results |= dict(zip(("means", "ema_count", "ema_means"), state))
        out |= {f"{name}.step{step}": value.detach().numpy() for name, value in results.items()}
    return out
