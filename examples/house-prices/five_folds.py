#!/usr/bin/env python3
"""R2 over five fixed folds: fused, numbers only, images only, and scikit-learn's HistGradientBoostingRegressor on the numbers.

usage: five_folds.py MBM DATASET_FOLDER [CONFIG]      needs scikit-learn and pyarrow
Each fold is tested once; the fold after it validates; nothing is chosen by the tested fold. Three seeds; R2 is their mean.
"""
import csv
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score

mbm, data = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
config = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else pathlib.Path(__file__).parent / "config.yaml"
work = pathlib.Path("results/house-prices").resolve() / config.stem
work.mkdir(parents=True, exist_ok=True)
NUMBERS, PICTURES = ["bedrooms", "bathrooms", "area", "zipcode"], ["frontal", "bedroom", "bathroom", "kitchen"]
SEEN = [name for name in PICTURES if name in config.read_text()]
INPUTS = {"fused": None, "numbers only": NUMBERS, "images only": SEEN}
SEEDS = (1, 2, 3)

rows = list(csv.DictReader(open(data / "houses.csv")))
fold = np.random.default_rng(0).permutation(len(rows)) % 5
price = np.array([float(row["price"]) for row in rows])


def kept(names):
    """The config with the inputs of some names only."""
    text, out, keep = config.read_text().splitlines(), [], True
    for line in text:
        if line.startswith("  - "):
            keep = names is None or any(f"name: {name}," in line or line.endswith(f"name: {name}") or "price" in line for name in names)
        elif not line.startswith("    "):
            keep = True
        out += [line] if keep else []
    return "\n".join(out) + "\n"


def ours(name, names, seed):
    predicted = np.zeros(len(rows))
    path = work / f"{name.replace(' ', '-')}.yaml"
    path.write_text(kept(names))
    for test in range(5):
        table = work / f"fold{test}.csv"
        with open(table, "w", newline="") as out:
            writer = csv.DictWriter(out, fieldnames=[*rows[0], "split"])
            writer.writeheader()
            for row, own in zip(rows, fold):
                split = "test" if own == test else "validation" if own == (test + 1) % 5 else "train"
                writer.writerow({**row, **{p: data / row[p] for p in PICTURES}, "split": split})
        folder = work / name.replace(" ", "-") / f"{seed}-{test}"
        if not (folder / "report.html").exists():
            subprocess.run([mbm, "train", "-c", path, "-d", table, "-o", folder, "--random-seed", str(seed), "--quiet", "--resume"], check=True)
        found = pq.read_table(folder / "predictions.parquet").to_pydict()
        for row, value in zip(found["row"], found["price_predictions"]):
            predicted[int(row) - 1] = value
    return predicted


def boosted():
    x, predicted = np.array([[float(row[k]) for k in NUMBERS] for row in rows]), np.zeros(len(rows))
    for test in range(5):
        model = HistGradientBoostingRegressor(random_state=0).fit(x[fold != test], price[fold != test])
        predicted[fold == test] = model.predict(x[fold == test])
    return predicted


results = {name: [ours(name, names, seed) for seed in SEEDS] for name, names in INPUTS.items()}
results["HistGradientBoosting, numbers only"] = [boosted()]
print("| model | R2 | R2 of log price | R2 of each seed |\n|---|---|---|---|")
for name, each in results.items():
    r2 = [r2_score(price, predicted) for predicted in each]
    logs = [r2_score(np.log(price), np.log(np.maximum(predicted, 1))) for predicted in each]
    print(f"| {name} | {np.mean(r2):.3f} | {np.mean(logs):.3f} | {', '.join(f'{value:.3f}' for value in r2)} |")
