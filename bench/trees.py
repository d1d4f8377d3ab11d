#!/usr/bin/env python3
"""Compares the boosted trees of mbm-algo with LightGBM on generated tables, in alternation in one run.

usage: trees.py [REPEATS] [TABLE]...      needs: pip install lightgbm; build first: cargo build --release -p mbm-algo --example trees
Both make 100 rounds of 31 leaves with a learning rate of 0.1 and at least 20 rows in a leaf, on one thread: where other programs
use the cores, too, LightGBM's threads wait for each other most of the time. Seconds are those of binning and fitting, the median of the
repeats; the score is R2 or the accuracy on up to 10,000 of the training rows; memory is the peak beyond the table.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

OURS = pathlib.Path(__file__).parent.parent / "target/release/examples/trees"
TABLES = ("small", "classes", "medium", "large", "wide")
N_ROUNDS, N_THREADS = 100, 1


def main():
    if sys.argv[1:2] == ["--lightgbm"]:
        return print(json.dumps(lightgbm(pathlib.Path(sys.argv[2]))))
    n_repeats = int(sys.argv[1]) if sys.argv[1:] else 5
    print("| table | rows x columns | mbm, s | LightGBM, s | ratio | mbm, MB | LightGBM, MB | score of mbm | of LightGBM |")
    print("|---|---|---|---|---|---|---|---|---|")
    for table in sys.argv[2:] or TABLES:
        print(row(table, n_repeats), flush=True)


def row(table, n_repeats):
    """Measures one table, and returns a row of Markdown."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(N_THREADS)}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / table
        pairs = []
        for _ in range(n_repeats):
            own = run([OURS, table, "leaf_wise", str(N_ROUNDS), path], environment)
            pairs.append((own, run([sys.executable, __file__, "--lightgbm", path], environment)))
        n_rows, n_cols = sizes(path)[:2]
    ours, theirs = (statistics.median(pair[at]["binning"] + pair[at]["fitting"] for pair in pairs) for at in (0, 1))
    own, other = pairs[-1]
    shown = f"{n_rows:,} x {n_cols:,} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f}"
    return f"| {table} | {shown} | {own['memory_mb']:.0f} | {other['memory_mb']:.0f} | {own['score']:.4f} | {other['score']:.4f} |"


def run(command, environment):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def sizes(path):
    """Returns the numbers of rows, columns and classes of a table."""
    import numpy

    return [int(size) for size in numpy.fromfile(path, dtype="<u4", count=3)]


def lightgbm(path):
    import lightgbm
    import numpy

    n_rows, n_cols, n_classes = sizes(path)
    values = numpy.fromfile(path, dtype="<f4", offset=12)
    x, y = values[: n_rows * n_cols].reshape(n_rows, n_cols), values[n_rows * n_cols :]
    settings = {"objective": "multiclass", "num_class": n_classes} if n_classes else {"objective": "regression"}
    settings |= {"num_threads": N_THREADS, "verbose": -1}
    categories = [n_cols - 1] if path.name == "large" else []
    before, started = peak_memory(), time.perf_counter()
    data = lightgbm.Dataset(x, y, categorical_feature=categories).construct()
    binning, started = time.perf_counter() - started, time.perf_counter()
    booster = lightgbm.train(settings, data, N_ROUNDS)
    fitting, memory = time.perf_counter() - started, peak_memory() - before
    return {"binning": binning, "fitting": fitting, "memory_mb": memory, "score": score(booster.predict(x[:10_000]), y[:10_000])}


def score(predicted, y):
    if predicted.ndim == 2:
        return float((predicted.argmax(axis=1) == y).mean())
    return float(1 - ((predicted - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def peak_memory():
    """Returns the peak memory of this process in MB."""
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
