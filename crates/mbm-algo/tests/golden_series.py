"""Generates golden/series.json: features of time series by the reference implementations of MiniRocket and Hydra.

usage: python golden_series.py MINIROCKET
MINIROCKET is a clone of github.com/angus924/minirocket, for series of different lengths. Needs: pip install aeon==1.6.0 torch
Values are multiples of 1/8, so that sums are exact in any order.
"""
import json
import pathlib
import sys

import aeon
import numpy as np
import torch
from aeon.classification.convolution_based._hydra import _SparseScaler
from aeon.transformations.collection.convolution_based import MiniRocket
from aeon.transformations.collection.convolution_based._hydra import HydraTransformer
from aeon.transformations.collection.convolution_based._minirocket import _fit_dilations

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "code"))
import minirocket_multivariate_variable as variable  # noqa: E402

rng = np.random.default_rng(3)


def dyadic(*shape):
    return (rng.integers(-16, 17, shape) / 8).astype(np.float32)


def rounded(values, digits):
    """Returns values with so many significant digits; 9 are exact for f32."""
    return [float(f"{value:.{digits}g}") for value in np.asarray(values).ravel()]


def standardized(length):
    """Returns integers divided by 4 whose mean is exactly 0 and whose variance is exactly 1."""
    while True:
        values = rng.integers(-9, 10, length)
        if values.sum() == 0 and (values ** 2).sum() == 16 * length:
            return (values / 4).astype(np.float32)


def parameters(fitted):
    per_combination, channels, dilations, n_features, biases = fitted
    ends = np.cumsum(per_combination)
    combinations = [channels[end - n:end].tolist() for end, n in zip(ends, per_combination)]
    return {"dilations": dilations.tolist(), "n_features": n_features.tolist(), "channels": combinations, "biases": rounded(biases, 9)}


def steps(rows):
    """Returns rows [channels, steps] as [steps * channels]."""
    return [row.T.ravel().tolist() for row in rows]


def fitted():
    """One channel and one row: nothing is random."""
    row = standardized(40)
    transform = MiniRocket(n_kernels=84 * 6).fit(row[None, None])
    return {"row": row.tolist(), **parameters(transform.parameters)}


def same_length(n_channels):
    rows = dyadic(2, n_channels, 30)
    transform = MiniRocket(n_kernels=84 * 4, random_state=1).fit(rows)
    features = transform.transform(rows)
    return {"n_channels": n_channels, "padding": "alternating", "rows": steps(rows), **parameters(transform.parameters), "features": rounded(features, 4)}


def different_lengths(n_channels):
    lengths = np.array([40, 25, 9, 3], dtype=np.int32)
    rows = [dyadic(n_channels, length) for length in lengths]
    joined = np.concatenate(rows, axis=1)
    np.random.seed(2)
    found = variable.fit(joined, lengths, num_features=84 * 4)
    features = variable.transform(joined, lengths, found)
    return {"n_channels": n_channels, "padding": "always", "rows": steps(rows), **parameters(found), "features": rounded(features, 4)}


def hydra(n_channels):
    rows = dyadic(3, n_channels, 40)
    transform = HydraTransformer(n_groups=4, random_state=5, output_type="numpy").fit(rows)
    inner = transform._hydra
    # One channel is read by all groups.
    channels = [group.tolist() for part in inner.idx for group in part.reshape(-1, part.shape[-1])]
    if n_channels == 1:
        channels = [[0]] * len(channels)
    features = transform.transform(rows)
    scaled = _SparseScaler().fit_transform(torch.tensor(features))
    return {"n_channels": n_channels, "rows": steps(rows), "dilations": inner.dilations.tolist(), "channels": channels,
            "weights": rounded(inner.W.numpy(), 9), "features": rounded(features, 6), "scaled": rounded(scaled, 6)}


def dilations():
    cases = []
    for length in [9, 10, 12, 16, 17, 24, 33, 50, 96, 150, 300, 577, 1460, 4097]:
        found, counts = _fit_dilations(length, 10_000, 32)
        cases.append({"length": length, "dilations": found.tolist(), "n_features": counts.tolist()})
    return cases


path = pathlib.Path(__file__).parent / "golden" / "series.json"
path.write_text(json.dumps({
    "aeon": aeon.__version__, "torch": torch.__version__, "dilations": dilations(), "fitted": fitted(),
    "minirocket": [same_length(1), same_length(3), different_lengths(1), different_lengths(3)], "hydra": [hydra(1), hydra(3)],
}) + "\n")
