"""Comparisons of computed with recorded values, within the tolerances of the manifest."""

from dataclasses import dataclass
from math import inf, isnan, nan

import numpy as np

from clusters import assign, matched_accuracy
from files import base, part_of, wide
from lines import SIDE, cosine_distances, draw, smoothness

STATE = (".vq.means", ".vq.ema_count", ".vq.ema_means")
DIGEST = "*.digest"
INDICES, PARTS, WHITENED = "*_indices*, argmax, labels", "classifier / vq_bottleneck", "cluster whitened"
ACCURACY, INERTIA, SMOOTH = "cluster accuracy", "cluster inertia", "metric_line_eval smoothness"
# Two lines whose distances differ by less than this are equally near, and either may be found.
TIE = 1e-9
# Tolerances of the smoothness and of its mean in files with ties, where the choice changes the score.
TIED_SMOOTHNESS, TIED_MEAN = 0.03, 0.05


@dataclass
class Result:
    """One comparison."""

    name: str
    error: float
    tolerance: float

    @property
    def passed(self):
        return bool(self.error <= self.tolerance)

    @property
    def share(self):
        """The error as a share of the tolerance, infinite if the error is NaN."""
        if isnan(self.error):
            return inf
        if self.tolerance > 0.0:
            return self.error / self.tolerance
        return 0.0 if self.error == 0.0 else inf


def largest(errors):
    """Returns the largest of some errors, NaN if one is NaN, and 0 if there is none."""
    return float(np.max(errors)) if np.size(errors) else 0.0


def absolute(a, b):
    """Returns the largest absolute difference; NaN equals NaN and nothing else."""
    missing = np.isnan(a) != np.isnan(b)
    return inf if missing.any() else largest(np.nan_to_num(np.abs(a - b), posinf=inf))


def to_largest(a, b):
    """Returns the largest difference divided by the largest recorded value, unless that is 0."""
    scale = largest(np.abs(b))
    return largest(np.abs(a - b)) / (scale if scale > 0.0 else 1.0)


def relative(a, b):
    """Returns the largest difference as a share of the recorded value, which counts as at least 1e-3."""
    return largest(np.abs(a - b) / np.maximum(np.abs(b), 1e-3))


def per_element(a, b):
    """Returns the largest relative difference of the elements that are above 1e-12."""
    some = np.abs(b) > 1e-12
    return largest(np.abs(a - b)[some] / np.abs(b)[some])


def differing(a, b):
    """Returns the number of elements that differ."""
    return float((a != b).sum())


def of_digests(a, b, count):
    """Returns the largest difference of two digests, relative to the norm or its product with √count."""
    norm = b[1] if b[1] > 0.0 else 1.0
    return largest(np.abs(a - b) / np.array([norm * count**0.5, norm, norm * count**0.5, norm * count**0.5]))


def rule(stem, name, tolerances):
    """Returns the kind of tolerance and the measure of an output; no measure for parameters after updates."""
    kind = name.split(".")[0]
    parameter = name.partition(".")[2]
    if kind == "argmax" or name.endswith(".argmax") or "indices" in name:
        return INDICES, differing
    if name.endswith(".cumulative_update"):
        return "adam_*.cumulative_update", per_element
    if stem in ("classifier_adam", "vq_bottleneck"):
        return PARTS, to_largest
    if stem == "interpolation":
        return "interpolation", absolute
    if kind == "loss":
        return "loss.*", relative
    if kind.startswith("grad_"):
        if stem.endswith("_aae") and parameter == "critic.dense2.bias":
            return "grad_critic.critic.dense2.bias (aae)", absolute
        for place in tolerances["grad_* exceptions"]["applies_to"]:
            file, _, prefix = place.partition(": ")
            if stem == file and parameter.startswith(prefix.removesuffix("*")):
                return "grad_* exceptions", to_largest
        return "grad_*", to_largest
    if name.endswith(STATE):
        return "param*.vq.means/ema_count/ema_means", to_largest
    if kind.startswith("param"):
        return "param1.*, param3.*", None
    if kind in ("out", "draw"):
        return "out.*", to_largest
    # Images of lines in a common file.
    return ("metric_draw_line image", absolute) if kind == "x" else (None, None)


