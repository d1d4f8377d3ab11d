"""scikit-learn's untuned learners on the same splits: histogram gradient boosting, random forest, a linear model, TF-IDF for texts.

Each is fitted on the training rows and scored on the validation rows, then fitted on both and scored on the test rows (accuracy or R2).
`sel` is the test score of the learner that is best on the validation rows, `best` that of the best on the test rows, which nobody
can choose beforehand.
"""
import json
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

LEARNERS = ("hgb", "rf", "lin", "tfidf")
N_CATEGORIES = 250


def frame(table, seed):
    """Returns the rows that have a target, with the split of this seed.

    The usual words for a missing value are read as such, but for `birds`, whose most frequent class is the word None.
    """
    options = {"keep_default_na": False, "na_values": [""]} if table.name == "birds" else {"na_values": ["?", "NA", ""]}
    rows = pd.read_csv(table.path, compression="gzip", low_memory=False, **options)
    rows["split"] = [row[-1] for row in table.rows(seed)[1]]
    return rows[rows[table.target].notna()]


def measure(table, seed):
    """Returns the scores and seconds of every learner on one split."""
    rows = frame(table, seed)
    seen, test = rows[rows.split != "test"].dropna(axis=1, how="all"), rows[rows.split == "test"]
    inputs = [name for name in seen if name not in (table.target, "split")]
    x, x_test, y, y_test = seen[inputs], test[inputs], seen[table.target], test[table.target]
    if not table.is_regression:
        y, y_test = y.astype(str), y_test.astype(str)
    found = {} if table.is_regression else {"major": float((y_test == y.mode()[0]).mean())}
    found["numeric"] = all(pd.api.types.is_numeric_dtype(x[name]) for name in x)
    is_train, validation = (seen.split == "train").values, {}
    for name, (model, prepared) in learners(table, x).items():
        started = time.time()
        x_seen = prepared(x)
        validation[name] = float(model.fit(x_seen[is_train], y[is_train]).score(x_seen[~is_train], y[~is_train]))
        found[name] = round(float(model.fit(x_seen, y).score(prepared(x_test), y_test)), 4)
        found[name + "_s"] = round(time.time() - started, 2)
    found["validation"] = validation
    found["sel"] = found[max(validation, key=validation.get)]
    found["best"] = max(found[name] for name in validation)
    return found


def learners(table, x):
    """Returns for each learner a model and a function from a table's inputs to the model's."""
    if table.kind == "s":
        return series_learners()
    if table.kind == "t":
        return {"tfidf": text_learner(table)}
    found = tabular_learners(table, x)
    return found | {"tfidf": text_learner(table)} if table.has_text else found


def tabular_learners(table, x):
    is_number = {name: pd.api.types.is_numeric_dtype(x[name]) for name in x}
    low = [name for name in x if not is_number[name] and x[name].nunique() <= N_CATEGORIES]
    kept = [name for name in x if is_number[name] or name in low]

    def prepared(rows):
        found = rows[kept].copy()
        for name in low:
            found[name] = rows[name].astype(str).where(rows[name].notna())
        return found

    boosting, forest, linear = (
        (HistGradientBoostingRegressor(random_state=0), RandomForestRegressor(random_state=0), RidgeCV(np.logspace(-3, 3, 13)))
        if table.is_regression
        else (HistGradientBoostingClassifier(random_state=0), RandomForestClassifier(random_state=0), LogisticRegression(max_iter=2000))
    )
    return {
        "hgb": (make_pipeline(codes(low), boosting), prepared),
        "rf": (make_pipeline(codes(low), SimpleImputer(), forest), prepared),
        "lin": (make_pipeline(scaled(low, n_columns=len(kept)), linear), prepared),
    }


def codes(low):
    """Categories as integers, numbers as they are: for trees."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    return make_column_transformer((make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), encoder), low), remainder="passthrough")


def scaled(low, n_columns):
    """Categories one-hot, numbers standardised: for linear models."""
    categories = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore", min_frequency=2))
    if len(low) == n_columns:
        return make_column_transformer((categories, low))
    return make_column_transformer((categories, low), remainder=make_pipeline(SimpleImputer(strategy="median"), StandardScaler()))


def text_learner(table):
    """A linear model of the words and pairs of words of all columns together."""
    model = RidgeCV(np.logspace(-3, 3, 7)) if table.is_regression else LogisticRegression(max_iter=1000, C=10)
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(vectors, model), lambda rows: rows.fillna("").astype(str).agg(" ".join, axis=1)


def series_learners():
    forest, boosting = RandomForestClassifier(random_state=0), HistGradientBoostingClassifier(random_state=0)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return {name: (model, summaries) for name, model in (("hgb", boosting), ("rf", forest), ("lin", linear))}


def summaries(rows):
    """Summary statistics of the series in every cell."""
    return np.array([[value for cell in row for value in summary(np.array(cell.split(), float))] for row in rows.values])


def summary(series):
    return series.mean(), series.std(), series.min(), series.max(), series[:5].mean(), series[-5:].mean(), len(series)


def fill(tables, path):
    """Measures every split that the JSON file does not have yet, and writes the file after each."""
    warnings.filterwarnings("ignore")
    found = read(path)
    for table in tables.values():
        for seed in table.seeds:
            if str(seed) in found.get(table.name, {}):
                continue
            # On small tables, threads that wait for each other cost more than they bring.
            with threadpool_limits(1):
                scores = measure(table, seed)
            found.setdefault(table.name, {})[str(seed)] = scores
            path.write_text(json.dumps(found, indent=1))
            print(table.name, seed, {name: scores[name] for name in (*LEARNERS, "sel", "best") if name in scores}, flush=True)


def read(path):
    return json.loads(path.read_text()) if path.exists() else {}
