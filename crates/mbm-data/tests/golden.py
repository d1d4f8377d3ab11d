#!/usr/bin/env python3
"""Generates golden/front_ends.json: a short audio clip and the features that torchaudio computes from it.

usage: python golden.py        needs torchaudio 2 (pip install torchaudio)
"""
import json
import pathlib

import torch
import torchaudio
from torchaudio import transforms

FOLDER = pathlib.Path(__file__).parent / "golden"
RATE, WINDOW, SHIFT, N_FFT, BANDS, COEFFICIENTS = 8000, 200, 80, 256, 12, 7
torch.manual_seed(5)

time = torch.arange(WINDOW + 4 * SHIFT, dtype=torch.float64) / RATE
sound = 0.4 * torch.sin(2 * torch.pi * (300 + 4000 * time) * time) + 0.05 * torch.randn(len(time), dtype=torch.float64)
sound = torch.round(sound * 10_000) / 10_000

# torchaudio centers the window in the length of the FFT, mbm puts it first: the power is the same. Without padding at the ends, the
# whole FFT must fit, so the clip is padded with silence, and only the frames that mbm computes are stored.
padded = torch.nn.functional.pad(sound, ((N_FFT - WINDOW) // 2, N_FFT))
n_frames = 1 + (len(sound) - WINDOW) // SHIFT
shared = {"n_fft": N_FFT, "win_length": WINDOW, "hop_length": SHIFT, "center": False, "window_fn": torch.hamming_window}
spectrum = transforms.Spectrogram(power=2.0, **shared).double()(padded)
mel = transforms.MelSpectrogram(RATE, n_mels=BANDS, power=2.0, norm=None, mel_scale="htk", **shared).double()(padded)
mfcc = transforms.MFCC(RATE, n_mfcc=COEFFICIENTS, log_mels=True, norm="ortho",
                       melkwargs={"n_mels": BANDS, "power": 2.0, "norm": None, "mel_scale": "htk", **shared}).double()(padded)


def stored(frames):
    return [[round(value, 6) for value in frame] for frame in frames.T[:n_frames].tolist()]


made = {
    "made_by": f"golden.py, torchaudio {torchaudio.__version__.split('+')[0]}",
    "rate": RATE, "window": WINDOW, "shift": SHIFT, "n_bands": BANDS, "n_coefficients": COEFFICIENTS,
    "samples": sound.tolist(),
    "spectrogram": stored(torch.log(spectrum + 1e-6)), "fbank": stored(torch.log(mel + 1e-6)), "mfcc": stored(mfcc),
}
FOLDER.mkdir(exist_ok=True)
(FOLDER / "front_ends.json").write_text(json.dumps(made) + "\n")
