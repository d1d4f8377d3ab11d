"""scikit-learn on one modality of a mixed data set: trees on numbers and categories, TF-IDF on texts, pixels of images.

A setting (the strength of the penalty) is chosen on the validation rows; then the model is fitted on training and validation rows.
"""
import time
import warnings

import numpy as np
from PIL import Image
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from . import baselines

LEARNERS = {"numbers": ("hgb", "rf"), "text": ("tfidf",), "images": ("pixels", "pixels-rf"), "sounds": ()}
METRICS = {"r2": r2_score, "accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}
N_PIXELS = 16


def measure(learner, data, rows, columns):
    """Returns the test score and the seconds of one learner on one split."""
    warnings.filterwarnings("ignore")
    started, metric = time.time(), METRICS[data.metric]
    with threadpool_limits(1):
        models, x = candidates(learner, data, rows, columns)
        if data.metric == "balanced_accuracy":
            balance_classes(models)
        y = rows[data.target].to_numpy()
        train, validation, test = (np.flatnonzero(rows["split"] == part) for part in ("train", "validation", "test"))
        scores = [metric(y[validation], clone(model).fit(x(train), y[train]).predict(x(validation))) for model in models] if len(models) > 1 else [0]
        seen = np.concatenate([train, validation])
        model = clone(models[int(np.argmax(scores))]).fit(x(seen), y[seen])
        score = float(metric(y[test], model.predict(x(test))))
    return {"score": score, "seconds": round(time.time() - started, 2)}


def candidates(learner, data, rows, columns):
    """Returns the models to choose from, and a function from row numbers to their inputs."""
    if learner == "tfidf":
        texts = rows[columns].fillna("").astype(str).agg(" ".join, axis=1)
        vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        return [make_pipeline(vectors, model) for model in linear(data, (1.0, 3.0, 10.0))], lambda at: texts.iloc[at]
    if learner.startswith("pixels"):
        pixels = np.stack([pixels_of(row) for row in rows[columns].to_numpy()])
        if learner == "pixels-rf":
            return [forest(data)], lambda at: pixels[at]
        return [make_pipeline(StandardScaler(), model) for model in linear(data, (1e3, 1e2, 1e1))], lambda at: pixels[at]
    model, prepared = baselines.tabular_learners(data, rows[columns])[learner]
    inputs = prepared(rows[columns])
    return [model], lambda at: inputs.iloc[at]


def balance_classes(models):
    for model in models:
        (model.steps[-1][1] if hasattr(model, "steps") else model).set_params(class_weight="balanced")


def linear(data, penalties):
    """Linear models, one per penalty."""
    if data.is_regression:
        return [Ridge(alpha=penalty) for penalty in penalties]
    return [LogisticRegression(C=1 / penalty, max_iter=1000) for penalty in (*penalties, 0.1)]


def forest(data):
    """A forest whose trees see some pixels at each node, since all of them take minutes."""
    kind = baselines.RandomForestRegressor if data.is_regression else baselines.RandomForestClassifier
    return kind(max_features="sqrt", random_state=0)


def pixels_of(paths):
    return np.concatenate([np.asarray(Image.open(path).convert("RGB").resize((N_PIXELS, N_PIXELS)), np.float32).ravel() for path in paths]) / 255
