"""Generates golden/metrics.json, golden/machines.json and golden/linear.json: random and degenerate cases with the results of scikit-learn
and scipy.

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
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.preprocessing import QuantileTransformer
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


def over_classes(score, onehot, p, w=None):
    """Returns the mean over the classes that have both positive and negative rows; None if there are none."""
    both = [c for c in range(onehot.shape[1]) if 0 < onehot[:, c].sum() < len(onehot)]
    return float(np.mean([score(onehot[:, c], p[:, c], sample_weight=w) for c in both])) if both else None


def weights(case, w):
    """Adds the weights of the rows to a case, if it has any."""
    return case if w is None else {**case, "weights": w.tolist()}


def classified(n, k, sharp, rng=rng, weighted=False):
    truth = rng.integers(0, k, n)
    truth[:k] = np.arange(k)
    scores = rng.normal(size=(n, k)) + sharp * np.eye(k)[truth]
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    p = np.round(p, 2) + 1e-3           # so that scores tie
    p /= p.sum(1, keepdims=True)
    return classified_case(truth, p.astype(np.float32), drawn(rng, n) if weighted else None)


def drawn(rng, n):
    return rng.choice([0.25, 0.5, 1.0, 3.0], n)


def classified_case(truth, p, w=None):
    n, k = p.shape
    predicted = p.argmax(1)
    rest = p[:, 1:] if k == 2 else p
    onehot = np.eye(k)[truth][:, 1:] if k == 2 else np.eye(k)[truth]
    # float32 rows sum to 1 only approximately; scikit-learn normalizes them as mbm-algo does.
    q = p.astype(float) / p.astype(float).sum(1, keepdims=True)
    confidence = p.max(1)
    bins = np.clip(np.ceil(confidence.astype(float) * 10), 1, 10)
    v = np.ones(n) if w is None else w
    mean = lambda values, b: np.average(values[bins == b].astype(float), weights=v[bins == b])
    ece = sum(abs(mean(confidence, b) - mean(predicted == truth, b)) * v[bins == b].sum()
              for b in range(1, 11) if (bins == b).any()) / v.sum()
    sw = {"sample_weight": w}
    want = {
        "accuracy": m.accuracy_score(truth, predicted, **sw),
        "balanced_accuracy": m.balanced_accuracy_score(truth, predicted, **sw),
        "f1_macro": m.f1_score(truth, predicted, average="macro", **sw),
        "f1_micro": m.f1_score(truth, predicted, average="micro", **sw),
        "precision_macro": m.precision_score(truth, predicted, average="macro", zero_division=0, **sw),
        "recall_macro": m.recall_score(truth, predicted, average="macro", zero_division=0, **sw),
        "hits_at_3": np.average([t in sorted(range(k), key=lambda c: (-r[c], c))[:3] for t, r in zip(truth, p)], weights=w),
        "roc_auc": over_classes(m.roc_auc_score, onehot, rest, w),
        "pr_auc": over_classes(m.average_precision_score, onehot, rest, w),
        "log_loss": m.log_loss(truth, q, labels=range(k), **sw),
        "mcc": m.matthews_corrcoef(truth, predicted, **sw),
        "quadratic_kappa": defined(m.cohen_kappa_score, truth, predicted, weights="quadratic", labels=range(k), **sw),
        "ece": ece,
    }
    case = {"n_classes": k, "truth": truth.tolist(), "probabilities": p.ravel().tolist(), "want": numbers(want)}
    return weights(case, w)


def numbers(want):
    return {name: None if value is None else float(value) for name, value in want.items()}


def regressed(n, rng=rng, weighted=False):
    truth = np.round(rng.normal(5, 3, n), 1)
    predicted = np.round(truth + rng.normal(size=n), 1)
    return regressed_case(truth, predicted, drawn(rng, n) if weighted else None)


def regressed_case(truth, predicted, w=None):
    sw = {"sample_weight": w}
    want = {
        "mean_absolute_error": m.mean_absolute_error(truth, predicted, **sw),
        "mean_squared_error": m.mean_squared_error(truth, predicted, **sw),
        "root_mean_squared_error": m.root_mean_squared_error(truth, predicted, **sw),
        # The sums of scikit-learn round, so that a constant need not equal its mean.
        "r2": None if np.ptp(truth) == 0 else m.r2_score(truth, predicted, **sw),
        "mean_absolute_percentage_error": m.mean_absolute_percentage_error(truth, predicted, **sw),
        "spearman": correlation(stats.spearmanr, truth, predicted, w),
        "pearson": correlation(stats.pearsonr, truth, predicted, w),
    }
    return weights({"truth": truth.tolist(), "predicted": predicted.tolist(), "want": numbers(want)}, w)


def correlation(score, truth, predicted, w):
    """scipy's correlations take no weights: rows are repeated instead, four times as often as their weights say."""
    if w is not None:
        truth, predicted = [np.repeat(values, (4 * w).astype(int)) for values in (truth, predicted)]
    return defined(lambda: score(truth, predicted)[0]) if len(truth) > 1 else None


