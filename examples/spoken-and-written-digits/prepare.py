#!/usr/bin/env python3
"""Makes digits.parquet: a subset of the spoken and written digits, sounds losslessly compressed.

usage: prepare.py AV_DIGITS_FOLDER [WHOLE.parquet]      needs pyarrow and the `flac` command
With a second argument every row goes there instead of the subset to digits.parquet.
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
whole = len(sys.argv) > 2
target = sys.argv[2] if whole else pathlib.Path(__file__).parent / "digits.parquet"
wanted = {"train": 10, "validation": 1, "test": 2}
taken = collections.Counter()
columns = collections.defaultdict(list)
for row in csv.DictReader(open(folder / "digits.csv")):
    group = row["speaker"], row["label"], row["split"]
    taken[group] += 1
    if not whole and taken[group] > wanted[row["split"]]:
        continue
    flac = subprocess.run(["flac", "-s", "-8", "-c", folder / row["audio"]], check=True, capture_output=True).stdout
    columns["image"].append((folder / row["image"]).read_bytes())
    columns["audio"].append(flac)
    for name in ("speaker", "label", "split"):
        columns[name].append(row[name])
pq.write_table(pa.table(dict(columns)), target, compression="snappy", use_dictionary=["speaker", "label", "split"])
