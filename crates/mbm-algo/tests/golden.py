"""Generates golden/metrics.json and golden/machines.json: random and degenerate cases with the results of scikit-learn and scipy.

A metric that is undefined on a case is null there. Over classes, labels and queries, the mean is that of those on which it is defined.

usage: python golden.py        needs scikit-learn 1.9 and scipy (pip install scikit-learn)
"""
import json
import pathlib
import warnings

import numpy as np
import sklearn
from scipy import stats
from scipy.stats import ConstantInputWarning
from sklearn import metrics as m
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import Ridge
from sklearn.svm import SVC, SVR

FOLDER = pathlib.Path(__file__).parent / "golden"
rng = np.random.default_rng(7)


def defined(score, *arguments, **options):
    """Returns the value of a metric, or None where scikit-learn and scipy warn that it is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndefinedMetricWarning)
        warnings.simplefilter("error", ConstantInputWarning)
        try:
            value = float(score(*arguments, **options))
        except (UndefinedMetricWarning, ConstantInputWarning):
            return None
    return value if np.isfinite(value) else None


def over_classes(score, onehot, p):
    """Returns the mean over the classes that have both positive and negative rows; None if there are none."""
    both = [c for c in range(onehot.shape[1]) if 0 < onehot[:, c].sum() < len(onehot)]
    return float(np.mean([score(onehot[:, c], p[:, c]) for c in both])) if both else None


def classified(n, k, sharp):
    truth = rng.integers(0, k, n)
    truth[:k] = np.arange(k)
    scores = rng.normal(size=(n, k)) + sharp * np.eye(k)[truth]
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    p = np.round(p, 2) + 1e-3           # so that scores tie
    p /= p.sum(1, keepdims=True)
    return classified_case(truth, p.astype(np.float32))


def classified_case(truth, p):
    n, k = p.shape
    predicted = p.argmax(1)
    rest = p[:, 1:] if k == 2 else p
    onehot = np.eye(k)[truth][:, 1:] if k == 2 else np.eye(k)[truth]
    # float32 rows sum to 1 only approximately; scikit-learn normalizes them as mbm-algo does.
    q = p.astype(float) / p.astype(float).sum(1, keepdims=True)
    confidence = p.max(1)
    bins = np.clip(np.ceil(confidence.astype(float) * 10), 1, 10)
    ece = sum(abs(confidence[bins == b].mean(dtype=float) - (predicted == truth)[bins == b].mean()) * (bins == b).sum()
              for b in range(1, 11) if (bins == b).any()) / n
    want = {
        "accuracy": m.accuracy_score(truth, predicted),
        "balanced_accuracy": m.balanced_accuracy_score(truth, predicted),
        "f1_macro": m.f1_score(truth, predicted, average="macro"),
        "f1_micro": m.f1_score(truth, predicted, average="micro"),
        "precision_macro": m.precision_score(truth, predicted, average="macro", zero_division=0),
        "recall_macro": m.recall_score(truth, predicted, average="macro", zero_division=0),
        "hits_at_3": np.mean([t in sorted(range(k), key=lambda c: (-r[c], c))[:3] for t, r in zip(truth, p)]),
        "roc_auc": over_classes(m.roc_auc_score, onehot, rest),
        "pr_auc": over_classes(m.average_precision_score, onehot, rest),
        "log_loss": m.log_loss(truth, q, labels=range(k)),
        "mcc": m.matthews_corrcoef(truth, predicted),
        "quadratic_kappa": defined(m.cohen_kappa_score, truth, predicted, weights="quadratic", labels=range(k)),
        "ece": ece,
    }
    return {"n_classes": k, "truth": truth.tolist(), "probabilities": p.ravel().tolist(), "want": numbers(want)}


def numbers(want):
    return {name: None if value is None else float(value) for name, value in want.items()}


def regressed(n):
    truth = np.round(rng.normal(5, 3, n), 1)
    return regressed_case(truth, np.round(truth + rng.normal(size=n), 1))


def regressed_case(truth, predicted):
    want = {
        "mean_absolute_error": m.mean_absolute_error(truth, predicted),
        "mean_squared_error": m.mean_squared_error(truth, predicted),
        "root_mean_squared_error": m.root_mean_squared_error(truth, predicted),
        # The sums of scikit-learn round, so that a constant need not equal its mean.
        "r2": None if np.ptp(truth) == 0 else m.r2_score(truth, predicted),
        "mean_absolute_percentage_error": m.mean_absolute_percentage_error(truth, predicted),
        "spearman": defined(lambda: stats.spearmanr(truth, predicted)[0]) if len(truth) > 1 else None,
        "pearson": defined(lambda: stats.pearsonr(truth, predicted)[0]) if len(truth) > 1 else None,
    }
    return {"truth": truth.tolist(), "predicted": predicted.tolist(), "want": numbers(want)}


def labelled(n, k):
    truth = rng.random((n, k)) < 0.3
    truth[0], truth[1] = True, False
    p = np.clip(truth * 0.3 + rng.random((n, k)) * 0.7, 0, 1).round(2).astype(np.float32)
    return labelled_case(truth, p)


def labelled_case(truth, p):
    n, k = truth.shape
    predicted = p >= 0.5
    intersection, union = (truth & predicted).sum(1), (truth | predicted).sum(1)
    average = {"average": "macro", "zero_division": 0}
    want = {
        "subset_accuracy": m.accuracy_score(truth, predicted),
        "jaccard": np.where(union == 0, 1.0, intersection / np.maximum(union, 1)).mean(),
        "f1_macro": m.f1_score(truth, predicted, **average),
        "f1_micro": m.f1_score(truth, predicted, average="micro", zero_division=0),
        "hamming_loss": m.hamming_loss(truth, predicted),
        "roc_auc": over_classes(m.roc_auc_score, truth, p),
        "pr_auc": over_classes(m.average_precision_score, truth, p),
    }
    return {"n_labels": k, "truth": truth.ravel().tolist(), "probabilities": p.ravel().tolist(), "want": numbers(want)}


def retrieved(n_queries, n_candidates, width):
    """Unit vectors with random relevant candidates, at least one per query."""
    own = np.random.default_rng(n_queries)
    unit = lambda n: (lambda x: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))(own.normal(size=(n, width)))
    queries, candidates = unit(n_queries), unit(n_candidates)
    relevant = own.random((n_queries, n_candidates)) < 0.2
    relevant[np.arange(n_queries), own.integers(0, n_candidates, n_queries)] = True
    return retrieved_case(queries, candidates, relevant)


def retrieved_case(queries, candidates, relevant):
    cosines = queries.astype(float) @ candidates.astype(float).T
    first = [min(np.argsort(np.argsort(-row))[which]) + 1 for row, which in zip(cosines, relevant)]
    ndcg = m.ndcg_score(relevant, cosines) if relevant.shape[1] > 1 else 1.0     # needs two candidates
    want = {
        "recall_at_1": np.mean([rank <= 1 for rank in first]),
        "recall_at_5": np.mean([rank <= 5 for rank in first]),
        "recall_at_10": np.mean([rank <= 10 for rank in first]),
        "median_rank": np.median(first),
        "mean_rank": np.mean(first),
        "mrr": np.mean([1 / rank for rank in first]),
        "map": m.label_ranking_average_precision_score(relevant, cosines),
        "ndcg": ndcg,
    }
    return {"width": queries.shape[1], "queries": queries.ravel().tolist(), "candidates": candidates.ravel().tolist(),
            "relevant": [np.flatnonzero(which).tolist() for which in relevant], "want": numbers(want)}


def single(*rows):
    return np.array(rows, dtype=np.float32)


# One row, right and wrong; rows of one class; the same prediction for all rows; a class that never occurs.
FEW_CLASSIFIED = [
    (np.array([1]), single([0.2, 0.8])),
    (np.array([0]), single([0.25, 0.25, 0.5])),
    (np.array([1, 1, 1]), single([0.2, 0.8], [0.4, 0.6], [0.9, 0.1])),
    (np.array([2, 2]), single([0.1, 0.2, 0.7], [0.0, 0.0, 1.0])),
    (np.array([0, 1, 0, 1]), single(*[[0.75, 0.25]] * 4)),
    (np.array([0, 2, 0, 2]), single([0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2])),
]
# One row, two rows, constants on either side, whose sums round, and targets of zero.
FEW_REGRESSED = [
    ([3.0], [2.5]), ([3.0, 4.0], [1.0, 5.0]), ([7.0] * 4, [7.0] * 4), ([0.1] * 3, [0.1, 0.2, 0.3]), ([0.1, 0.2, 0.3], [0.1] * 3),
    ([0.1] * 7, [0.7] * 7), ([0.0, 1.0, 2.0], [0.5, 1.0, 2.0]),
]
# One row with and without labels; labels that every row or no row has; no prediction at all.
FEW_LABELLED = [
    ([[True, False]], [[0.9, 0.2]]), ([[False, False]], [[0.1, 0.2]]), ([[False, False]], [[0.9, 0.2]]),
    ([[True, False, True], [True, False, False]], [[0.6, 0.4, 0.3], [0.2, 0.7, 0.4]]),
    ([[True, False], [False, True]], [[0.1, 0.2], [0.3, 0.4]]),
]


def machines():
    n, d = 90, 4
    x = rng.normal(size=(n, d)).astype(np.float32)
    side = (x[:, 0] + 0.5 * x[:, 1] ** 2 + 0.3 * rng.normal(size=n) > 0.4).astype(int)
    y = (np.sin(x[:, 0]) + 0.5 * x[:, 1] + 0.1 * rng.normal(size=n)).astype(np.float32)
    probe = rng.normal(size=(20, d)).astype(np.float32)
    tight = {"tol": 1e-6}
    return {
        "n_cols": d,
        "x": x.ravel().tolist(),
        "classes": side.tolist(),
        "numbers": y.tolist(),
        "probe": probe.ravel().tolist(),
        "svc_rbf": SVC(C=1.0, **tight).fit(x, side).decision_function(probe).tolist(),
        "svr_rbf": SVR(C=1.0, epsilon=0.1, **tight).fit(x, y).predict(probe).tolist(),
        "svr_linear": SVR(C=1.0, epsilon=0.1, kernel="linear", **tight).fit(x, y).predict(probe).tolist(),
        "ridge": Ridge(alpha=2.0).fit(x.astype(float), y).predict(probe.astype(float)).tolist(),
    }


FOLDER.mkdir(exist_ok=True)
cases = {"scikit-learn": sklearn.__version__, "classified": [classified(60, 2, 1.0), classified(80, 3, 1.0), classified(120, 6, 0.5)],
         "regressed": [regressed(50)], "labelled": [labelled(60, 4)]}
cases["classified"] += [classified_case(*case) for case in FEW_CLASSIFIED]
cases["regressed"] += [regressed_case(np.array(truth), np.array(predicted)) for truth, predicted in FEW_REGRESSED]
cases["labelled"] += [labelled_case(np.array(truth), single(*p)) for truth, p in FEW_LABELLED]
cases["retrieved"] = [retrieved(12, 20, 4), retrieved(1, 7, 3), retrieved_case(single([1, 0]), single([0, 1]), np.array([[True]]))]
(FOLDER / "metrics.json").write_text(json.dumps(cases) + "\n")
(FOLDER / "machines.json").write_text(json.dumps({"scikit-learn": sklearn.__version__, **machines()}) + "\n")