def labelled(n, k, rng=rng, weighted=False):
    truth = rng.random((n, k)) < 0.3
    truth[0], truth[1] = True, False
    p = np.clip(truth * 0.3 + rng.random((n, k)) * 0.7, 0, 1).round(2).astype(np.float32)
    return labelled_case(truth, p, drawn(rng, n) if weighted else None)


def labelled_case(truth, p, w=None):
    n, k = truth.shape
    predicted = p >= 0.5
    intersection, union = (truth & predicted).sum(1), (truth | predicted).sum(1)
    average = {"average": "macro", "zero_division": 0}
    sw = {"sample_weight": w}
    want = {
        "subset_accuracy": m.accuracy_score(truth, predicted, **sw),
        "jaccard": np.average(np.where(union == 0, 1.0, intersection / np.maximum(union, 1)), weights=w),
        "f1_macro": m.f1_score(truth, predicted, **average, **sw),
        "f1_micro": m.f1_score(truth, predicted, average="micro", zero_division=0, **sw),
        "hamming_loss": m.hamming_loss(truth, predicted, **sw),
        "roc_auc": over_classes(m.roc_auc_score, truth, p, w),
        "pr_auc": over_classes(m.average_precision_score, truth, p, w),
    }
    case = {"n_labels": k, "truth": truth.ravel().tolist(), "probabilities": p.ravel().tolist(), "want": numbers(want)}
    return weights(case, w)


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
    w = np.random.default_rng(12).choice([0.0, 0.5, 1.0, 3.0], n)
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
        "weights": w.tolist(),
        "weighted_svc_rbf": SVC(C=1.0, **tight).fit(x, side, w).decision_function(probe).tolist(),
        "weighted_svr_rbf": SVR(C=1.0, epsilon=0.1, **tight).fit(x, y, w).predict(probe).tolist(),
        "weighted_svr_linear": SVR(C=1.0, epsilon=0.1, kernel="linear", **tight).fit(x, y, w).predict(probe).tolist(),
        "weighted_ridge": Ridge(alpha=2.0).fit(x.astype(float), y, w).predict(probe.astype(float)).tolist(),
    }



def rows_with_sparse(own, n, n_dense, n_sparse):
    """Dense columns followed by sparse ones, as two lists for JSON and as one matrix."""
    dense = own.normal(size=(n, n_dense)).astype(np.float32)
    sparse = (own.normal(size=(n, n_sparse)) * (own.random((n, n_sparse)) < 0.3)).astype(np.float32)
    stored = {"n_dense": n_dense, "dense": dense.ravel().tolist(), "n_sparse": n_sparse, "sparse": sparse.ravel().tolist()}
    return stored, np.hstack([dense, sparse]).astype(float)


def logistic(n_classes, c):
    own = np.random.default_rng(n_classes)
    stored, x = rows_with_sparse(own, 90, 3, 8)
    classes = (x[:, :n_classes] + own.normal(size=(90, n_classes))).argmax(1)
    weights = own.choice([0.5, 1.0, 3.0], 90)
    model = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, classes, weights)
    return {**stored, "classes": classes.tolist(), "n_classes": n_classes, "weights": weights.tolist(), "c": c,
            "probabilities": model.predict_proba(x).ravel().tolist()}


def ridge(n, n_dense, n_sparse):
    own = np.random.default_rng(n)
    stored, x = rows_with_sparse(own, n, n_dense, n_sparse)
    y = (x[:, :2] + 0.5 * own.normal(size=(n, 2)) + 5).astype(np.float32)
    weights = own.choice([0.5, 1.0, 3.0], n)
    alphas = [0.01, 1.0, 10.0]
    left_out = lambda alpha, i: Ridge(alpha).fit(np.delete(x, i, 0), np.delete(y, i, 0), np.delete(weights, i)).predict(x[i:i + 1])[0]
    return {**stored, "targets": y.ravel().tolist(), "weights": weights.tolist(), "alphas": alphas,
            "predictions": [Ridge(alpha).fit(x, y, weights).predict(x).ravel().tolist() for alpha in alphas],
            "left_out": [[float(v) for i in range(n) for v in left_out(alpha, i)] for alpha in alphas],
            "best_alpha": float(RidgeCV(alphas).fit(x, y).alpha_)}


