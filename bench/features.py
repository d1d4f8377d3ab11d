#!/usr/bin/env python3
"""Times the path from files to features, in alternation: images through published networks compared with torchvision's models and
a PyTorch DataLoader, and texts through MiniLM compared with transformers.

usage: bench/features.py MBM EMBED WEIGHTS_FOLDER IMAGES_FOLDER TEXTS [ROUNDS]     needs torch, torchvision, transformers, pillow
The arguments are those of bench/published.py. Images are JPEG of any size, TEXTS is a JSON list; both are repeated up to 600
rows. Rows per second exclude the time in which a program starts and loads its model.
"""
import csv
import json
import pathlib
import statistics
import subprocess
import sys
import time

import torch
import torchvision
from PIL import Image
from torchvision import transforms

ROWS, BATCH, THREADS = 600, 16, 2
PEER = "--peer"


class Images(torch.utils.data.Dataset):
    def __init__(self, paths, normal):
        square = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(*normal)]
        self.paths, self.read = paths, transforms.Compose(square)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, at):
        return self.read(Image.open(self.paths[at]).convert("RGB"))


def peer(name, weights, rows):
    """Returns rows per second in PyTorch."""
    torch.set_num_threads(THREADS)
    if name == "minilm":
        from transformers import AutoModel, AutoTokenizer
        tokenizer, model = AutoTokenizer.from_pretrained(weights / "minilm"), AutoModel.from_pretrained(weights / "minilm").eval()

        def features():
            for first in range(0, len(rows), 64):
                tokens = tokenizer(rows[first:first + 64], padding=True, truncation=True, max_length=256, return_tensors="pt")
                steps, mask = model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
                (steps * mask).sum(1) / mask.sum(1)
    else:
        model = {"resnet50": torchvision.models.resnet50, "mobilenet": torchvision.models.mobilenet_v2}[name]().eval()
        normal = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        loader = torch.utils.data.DataLoader(Images(rows, normal), batch_size=BATCH, num_workers=THREADS)

        def features():
            for batch in loader:
                model(batch)
    with torch.inference_mode():
        started = time.perf_counter()
        features()
        return len(rows) / (time.perf_counter() - started)


if sys.argv[1] == PEER:
    name, weights, rows = sys.argv[2], pathlib.Path(sys.argv[3]), json.loads(pathlib.Path(sys.argv[4]).read_text())
    print(peer(name, weights, rows))
    sys.exit()

mbm, embed, weights, images, texts = sys.argv[1], sys.argv[2], *map(pathlib.Path, sys.argv[3:6])
rounds = int(sys.argv[6]) if len(sys.argv) > 6 else 3
work = pathlib.Path("results/features")
work.mkdir(parents=True, exist_ok=True)
paths, lines = sorted(str(path.resolve()) for path in images.rglob("*.jpg")), json.loads(texts.read_text())
repeated = lambda rows: [rows[at % len(rows)] for at in range(ROWS)]
jobs = {
    "resnet50": ("JPEG to feature, ResNet-50", "image", f"type: resnet, model_variant: 50, weights: {weights}/resnet50/model.json", repeated(paths)),
    "mobilenet": ("JPEG to feature, MobileNetV2", "image", f"type: mobilenet_v2, weights: {weights}/mobilenet_v2-b0353104.pth", repeated(paths)),
    "minilm": ("text to embedding, MiniLM", "text", f"type: bert, weights: {weights}/minilm", repeated(lines)),
}
print(f"rows a second, medians of {rounds} rounds in turn, {THREADS} threads, {ROWS} rows\n\n| work | PyTorch | mbm | ratio of times |\n|---|---|---|---|")
for name, (title, kind, encoder, rows) in jobs.items():
    table, run, listed = work / f"{name}.csv", work / name, work / f"{name}.json"
    listed.write_text(json.dumps(rows))
    with open(table, "w", newline="") as out:
        csv.writer(out).writerows([["cell", "label"], *([row, f"c{at % 2}"] for at, row in enumerate(rows))])
    config = f"""input_features: [{{name: cell, type: {kind}, encoder: {{{encoder}, use_pretrained: true, trainable: false}}}}]
output_features: [{{name: label, type: category}}]
trainer: {{epochs: 0}}
"""
    (work / f"{name}.yaml").write_text(config)
    subprocess.run(["rm", "-rf", run], check=True)
    subprocess.run([mbm, "train", "-c", work / f"{name}.yaml", "-d", table, "-o", run, "--cache-size", "0", "--quiet"], check=True)
    own, theirs = [], []
    for _ in range(rounds):
        answer = subprocess.run([sys.executable, __file__, PEER, name, weights, listed], check=True, capture_output=True, text=True)
        theirs.append(float(answer.stdout.split()[-1]))
        answer = subprocess.run([embed, run, table], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        own.append(float(answer.stderr.split()[0]))
    a, b = statistics.median(theirs), statistics.median(own)
    print(f"| {title} | {a:.0f} | {b:.0f} | {a / b:.2f} |", flush=True)
