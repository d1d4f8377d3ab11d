"""Fits AutoGluon on one table in a Python that has it (PyPI: autogluon.tabular[lightgbm,catboost,xgboost]==1.6.*).

usage: autogluon_fit.py CSV TARGET METRIC TIME_LIMIT FOLDER HAS_TORCH
Prints its score on the test rows and the seconds of fitting and of scoring as JSON.
"""
import json
import sys
import time
import warnings

import pandas as pd
from autogluon.tabular import TabularPredictor

warnings.filterwarnings("ignore")
path, target, metric, time_limit, folder, has_torch = sys.argv[1:]
missing = {"keep_default_na": False, "na_values": [""]} if path.endswith("birds.csv") else {"na_values": ["?", "NA", ""]}
rows = pd.read_csv(path, low_memory=False, **missing)
rows = rows[rows[target].notna()]
if metric == "accuracy":
    rows[target] = rows[target].astype(str)
    kind = "binary" if rows[target].nunique() == 2 else "multiclass"
else:
    kind = "regression"
seen, test = (part.drop(columns="split") for part in (rows[rows.split != "test"], rows[rows.split == "test"]))
started = time.time()
predictor = TabularPredictor(label=target, verbosity=0, path=folder, eval_metric=metric, problem_type=kind).fit(
    seen,
    time_limit=int(time_limit),
    presets="medium_quality",
    excluded_model_types=[] if has_torch == "1" else ["NN_TORCH", "FASTAI"],
)
fitted = time.time()
score = float(predictor.evaluate(test, silent=True)[metric])
print(json.dumps({"score": score, "seconds": round(time.time() - started, 2), "fit_seconds": round(fitted - started, 2)}))
