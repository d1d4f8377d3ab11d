#!/usr/bin/env python3
"""Times the same workloads in mbm and in PyTorch, in alternation, and prints a table with the machine and the date.

usage: bench/run.py [--threads N] [--rounds N] [WORK ...]      needs torch, torchvision, transformers in the Python that runs it

For each workload, every round runs one process of PyTorch, then one of mbm; a process warms up with two repetitions. The result
is the median of all repetitions. Build first: cargo build --release --workspace --example work
"""
import argparse
import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
WORK = {  # name: (description, repetitions per process)
    "matmul": ("matmul 2048^3", 10),
    "resnet50-1": ("ResNet-50 forward, batch 1", 30),
    "resnet50-8": ("ResNet-50 forward, batch 8", 5),
    "mobilenet-8": ("MobileNetV2 forward, batch 8", 10),
    "lstm": ("LSTM 2x256 forward, batch 32, 64 steps", 50),
    "transformer": ("transformer 6x384 forward, batch 16, 64 steps", 10),
    "transformer-backward": ("the same, forward and backward", 5),
    "article-step": ("ResNet-50 + LSTM 2x512 + linear, batch 8, a training step with AdamW", 4),
}


def measured(command, threads):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    env.pop("OPENBLAS_CORETYPE", None)
    out = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    return [float(line) for line in out.split()]


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines() if pathlib.Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    kind = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else platform.machine()
    return f"{names[0] if names else platform.processor()}, {kind}"


parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("work", nargs="*", default=list(WORK))
args = parser.parse_args()
ours = HERE.parent / "target/release/examples/work"
peer = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True).stdout.strip()
print(f"{datetime.date.today()}, {machine()}, {args.threads} threads, f32, PyTorch {peer}; median seconds of {args.rounds} rounds in turn\n")
print("| work | PyTorch | mbm | ratio |\n|---|---|---|---|")
for name in args.work:
    title, repetitions = WORK[name]
    own, theirs = [], []
    for _ in range(args.rounds):
        theirs += measured([sys.executable, HERE / "peer.py", name, str(repetitions), str(args.threads)], args.threads)
        own += measured([ours, name, str(repetitions)], args.threads)
    a, b = statistics.median(theirs), statistics.median(own)
    print(f"| {title} | {a:.4f} | {b:.4f} | {b / a:.2f} |", flush=True)