def of_parameters(name, a, b, tolerance):
    """Compares parameters: some elements may exceed the tolerance, and none the hard limit."""
    errors = np.sort(np.abs(a - b).reshape(-1))[::-1]
    if not errors[0] <= tolerance["hard_limit"]:
        return Result(name, float(errors[0]), tolerance["hard_limit"])
    allowed = int(len(errors) * tolerance["allowed_fraction_above"])
    return Result(
        name, float(errors[0] if errors[0] <= tolerance["tol"] else errors[allowed]), tolerance["tol"]
    )


def output(stem, name, recorded, computed, tolerances):
    """Compares one stored tensor, whole or a part, with the computed output."""
    whole = computed.get(base(name))
    kind, measure = rule(stem, base(name), tolerances)
    if whole is None or kind is None:
        return Result(f"{name} (not computed)", nan, 0.0)
    ours = wide(part_of(name, whole))
    if ours.size != recorded.size:
        return Result(f"{name} ({ours.size} numbers, recorded {recorded.size})", inf, 0.0)
    ours, tolerance = ours.reshape(recorded.shape), tolerances[kind]
    if name.endswith(".digest"):
        # Elements that deviate change their sums as well, so a wider tolerance of theirs applies.
        tol = 1e-5 if measure is None else max(tolerances[DIGEST]["tol"], tolerance["tol"])
        return Result(name, of_digests(ours, recorded, whole.size), tol)
    if measure is None:
        return of_parameters(name, ours, recorded, tolerance)
    # These images are stored in single precision, of which 1.2e-7 is one unit in the last place near 1.
    single = 1.2e-7 if name.startswith("x.") else 0.0
    return Result(name, measure(ours, recorded), max(tolerance["tol"], single))


def draw_line(recorded, computed, tolerances):
    """Compares the file `metric_draw_line`."""
    tol = tolerances["metric_draw_line image"]["tol"]
    yield Result("label", differing(computed["label"], recorded["label"]), 0.0)
    for name, angles, thickness in [
        ("image", "angle", 2.0),
        ("image_16", "angle_16", 2.0),
        ("image_w3", "angle_16", 3.0),
    ]:
        for i, angle in enumerate(recorded[angles]):
            image, eighths = recorded[name][i], np.rint(angle / (np.pi / 4.0))
            candidates = [computed[name][i]]
            # At odd multiples of π/4 the last bit of sine and cosine decides whether the line is drawn row by
            # row or column by column, which changes the image. Either is right.
            if eighths % 2 == 1 and abs(angle - eighths * np.pi / 4.0) < 1e-15:
                candidates += list(draw([angle - 1e-12, angle + 1e-12], image.shape[0], thickness))
            yield Result(f"{name} at {angle:.9f}", min(absolute(c, image) for c in candidates), tol)


def line_eval(recorded, computed, tolerances):
    """Compares a file `metric_line_eval_CASE`."""
    for name in ("distance", "runner_up_gap"):
        tol = tolerances["metric_line_eval distance"]["tol"]
        yield Result(name, absolute(computed[name], recorded[name]), tol)
    clear = recorded["runner_up_gap"] > TIE
    yield Result("bank_index", differing(computed["bank_index"][clear], recorded["bank_index"][clear]), 0.0)
    closest, tol = recorded["closest_angle"], tolerances["metric_line_eval closest_angle"]["tol"]
    yield Result("closest_angle", absolute(computed["closest_angle"][clear], closest[clear]), tol)
    tied = not clear.all()
    if tied:
        # Where lines are equally near, the recorded one must be one of them.
        images = recorded["input"][~clear].reshape(-1, SIDE * SIDE)
        lines = draw(closest[~clear], SIDE).reshape(images.shape)
        lines /= np.linalg.norm(lines, axis=1, keepdims=True)
        distances = np.array([cosine_distances(images[[i]], lines[[i]])[0, 0] for i in range(len(images))])
        yield Result("closest_angle where tied", absolute(distances, computed["distance"][~clear]), TIE)

    scores, tol = recorded["smoothness"], tolerances[SMOOTH]["tol"]
    of_recorded = np.array([smoothness(path) for path in closest])
    yield Result("smoothness of the recorded angles", absolute(of_recorded, scores), tol)
    yield Result("smoothness", absolute(computed["smoothness"], scores), TIED_SMOOTHNESS if tied else tol)
    means = tolerances["mean_distance, mean_smoothness"]
    for name in ("mean_distance", "mean_smoothness"):
        error = absolute(computed[name], recorded[name])
        tol = TIED_MEAN if tied and name == "mean_smoothness" else means["tol"]
        yield Result(name, 0.0 if error <= means["abs_floor"] else error / abs(float(recorded[name][0])), tol)


