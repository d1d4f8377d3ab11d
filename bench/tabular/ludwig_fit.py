"""Trains Ludwig's defaults on one table in a Python that has it (PyPI: ludwig==0.11.*).

usage: ludwig_fit.py CSV TARGET METRIC TIME_LIMIT FOLDER
A column is a number, a category of at most 100 values, or a text; encoders, combiner and trainer are Ludwig's defaults. Prints the score
on the test rows and the seconds of training and scoring as JSON. Training ends at the time limit, as the library has none of its own.
"""
import json
import os
import signal
import sys
import time
import warnings

import pandas as pd
from ludwig.api import LudwigModel
from pandas.api.types import is_numeric_dtype
from sklearn.metrics import accuracy_score, r2_score

warnings.filterwarnings("ignore")
path, target, metric, time_limit, folder = sys.argv[1:]
missing = {"keep_default_na": False, "na_values": [""]} if path.endswith("birds.csv") else {"na_values": ["?", "NA", ""]}
rows = pd.read_csv(path, low_memory=False, **missing)
rows = rows[rows[target].notna()].reset_index(drop=True)
rows["split"] = rows["split"].map({"train": 0, "validation": 1, "test": 2})
is_class = metric == "accuracy"
if is_class:
    rows[target] = rows[target].astype(str)


def kind(column):
    if is_numeric_dtype(rows[column]):
        return "number"
    return "category" if rows[column].nunique() <= 100 else "text"


names = [column for column in rows.columns if column not in (target, "split") and rows[column].notna().any()]
for name in names:
    if not is_numeric_dtype(rows[name]):
        rows[name] = rows[name].astype(str).where(rows[name].notna(), None)
config = {
    "input_features": [{"name": name, "type": kind(name)} for name in names],
    "output_features": [{"name": target, "type": "category" if is_class else "number"}],
    "preprocessing": {"split": {"type": "fixed", "column": "split"}},
}
# Ludwig leaves a lock file in the working directory.
os.chdir(os.path.dirname(folder))
started = time.time()
model = LudwigModel(config, backend="local", logging_level=40)
# As Ctrl-C does, which Ludwig takes for the end of training.
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
signal.alarm(int(time_limit))
model.train(rows, output_directory=folder, skip_save_processed_input=True)
signal.alarm(0)
test = rows[rows.split == 2]
predicted = model.predict(test, skip_save_predictions=True, output_directory=folder)[0][f"{target}_predictions"]
score = accuracy_score(test[target], predicted.astype(str)) if is_class else r2_score(test[target], predicted.astype(float))
print(json.dumps({"score": float(score), "seconds": round(time.time() - started, 2)}))
