"""Generates golden/trees.json: predictions of scikit-learn's trees for their training rows.

All columns have fewer than 255 distinct values, so that bins are values, as those of scikit-learn are.

usage: python golden_trees.py        needs scikit-learn 1.9 (pip install scikit-learn)
"""
import json
import pathlib

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

FILE = pathlib.Path(__file__).parent / "golden/trees.json"


def table(n, missing, seed):
    """Whole numbers; a product, a square and a step with noise."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-100, 100, (n, 5)).astype(float)
    x[:, 4] = rng.integers(0, 3, n)
    y = x[:, 0] * x[:, 1] / 3e3 + (x[:, 2] / 50) ** 2 + (x[:, 4] == 1) + 0.2 * rng.normal(size=n)
    # Where the third column is missing, the target tells it; in the fourth, values are missing at random.
    x[rng.random(n) < missing, 2] = np.nan
    x[rng.random(n) < missing, 3] = np.nan
    return x, y.astype(np.float32).astype(float), rng.choice([0.5, 1.0, 2.0], n)


def case(x, targets, weights, predicted, **settings):
    cells = [None if np.isnan(v) else v for v in x.ravel()]
    return {"n_cols": x.shape[1], "x": cells, "targets": np.ravel(targets).tolist(), "weights": weights.tolist(),
            "predicted": np.ravel(predicted).tolist(), **settings}


def boosted(n, missing, max_leaves, l2, seed):
    x, y, weights = table(n, missing, seed)
    model = HistGradientBoostingRegressor(max_iter=30, max_leaf_nodes=max_leaves, l2_regularization=l2, early_stopping=False)
    predicted = model.fit(x, y, weights).predict(x)
    return case(x, y, weights, predicted, max_leaves=max_leaves, l2=l2)


def boosted_labels(n, missing, seed):
    x, y, weights = table(n, missing, seed)
    y = (y > np.median(y)).astype(int)
    model = HistGradientBoostingClassifier(max_iter=30, early_stopping=False)
    predicted = model.fit(x, y, weights).predict_proba(x)[:, 1]
    return case(x, y, weights, predicted, max_leaves=31, l2=0.0)


def tree(n, missing, min_rows, seed):
    x, y, weights = table(n, missing, seed)
    model = DecisionTreeRegressor(min_samples_leaf=min_rows, random_state=0).fit(x, y, weights)
    return case(x, y, weights, model.predict(x), min_rows=min_rows)


def tree_of_classes(n, min_rows, seed):
    x, y, weights = table(n, 0.0, seed)
    classes = np.digitize(y, np.quantile(y, [0.3, 0.7]))
    model = DecisionTreeClassifier(min_samples_leaf=min_rows, random_state=0).fit(x, classes, weights)
    return case(x, np.eye(3)[classes], weights, model.predict_proba(x), min_rows=min_rows)


cases = {
    "scikit-learn": sklearn.__version__,
    "squared": [boosted(400, 0.0, 31, 0.0, 1), boosted(400, 0.1, 31, 0.0, 2), boosted(300, 0.1, 6, 2.0, 3)],
    "logistic": [boosted_labels(400, 0.0, 4), boosted_labels(400, 0.1, 5)],
    "trees": [tree(300, 0.0, 1, 6), tree(300, 0.0, 7, 7), tree(300, 0.1, 7, 8), tree_of_classes(300, 7, 9)],
}
FILE.write_text(json.dumps(cases) + "\n")
