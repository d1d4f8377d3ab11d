#!/usr/bin/env python3
"""Compares the support vector machines of mbm and scikit-learn on the same fused vectors, in alternation in one run.

usage: bench/svm.py RUN_FOLDER DATASET       needs scikit-learn; build first: cargo build --release --example svm_on_fused
Both train with C = 1, one-vs-rest (scikit-learn's SVC: one-vs-one), and calibrate probabilities on five folds (Platt scaling).
LinearSVC has no probabilities of its own: CalibratedClassifierCV around it uses the same five folds.
"""
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC, LinearSVC

ours = pathlib.Path(__file__).parent.parent / "target/release/examples/svm_on_fused"
with tempfile.TemporaryDirectory() as folder:
    out = subprocess.run([ours, sys.argv[1], sys.argv[2], folder], check=True, capture_output=True, text=True).stdout
    train, test = (np.loadtxt(f"{folder}/{name}.csv", delimiter=",", dtype=np.float32) for name in ("train", "test"))
print(f"{len(train)} training and {len(test)} test rows of {train.shape[1] - 1} columns")
print("| machine | accuracy ours | accuracy scikit-learn | seconds ours | seconds scikit-learn | ratio |\n|---|---|---|---|---|---|")
theirs = {
    "linear": lambda: CalibratedClassifierCV(LinearSVC(C=1.0, loss="hinge", max_iter=10_000), ensemble=False),
    "rbf": lambda: CalibratedClassifierCV(SVC(C=1.0, gamma="scale"), ensemble=False),
}
for line in out.splitlines():
    name, accuracy, seconds = line.split(",")
    started = time.perf_counter()
    machine = theirs[name]().fit(train[:, 1:], train[:, 0])
    own = time.perf_counter() - started
    score = machine.score(test[:, 1:], test[:, 0])
    print(f"| {name} | {float(accuracy):.4f} | {score:.4f} | {float(seconds):.2f} | {own:.2f} | {float(seconds) / own:.2f} |")
