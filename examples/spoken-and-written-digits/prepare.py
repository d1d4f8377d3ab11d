#!/usr/bin/env python3
"""Makes digits.parquet: a subset of the spoken and written digits, sounds losslessly compressed.

usage: prepare.py AV_DIGITS_FOLDER      needs pyarrow and the `flac` command
AV_DIGITS_FOLDER holds digits.csv (image, audio, speaker, label, split) and the files that it names.
For each speaker and digit: ten training recordings, one for validation, two for the test.
"""
import collections
import csv
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(sys.argv[1])
wanted = {"train": 10, "validation": 1, "test": 2}
taken = collections.Counter()
columns = collections.defaultdict(list)
for row in csv.DictReader(open(folder / "digits.csv")):
    group = row["speaker"], row["label"], row["split"]
    taken[group] += 1
    if taken[group] > wanted[row["split"]]:
        continue
    flac = subprocess.run(["flac", "-s", "-8", "-c", folder / row["audio"]], check=True, capture_output=True).stdout
    columns["image"].append((folder / row["image"]).read_bytes())
    columns["audio"].append(flac)
    for name in ("speaker", "label", "split"):
        columns[name].append(row[name])
pq.write_table(pa.table(dict(columns)), pathlib.Path(__file__).parent / "digits.parquet", compression="snappy", use_dictionary=["speaker", "label", "split"])