def metric_smoothness(recorded, computed, tolerances):
    """Compares the file `metric_smoothness`."""
    error = absolute(computed["smoothness"], recorded["smoothness"])
    yield Result("smoothness", error, tolerances[SMOOTH]["tol"])


def cluster(recorded, computed, tolerances):
    """Compares the file `cluster`: columns up to their signs, clusters up to their numbers."""
    tol, accuracy = tolerances[WHITENED]["tol"], tolerances[ACCURACY]["tol"]
    for name in ("mean", "singular_values"):
        yield Result(name, to_largest(computed[name], recorded[name]), tol)
    signs = np.sign((computed["train_whitened"] * recorded["train_whitened"]).sum(0))
    for part in ("train", "test"):
        name = f"{part}_whitened"
        yield Result(name, absolute(computed[name] * signs, recorded[name]), tol)
        name = f"{part}_gram_32"
        yield Result(name, absolute(computed[name], recorded[name]), tol)

    ours, theirs = computed["kmeans_centers"] * signs, recorded["kmeans_centers"]
    apart = np.abs(ours[:, None] - theirs[None]).max(2)
    one_to_one = len(set(apart.argmin(1))) == len(theirs)
    yield Result("kmeans_centers", largest(apart.min(1)) if one_to_one else inf, tol)
    for name in (
        "kmeans_train_inertia",
        "kmeans_test_inertia",
        "kmeans_train_inertia_other_seeds",
        "raw_kmeans_train_inertia",
    ):
        above = computed[name] / recorded[name] - 1.0
        # A lower inertia is a better optimum than the recorded one. A tenth of the tolerance is allowed.
        yield Result(name, largest(np.where(above < 0.0, -10.0 * above, above)), tolerances[INERTIA]["tol"])
    for part in ("train", "test"):
        name = f"kmeans_{part}_assign"
        yield Result(name, 1.0 - matched_accuracy(computed[name], recorded[name]), accuracy)
        # The recorded centres determine the recorded numbers and inertia.
        assigned, inertia = assign(recorded[f"{part}_whitened"], theirs)
        yield Result(f"{name} of the recorded centres", differing(assigned, recorded[name]), 0.0)
        inertia /= recorded[f"kmeans_{part}_inertia"][0]
        yield Result(f"kmeans_{part}_inertia of the recorded centres", abs(inertia - 1.0), 1e-5)
    for name in recorded:
        if name.endswith("accuracy"):
            yield Result(name, absolute(computed[name], recorded[name]), accuracy)


SPECIAL = {"metric_draw_line": draw_line, "metric_smoothness": metric_smoothness, "cluster": cluster}


def file(stem, recorded, outputs, computed, tolerances):
    """Yields the comparisons of all outputs of a file; `recorded` are all its tensors."""
    recorded = {name: wide(value) for name, value in recorded.items()}
    special = line_eval if stem.startswith("metric_line_eval_") else SPECIAL.get(stem)
    if special is None:
        for name in outputs:
            yield output(stem, name, recorded[name], computed, tolerances)
        return
    yield from special(recorded, computed, tolerances)
    for name in sorted(set(outputs) - set(computed)):
        yield Result(f"{name} (not computed)", nan, 0.0)
