"""Layers, losses and Adam as the paper's code defines them, in PyTorch and `float64` on the CPU.

Images and feature maps are [batch, channels, height, width], weights of convolutions [out, in, k, k], weights
of dense layers [in, out]. `p` is a dictionary of parameters by name.
"""

import torch
import torch.nn.functional as F

SLOPE = 0.2
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def tensors(arrays):
    """Returns a dictionary of arrays as tensors."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def convolution(p, name, x, active=True):
    """Applies a convolution that keeps the size of the image, with leaky ReLU if `active`."""
    y = F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding="same")
    return F.leaky_relu(y, SLOPE) if active else y


def dense(p, name, x):
    """Applies a dense layer without activation."""
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def encoder(p, prefix, x, scales):
    """Applies an encoder: convolutions `prefix.conv0`, `prefix.conv1` and so on.

    It has a 1x1 convolution without activation; for each scale two 3x3 convolutions and the mean over 2x2
    blocks; one more 3x3 convolution; and one without activation to the channels of the latent.
    """
    x = convolution(p, f"{prefix}.conv0", x, active=False)
    for scale in range(scales):
        x = convolution(p, f"{prefix}.conv{2 * scale + 1}", x)
        x = F.avg_pool2d(convolution(p, f"{prefix}.conv{2 * scale + 2}", x), 2)
    x = convolution(p, f"{prefix}.conv{2 * scales + 1}", x)
    return convolution(p, f"{prefix}.conv{2 * scales + 2}", x, active=False)


def decoder(p, prefix, z, scales):
    """Applies a decoder: convolutions `prefix.conv0`, `prefix.conv1` and so on.

    It has for each scale two 3x3 convolutions and a doubling of the size by repetition of pixels; one more
    3x3 convolution; and one without activation to the channels of the image.
    """
    for scale in range(scales):
        z = convolution(p, f"{prefix}.conv{2 * scale}", z)
        z = F.interpolate(convolution(p, f"{prefix}.conv{2 * scale + 1}", z), scale_factor=2, mode="nearest")
    z = convolution(p, f"{prefix}.conv{2 * scales}", z)
    return convolution(p, f"{prefix}.conv{2 * scales + 1}", z, active=False)


def flat(maps):
    """Flattens feature maps in the order (height, width, channel)."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def unflat(rows, like):
    """Reverses `flat`, to feature maps of the shape of `like`."""
    batch, channels, height, width = like.shape
    return rows.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def mean_square(a, b=0.0):
    """Returns the mean of the squared differences over the batch and all elements."""
    return ((a - b) ** 2).mean()


def negative_log_likelihood(logits, targets):
    """Returns the negative log-likelihood in nats of Bernoulli targets given logits, for each element."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def cross_entropy(logits, targets):
    """Returns the softmax cross entropy of each example. The rows of `targets` are distributions."""
    return -(targets * torch.log_softmax(logits, 1)).sum(1)


def adam(param, gradient, moments, rate, step):
    """Returns the parameter after update number `step`, counted from 1, and its moments.

    As in TensorFlow, ε is added to the root of the second moment before the bias is corrected.
    """
    first, second = moments
    first = BETA1 * first + (1.0 - BETA1) * gradient
    second = BETA2 * second + (1.0 - BETA2) * gradient**2
    rate = rate * (1.0 - BETA2**step) ** 0.5 / (1.0 - BETA1**step)
    return param - rate * first / (second.sqrt() + EPSILON), (first, second)


def nearest(vectors, means):
    """Returns the index of the entry of the codebook nearest to each vector; of equals, the first."""
    return ((vectors[:, None, :] - means[None, :, :]) ** 2).sum(2).argmin(1)


def codebook_update(state, vectors, indices, decay, epsilon):
    """Returns means, counts and sums of the codebook after the vectors with these nearest entries.

    Counts and sums are moving averages without a correction of the bias. The means are the sums divided by
    the counts, which are smoothed so that entries without vectors have a count, too.
    """
    _, counts, sums = state
    chosen = F.one_hot(indices, len(counts)).to(vectors.dtype)
    counts = decay * counts + (1.0 - decay) * chosen.sum(0)
    sums = decay * sums + (1.0 - decay) * chosen.T @ vectors
    total = counts.sum()
    smoothed = (counts + epsilon) / (total + len(counts) * epsilon) * total
    return sums / smoothed[:, None], counts, sums


def quantised(p, wide, layers, state):
    """Quantises the vectors in each row of `wide`, and applies the two dense layers with the names `layers`.

    Returns the vectors, the nearest entries of the codebook, their indices, and the output of the layers.
    """
    means = state[0]
    vectors = wide.reshape(-1, means.shape[1])
    indices = nearest(vectors.detach(), means)
    codes = means[indices]
    # The straight-through estimator: gradients pass to the vectors as if they had not been replaced.
    passed = (vectors + (codes - vectors).detach()).reshape(wide.shape)
    hidden, output = layers
    result = dense(p, output, dense(p, hidden, passed.relu()).relu())
    return vectors, codes, indices, result
