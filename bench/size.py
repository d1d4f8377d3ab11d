#!/usr/bin/env python3
"""Measures `mbm train` without a config on small, wide, long and large generated tables: seconds, peak memory and the score on test rows.

usage: size.py MBM [NAME]...

small: 100 rows, 10 columns. wide: 100 rows, 10,000 columns. million: 1,000,000 rows, 10 columns (y = x0 * x1 + x2^2 + step(city) +
noise), and LightGBM's default in turn, reading included. photos: 10,000 JPEG files of 256 x 256 pixels, ten classes. texts: 20,000
texts of 5 to 60 words, five classes. The exit status tells whether the limits beside each were kept.

Needs: pip install lightgbm numpy pandas pillow scikit-learn
"""
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

SPLIT = {"train": 0.7, "validation": 0.1, "test": 0.2}
# Name: seconds and MB that are allowed.
LIMITS = {"small": (1, 500), "wide": (10, 500), "million": (60, 1500), "photos": (60, 1500), "texts": (60, 1500)}


def split(rng, n_rows):
    return rng.choice(list(SPLIT), n_rows, p=list(SPLIT.values()))


def small(folder, n_rows=100, n_columns=10):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, n_columns))
    rows = pd.DataFrame(x, columns=[f"x{at}" for at in range(n_columns)])
    rows["y"] = x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(0, 0.3, n_rows)
    rows.to_csv(folder / "table.csv", index=False, float_format="%.5g")


def wide(folder):
    small(folder, n_columns=10_000)


def million(folder, n_rows=1_000_000):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, 7))
    city = rng.integers(0, 50, n_rows)
    step = rng.normal(size=50)
    rows = pd.DataFrame(x, columns=[f"x{at}" for at in range(7)])
    rows["city"] = np.char.add("city ", city.astype(str))
    rows["day"] = np.datetime_as_string(np.datetime64("2020-01-01") + rng.integers(0, 1000, n_rows))
    rows["y"] = x[:, 0] * x[:, 1] + x[:, 2] ** 2 + step[city] + rng.normal(0, 0.5, n_rows)
    rows.assign(split=split(rng, n_rows)).to_csv(folder / "table.csv", index=False, float_format="%.5g")


def photos(folder, n_photos=10_000, n_classes=10):
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(0)
    lines = ["photo,y"]
    for at in range(n_photos):
        label = at % n_classes
        noise = rng.integers(0, 160, (32, 32, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((256, 256), Image.BILINEAR)
        draw, (x, y), size = ImageDraw.Draw(image), rng.integers(60, 196, 2), int(rng.integers(30, 60))
        color = tuple(int(value) for value in rng.integers(150, 256, 3))
        draw.regular_polygon((int(x), int(y), size), 3 + label % 5, rotation=int(rng.integers(0, 30)), fill=color if label < 5 else None, outline=color, width=8)
        image.save(folder / f"{at}.jpg", quality=85)
        lines.append(f"{at}.jpg,class {label}")
    (folder / "table.csv").write_text("\n".join(lines))


def texts(folder, n_texts=20_000, n_classes=5):
    rng = np.random.default_rng(0)
    frequencies = 1 / np.arange(1, 5001)
    topics = [rng.permutation(5000) for _ in range(n_classes)]
    words = np.array([f"w{at:04}" for at in range(5000)])
    lines = ["text,y"]
    for _ in range(n_texts):
        label, n_words = rng.integers(n_classes), rng.integers(5, 61)
        common = rng.choice(5000, n_words, p=frequencies / frequencies.sum())
        own = rng.random(n_words) < 0.15
        lines.append(f"{' '.join(words[np.where(own, topics[label][common], common)])},topic {label}")
    (folder / "table.csv").write_text("\n".join(lines))


LIGHTGBM = """
import sys, lightgbm, pandas
from sklearn.metrics import r2_score
rows = pandas.read_csv(sys.argv[1], parse_dates=["day"])
rows["day"] = rows["day"].astype("int64")
rows["city"] = rows["city"].astype("category")
test = rows["split"] == "test"
x, y = rows.drop(columns=["y", "split"]), rows["y"]
model = lightgbm.LGBMRegressor(verbose=-1, n_jobs=2).fit(x[~test], y[~test])
print(r2_score(y[test], model.predict(x[test])))
"""


def measured(command, folder):
    """Returns seconds, peak MB and standard output."""
    started = time.time()
    environment = {**os.environ, "MBM_CACHE_DIR": str(folder / "cache"), "MBM_WEIGHTS": ""}
    with open(folder / "out", "w") as out, open(folder / "messages", "w") as messages:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=messages, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit((folder / "messages").read_text())
    return time.time() - started, usage.ru_maxrss / 1024, (folder / "out").read_text()


def score(run):
    metrics = json.loads((run / "test_statistics.json").read_text())["y"]
    return metrics["accuracy"] if "accuracy" in metrics else metrics["r2"]


def main():
    mbm, names = sys.argv[1], sys.argv[2:] or list(LIMITS)
    is_kept = True
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            # In a process of its own, as the peak memory of a program is never below that of the one that starts it.
            generate = multiprocessing.get_context("spawn").Process(target=globals()[name], args=[folder])
            generate.start()
            generate.join()
            if generate.exitcode:
                sys.exit(f"{name}: the table could not be made")
            train = [mbm, "train", "--dataset", folder / "table.csv", "--target", "y", "--quiet", "--output-directory", folder / "run"]
            seconds, megabytes, _ = measured(train, folder)
            found, (max_seconds, max_megabytes) = score(folder / "run"), LIMITS[name]
            is_met = seconds <= max_seconds and megabytes <= max_megabytes
            print(f"{name}: mbm {found:.4f}, {seconds:.1f} s of {max_seconds}, {megabytes:.0f} MB of {max_megabytes}", flush=True)
            if name == "million":
                seconds, megabytes, text = measured([sys.executable, "-c", LIGHTGBM, folder / "table.csv"], folder)
                print(f"{name}: LightGBM {float(text):.4f}, {seconds:.1f} s, {megabytes:.0f} MB", flush=True)
                is_met &= found >= float(text) - 0.01
            is_kept &= is_met
    return int(not is_kept)


if __name__ == "__main__":
    sys.exit(main())
