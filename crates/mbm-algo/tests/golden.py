"""Generates golden/metrics.json and golden/machines.json: random cases with the results of scikit-learn and scipy.

usage: python golden.py        needs scikit-learn 1.9 and scipy (pip install scikit-learn)
"""
import json
import pathlib

import numpy as np
import sklearn
from scipy import stats
from sklearn import metrics as m
from sklearn.linear_model import Ridge
from sklearn.svm import SVC, SVR

FOLDER = pathlib.Path(__file__).parent / "golden"
rng = np.random.default_rng(7)


def classified(n, k, sharp):
    truth = rng.integers(0, k, n)
    truth[:k] = np.arange(k)
    scores = rng.normal(size=(n, k)) + sharp * np.eye(k)[truth]
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    p = np.round(p, 2) + 1e-3           # so that scores tie
    p /= p.sum(1, keepdims=True)
    p = p.astype(np.float32)
    predicted = p.argmax(1)
    rest = p[:, 1] if k == 2 else p
    onehot = np.eye(k)[truth]
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
        "recall_macro": m.recall_score(truth, predicted, average="macro"),
        "hits_at_3": np.mean([t in sorted(range(k), key=lambda c: (-r[c], c))[:3] for t, r in zip(truth, p)]),
        "roc_auc": m.roc_auc_score(truth if k == 2 else onehot, rest, average="macro"),
        "pr_auc": m.average_precision_score(truth if k == 2 else onehot, rest, average="macro"),
        "log_loss": m.log_loss(truth, q, labels=range(k)),
        "mcc": m.matthews_corrcoef(truth, predicted),
        "quadratic_kappa": m.cohen_kappa_score(truth, predicted, weights="quadratic", labels=range(k)),
        "ece": ece,
    }
    return {"n_classes": k, "truth": truth.tolist(), "probabilities": p.ravel().tolist(), "want": {a: float(b) for a, b in want.items()}}


def regressed(n):
    truth = np.round(rng.normal(5, 3, n), 1)
    predicted = np.round(truth + rng.normal(size=n), 1)
    want = {
        "mean_absolute_error": m.mean_absolute_error(truth, predicted),
        "mean_squared_error": m.mean_squared_error(truth, predicted),
        "root_mean_squared_error": m.root_mean_squared_error(truth, predicted),
        "r2": m.r2_score(truth, predicted),
        "mean_absolute_percentage_error": m.mean_absolute_percentage_error(truth, predicted),
        "spearman": stats.spearmanr(truth, predicted)[0],
        "pearson": stats.pearsonr(truth, predicted)[0],
    }
    return {"truth": truth.tolist(), "predicted": predicted.tolist(), "want": {a: float(b) for a, b in want.items()}}


def labelled(n, k):
    truth = rng.random((n, k)) < 0.3
    truth[0], truth[1] = True, False
    p = np.clip(truth * 0.3 + rng.random((n, k)) * 0.7, 0, 1).round(2).astype(np.float32)
    predicted = p >= 0.5
    intersection, union = (truth & predicted).sum(1), (truth | predicted).sum(1)
    want = {
        "subset_accuracy": m.accuracy_score(truth, predicted),
        "jaccard": np.where(union == 0, 1.0, intersection / np.maximum(union, 1)).mean(),
        "f1_macro": m.f1_score(truth, predicted, average="macro"),
        "f1_micro": m.f1_score(truth, predicted, average="micro"),
        "hamming_loss": m.hamming_loss(truth, predicted),
        "roc_auc": m.roc_auc_score(truth, p, average="macro"),
        "pr_auc": m.average_precision_score(truth, p, average="macro"),
    }
    return {"n_labels": k, "truth": truth.ravel().tolist(), "probabilities": p.ravel().tolist(), "want": {a: float(b) for a, b in want.items()}}


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
(FOLDER / "metrics.json").write_text(json.dumps(cases) + "\n")
(FOLDER / "machines.json").write_text(json.dumps({"scikit-learn": sklearn.__version__, **machines()}) + "\n")
