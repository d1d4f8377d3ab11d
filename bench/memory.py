#!/usr/bin/env python3
"""Measures the peak memory of training on 10,000 and on 100,000 synthetic rows of numbers, categories, texts and time series.

usage: bench/memory.py MBM
"""
import json
import pathlib
import random
import subprocess
import sys
import tempfile

CONFIG = """
input_features:
  - {name: size, type: number, encoder: {type: ple}}
  - {name: colour, type: category}
  - {name: notes, type: text, encoder: {type: embed, embedding_size: 32}}
  - {name: curve, type: timeseries}
combiner: {type: concat, num_fc_layers: 1, output_size: 64}
output_features:
  - {name: price, type: number}
trainer: {epochs: 1, batch_size: 128}
"""
words = [f"word{i}" for i in range(2000)]
peaks = {}
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "config.yaml").write_text(CONFIG)
    for n_rows in (10_000, 100_000):
        rng = random.Random(0)
        table = folder / f"{n_rows}.csv"
        with open(table, "w") as out:
            out.write("size,colour,notes,curve,price\n")
            for _ in range(n_rows):
                size = rng.gauss(0, 1)
                notes = " ".join(rng.choices(words, k=20))
                curve = " ".join(f"{rng.random():.3f}" for _ in range(32))
                out.write(f"{size:.4f},{rng.choice('abcdef')},{notes},{curve},{size * 2 + rng.random():.4f}\n")
        done = subprocess.run([sys.argv[1], "train", "-c", folder / "config.yaml", "-d", table, "-o", folder / str(n_rows), "--json"],
                              check=True, capture_output=True, text=True).stdout.splitlines()
        peaks[n_rows] = json.loads(done[-1])["peak_memory"] / 2**20
        print(f"{n_rows:>7} rows: {table.stat().st_size / 2**20:.0f} MB of CSV, peak {peaks[n_rows]:.0f} MB")
print(f"ratio {peaks[100_000] / peaks[10_000]:.2f}")
