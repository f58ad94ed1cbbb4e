"""Clustering of latents in NumPy: whitening, k-means with restarts, and matching of clusters to classes."""

import numpy as np

RESTARTS, MOST_UPDATES, TOLERANCE = 50, 1000, 1e-4
FLOOR = 1e-5


def whitening(train):
    """Returns mean, singular values and right singular vectors (columns) of the centred training latents."""
    mean = train.mean(0)
    _, singular, vectors = np.linalg.svd(train - mean, full_matrices=False)
    return mean, singular, vectors.T


def squares(points, centres):
    """Returns the squared distance of each point to each centre."""
    return ((points[:, None, :] - centres[None, :, :]) ** 2).sum(2)


def assign(points, centres):
    """Returns the nearest centre of each point, and the sum of the squared distances to them."""
    distances = squares(points, centres)
    return distances.argmin(1), distances.min(1).sum()


def moved(points, centres, nearest):
    """Returns the mean of the points of each cluster.

    A cluster without points takes over the point that is farthest from its own centre.
    """
    counts = np.bincount(nearest, minlength=len(centres))
    if (counts == 0).any():
        far = iter(np.argsort(-((points - centres[nearest]) ** 2).sum(1)))
        nearest = nearest.copy()
        for cluster in np.flatnonzero(counts == 0):
            point = next(i for i in far if counts[nearest[i]] > 1)
            counts[nearest[point]] -= 1
            nearest[point], counts[cluster] = cluster, 1
    sums = np.zeros_like(centres)
    np.add.at(sums, nearest, points)
    return sums / counts[:, None]


def kmeans(points, clusters, seed):
    """Returns the centres with the lowest inertia of all restarts, each of which begins at random points."""
    random = np.random.default_rng(seed)
    enough = TOLERANCE * points.var(0).mean()
    best, lowest = None, np.inf
    for _ in range(RESTARTS):
        centres = points[random.choice(len(points), clusters, replace=False)]
        before = None
        for _ in range(MOST_UPDATES):
            nearest, _ = assign(points, centres)
            if before is not None and (nearest == before).all():
                break
            before, old = nearest, centres
            centres = moved(points, centres, nearest)
            if ((centres - old) ** 2).sum() <= enough:
                break
        _, inertia = assign(points, centres)
        if inertia < lowest:
            best, lowest = centres, inertia
    return best


def matched_accuracy(assigned, classes):
    """Returns the largest share of examples that a one-to-one matching of clusters and classes gets right.

    All matchings are considered. `best[s]` is the largest number of examples that the clusters so far get
    right if they are matched with classes of the set `s`, whose members are the bits of `s`.
    """
    names, numbers = np.unique(classes, return_inverse=True)
    best = np.zeros(1 << len(names), np.int64)
    for cluster in np.unique(assigned):
        counts = np.bincount(numbers[assigned == cluster], minlength=len(names))
        after = best.copy()  # The cluster may remain without a class.
        for taken in range(len(best)):
            for one, count in enumerate(counts):
                if not taken >> one & 1:
                    with_one = taken | 1 << one
                    after[with_one] = max(after[with_one], best[taken] + count)
        best = after
    return best.max() / len(classes)


def cluster(inputs):
    """Computes the values of the file `cluster`."""
    latents = {part: inputs[f"{part}_latents"] for part in ("train", "test")}
    classes = {part: inputs[f"{part}_labels"] for part in ("train", "test")}
    clusters = len(np.unique(classes["train"]))
    mean, singular, vectors = whitening(latents["train"])
    white = {part: (values - mean) @ vectors / (singular + FLOOR) for part, values in latents.items()}
    centres = kmeans(white["train"], clusters, seed=0)
    out = {"mean": mean, "singular_values": singular, "kmeans_centers": centres}
    for part, values in white.items():
        assigned, inertia = assign(values, centres)
        out |= {
            f"{part}_whitened": values,
            f"{part}_gram_32": values[:32] @ values[:32].T,
            f"kmeans_{part}_assign": assigned,
            f"kmeans_{part}_inertia": np.array([inertia]),
            f"kmeans_{part}_accuracy": np.array([matched_accuracy(assigned, classes[part])]),
        }
    others = [assign(white["train"], kmeans(white["train"], clusters, seed))[1] for seed in range(1, 7)]
    out["kmeans_train_inertia_other_seeds"] = np.array(others)

    raw = kmeans(latents["train"], clusters, seed=0)
    out["raw_kmeans_train_inertia"] = np.array([assign(latents["train"], raw)[1]])
    accuracy = matched_accuracy(assign(latents["test"], raw)[0], classes["test"])
    out["raw_kmeans_test_accuracy"] = np.array([accuracy])

    for name in inputs:
        case, _, what = name.partition(".")
        if what == "assign":
            accuracy = matched_accuracy(inputs[name], inputs[f"{case}.labels"])
            out[f"{case}.accuracy"] = np.array([accuracy])
    return out
