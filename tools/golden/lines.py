"""Lines: their drawing, their classes, the search for the nearest line, the two metrics, and interpolation.

Everything is NumPy in `float64`.
"""

from functools import cache

import numpy as np

TURN = 2.0 * np.pi
SIDE, BANK = 32, 10_000
SMALLEST_TURN = 1e-4
SMALLEST_SINE = 1e-6


def draw(angles, side, thickness=2.0):
    """Draws a line from the centre of a square image for each angle, anticlockwise from the right.

    A line is `side / 2 - 1` pixels long. It is drawn column by column, or row by row if it is steeper than 45
    degrees. In a column, a pixel is as bright as the share of its height that the line covers; -1 is black
    and 1 is white. The first column, counted from the left, is darkened by the fraction of it that the line
    does not reach; the last one is not, as in the paper's code. The same holds for rows, from the top.
    """
    angles = np.asarray(angles, np.float64).reshape(-1)
    middle, length = side / 2.0, side / 2.0 - 1.0
    rows, columns = middle - length * np.sin(angles), middle + length * np.cos(angles)
    steep = np.abs(columns - middle) < np.abs(rows - middle)
    # (a, b) are the coordinates along the longer axis and along the other one.
    end_a, end_b = np.where(steep, rows, columns), np.where(steep, columns, rows)
    back = end_a < middle
    a0, b0 = np.where(back, end_a, middle), np.where(back, end_b, middle)
    a1, b1 = np.where(back, middle, end_a), np.where(back, middle, end_b)
    slope = (b1 - b0) / (a1 - a0)

    a0, a1, b0, slope = (v[:, None] for v in (a0, a1, b0, slope))
    a = np.arange(side, dtype=np.float64)[None, :]
    drawn = (a >= np.floor(a0)) & (a < np.ceil(a1))
    weight = np.where(a < np.ceil(a0), np.ceil(a0) - a0, 1.0) * drawn
    low = (b0 - thickness / 2.0 + (a - a0 - 0.5) * slope)[:, :, None]
    b = np.arange(side, dtype=np.float64)[None, None, :]
    covered = np.clip(np.minimum(b + 1.0, low + thickness) - np.maximum(b, low), 0.0, 1.0)
    images = np.clip(2.0 * weight[:, :, None] * covered - 1.0, -1.0, 1.0)
    return np.where(steep[:, None, None], images, images.transpose(0, 2, 1))


def labels(angles):
    """Returns the classes of lines: the tenth of a turn, by the formula of the paper's code."""
    return np.trunc(10.0 * np.asarray(angles) / (TURN - 1e-6)).astype(np.int64)


@cache
def bank():
    """Returns the angles of the paper's 10,000 lines, and their images divided by their norms."""
    angles = np.linspace(0.0, TURN - TURN / BANK, BANK)
    images = draw(angles, SIDE).reshape(BANK, -1)
    return angles, images / np.linalg.norm(images, axis=1, keepdims=True)


def cosine_distances(images, unit_lines):
    """Returns the cosine distances of flat images to lines of norm 1."""
    return 1.0 - images @ unit_lines.T / np.linalg.norm(images, axis=1, keepdims=True)


def smoothness(angles):
    """Returns the smoothness of a path: the largest step's share of the turn, less that of an even step."""
    path = np.unwrap(angles)
    turn = abs(path[0] - path[-1])
    if turn < SMALLEST_TURN:
        return np.nan
    return np.abs(np.diff(path)).max() / turn - 1.0 / (len(path) - 1)


def mean_smoothness(scores):
    """Returns the sum of the scores that exist over the number of all paths; NaN if there is no score."""
    known = scores[~np.isnan(scores)]
    return known.sum() / len(scores) if len(known) else np.nan


def draw_line(inputs):
    """Computes the values of the file `metric_draw_line`."""
    return {
        "image": draw(inputs["angle"], SIDE),
        "label": labels(inputs["angle"]),
        "image_16": draw(inputs["angle_16"], 16),
        "image_w3": draw(inputs["angle_16"], SIDE, 3.0),
    }


def line_eval(inputs):
    """Computes the values of a file `metric_line_eval_CASE`."""
    shape = inputs["input"].shape[:2]
    angles, lines = bank()
    distances = cosine_distances(inputs["input"].reshape(-1, SIDE * SIDE), lines)
    index = distances.argmin(1)
    nearest, second = np.partition(distances, 1, axis=1)[:, :2].T
    closest = angles[index].reshape(shape)
    scores = np.array([smoothness(path) for path in closest])
    return {
        "bank_index": index.reshape(shape),
        "closest_angle": closest,
        "distance": nearest.reshape(shape),
        "runner_up_gap": (second - nearest).reshape(shape),
        "smoothness": scores,
        "mean_distance": np.array([nearest.mean()]),
        "mean_smoothness": np.array([mean_smoothness(scores)]),
    }


def metric_smoothness(inputs):
    """Computes the values of the file `metric_smoothness`."""
    return {"smoothness": np.array([smoothness(path) for path in inputs["angles"]])}


def interpolation(inputs, steps=16):
    """Computes the values of the file `interpolation`, linear and spherical; both ends are included."""
    out = {}
    for network in {name.split(".")[0] for name in inputs}:
        start, end = inputs[f"{network}.start"], inputs[f"{network}.end"]
        t = np.linspace(0.0, 1.0, steps).reshape(-1, 1)
        a, b = start.reshape(len(start), -1), end.reshape(len(end), -1)
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        omega = np.arccos(np.clip(cosine, -1.0, 1.0))
        sine = np.sin(omega)
        # Between parallel latents there is no arc; they are interpolated linearly.
        arc = sine >= SMALLEST_SINE
        sine = np.where(arc, sine, 1.0)
        first = np.where(arc, np.sin((1.0 - t) * omega) / sine, 1.0 - t)
        second = np.where(arc, np.sin(t * omega) / sine, t)
        for kind, weights in [
            ("linear", (1.0 - t + 0.0 * omega, t + 0.0 * omega)),
            ("slerp", (first, second)),
        ]:
            one, other = (w.reshape(w.shape + (1,) * (start.ndim - 1)) for w in weights)
            out[f"{network}.{kind}"] = one * start + other * end
    return out
