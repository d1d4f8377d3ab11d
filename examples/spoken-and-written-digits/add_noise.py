#!/usr/bin/env python3
"""Copies digits.parquet with noise on images and sounds, so that one of them alone is not enough.

usage: add_noise.py FROM.parquet TO.parquet [--image 0.9] [--sound 0.03] [--seed 0]      needs pyarrow, numpy, pillow and soundfile
Noise is normal, its deviation a share of the full range; images become PNG, sounds 16-bit WAV.
"""
import argparse
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("source")
parser.add_argument("target")
parser.add_argument("--image", type=float, default=0.9)
parser.add_argument("--sound", type=float, default=0.03)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rng = np.random.default_rng(args.seed)


def noisy_image(content):
    pixels = np.asarray(Image.open(io.BytesIO(content)), dtype=float)
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels + rng.normal(0, 255 * args.image, pixels.shape), 0, 255).astype(np.uint8)).save(out, "png")
    return out.getvalue()


def noisy_sound(content):
    samples, rate = soundfile.read(io.BytesIO(content))
    out = io.BytesIO()
    soundfile.write(out, np.clip(samples + rng.normal(0, args.sound, samples.shape), -1, 1), rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


table = pq.read_table(args.source).to_pydict()
table["image"] = [noisy_image(it) for it in table["image"]]
table["audio"] = [noisy_sound(it) for it in table["audio"]]
pq.write_table(pa.table(table), args.target)
