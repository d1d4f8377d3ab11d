#!/usr/bin/env python3
"""Generates golden/framing.json: an image framed by torchvision's Resize and CenterCrop, through Pillow.       needs pillow, torchvision

The image, 90 pixels wide and 60 high, has the value `(7 x + 13 y + x y + 40 c) mod 256` in channel c, so that every pixel differs from
its neighbors. Pixels are stored row by row, as red, green, blue.
"""
import json
import pathlib

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

y, x, c = np.meshgrid(np.arange(60), np.arange(90), np.arange(3), indexing="ij")
image = Image.fromarray(((7 * x + 13 * y + x * y + 40 * c) % 256).astype(np.uint8))
golden = []
for interpolation in ("bilinear", "bicubic"):
    mode = InterpolationMode(interpolation)
    for side in (25, 133):
        pixels = np.asarray(Compose([Resize(side, mode), CenterCrop(20)])(image))
        golden.append(dict(interpolation=interpolation, shorter_side=side, height=20, width=20, pixels=pixels.flatten().tolist()))
    pixels = np.asarray(Resize((16, 31), mode)(image))
    golden.append(dict(interpolation=interpolation, shorter_side=None, height=16, width=31, pixels=pixels.flatten().tolist()))
(pathlib.Path(__file__).parent / "golden/framing.json").write_text(json.dumps(golden, separators=(",", ":")))