TEXTS = ["The quick brown fox jumps over the lazy dog.", "the quick, QUICK fox; a dog's life", "Größe und Übermaß: naïve café, 2 Äpfel",
         "\tsnake_case  and   double  spaces\n", "日本語 のテキスト と 日本語", "x y z", "", "Fox & dog & fox & dog & fox", "a1 b2 c3 a1",
         "Ein Hund, ein Fuchs -- ein Café"]


def vectorized(ngrams, **options):
    vectorizer = TfidfVectorizer(sublinear_tf=True, **options)
    x = vectorizer.fit_transform(TEXTS).tocsr()
    x.sort_indices()
    return {"ngrams": ngrams, "min_df": options["min_df"], "terms": vectorizer.get_feature_names_out().tolist(), "idf": vectorizer.idf_.tolist(),
            "offsets": x.indptr.tolist(), "columns": x.indices.tolist(), "values": x.data.tolist()}


def decomposed():
    own = np.random.default_rng(3)
    stored, x = rows_with_sparse(own, 60, 4, 20)
    x[:, 0] *= 5
    stored["dense"] = x[:, :4].ravel().tolist()
    svd = TruncatedSVD(3, algorithm="arpack").fit(x)
    return {**stored, "singular_values": svd.singular_values_.tolist(), "magnitudes": abs(svd.transform(x)).ravel().tolist()}


def scaled(n):
    own = np.random.default_rng(n)
    x = np.stack([own.normal(size=n), own.exponential(100, n), own.integers(0, 4, n)], 1)
    x[own.random((n, 3)) < 0.1] = np.nan
    x = x.astype(np.float32).astype(float)
    probe = np.vstack([x[:20], x[:20] + 0.3, [[1e6] * 3, [-1e6] * 3]]).astype(np.float32).astype(float)
    normal = QuantileTransformer(n_quantiles=min(200, n), output_distribution="normal", subsample=None).fit(x).transform(probe.copy())
    # RealMLP's preprocessing, as its reference implementation (pytabkit) computes it.
    spread = np.nanquantile(x, 0.75, axis=0) - np.nanquantile(x, 0.25, axis=0)
    z = (probe - np.nanmedian(x, axis=0)) / spread
    numbers = lambda values: [None if np.isnan(v) else float(v) for v in values.ravel()]
    return {"n_cols": 3, "x": numbers(x), "probe": numbers(probe), "normal": numbers(normal), "robust": numbers(z / np.sqrt(1 + (z / 3) ** 2)),
            "medians": np.nanmedian(x, axis=0).tolist()}


FOLDER.mkdir(exist_ok=True)
cases = {"scikit-learn": sklearn.__version__, "classified": [classified(60, 2, 1.0), classified(80, 3, 1.0), classified(120, 6, 0.5)],
         "regressed": [regressed(50)], "labelled": [labelled(60, 4)]}
cases["classified"] += [classified_case(*case) for case in FEW_CLASSIFIED]
cases["regressed"] += [regressed_case(np.array(truth), np.array(predicted)) for truth, predicted in FEW_REGRESSED]
cases["labelled"] += [labelled_case(np.array(truth), single(*p)) for truth, p in FEW_LABELLED]
with_weights = {"rng": np.random.default_rng(11), "weighted": True}
cases["classified"] += [classified(60, 2, 1.0, **with_weights), classified(90, 4, 0.7, **with_weights)]
cases["regressed"] += [regressed(50, **with_weights)]
cases["labelled"] += [labelled(60, 4, **with_weights)]
cases["retrieved"] = [retrieved(12, 20, 4), retrieved(1, 7, 3), retrieved_case(single([1, 0]), single([0, 1]), np.array([[True]]))]
(FOLDER / "metrics.json").write_text(json.dumps(cases) + "\n")
(FOLDER / "machines.json").write_text(json.dumps({"scikit-learn": sklearn.__version__, **machines()}) + "\n")
linear = {"scikit-learn": sklearn.__version__, "logistic": [logistic(k, c) for k in (2, 3) for c in (0.1, 10.0)],
          "ridge": [ridge(60, 3, 8), ridge(20, 5, 40)], "texts": TEXTS,
          "tfidf": [vectorized({"words": {"min": 1, "max": 2}}, ngram_range=(1, 2), min_df=1),
                    vectorized({"words": {"min": 1, "max": 2}}, ngram_range=(1, 2), min_df=2),
                    vectorized({"characters": {"min": 2, "max": 5}}, analyzer="char_wb", ngram_range=(2, 5), min_df=2)],
          "svd": decomposed(), "scaling": [scaled(300), scaled(25)]}
(FOLDER / "linear.json").write_text(json.dumps(linear, ensure_ascii=False) + "\n")
