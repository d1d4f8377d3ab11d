#!/usr/bin/env python3
"""Generates golden/pretrained.json: features of one image from torchvision's networks, with weights given by a formula.
requires torchvision

The formula replaces weight files of a hundred megabytes: value i of a tensor is `sin(0.7 i + n)`, where n is the length of its name,
scaled so that activations neither vanish nor explode: convolution weights by sqrt(2 / fan in), norms 1 + 0.1 sin, running variances
1 + 0.5 sin, everything else 0.1 sin. The image, [1, 3, 64, 64], is `sin(0.01 i)`.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torchvision


def filled(name, shape):
    wave = np.sin(0.7 * np.arange(math.prod(shape), dtype=np.float64) + len(name)).reshape(shape)
    if len(shape) == 4:
        wave *= math.sqrt(2 / math.prod(shape[1:]))
    elif name.endswith("running_var"):
        wave = 1 + 0.5 * wave
    elif len(shape) == 1 and name.endswith("weight"):
        wave = 1 + 0.1 * wave
    else:
        wave *= 0.1
    return torch.tensor(wave, dtype=torch.float32)


image = torch.tensor(np.sin(0.01 * np.arange(3 * 64 * 64)), dtype=torch.float32).reshape(1, 3, 64, 64)
networks = {"resnet 18": torchvision.models.resnet18, "resnet 50": torchvision.models.resnet50, "mobilenet_v2": torchvision.models.mobilenet_v2}
golden = {}
for key, make in networks.items():
    network = make(weights=None).eval()
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    network.load_state_dict({name: filled(name, tuple(tensor.shape)) for name, tensor in state.items()}, strict=False)
    if key == "mobilenet_v2":
        network.classifier = torch.nn.Identity()
    else:
        network.fc = torch.nn.Identity()
    with torch.no_grad():
        features = network(image)[0]
    tensors = [[name, list(tensor.shape)] for name, tensor in state.items()]
    golden[key] = {"tensors": tensors, "features": features[:32].tolist(), "norm": float(features.norm())}
(pathlib.Path(__file__).parent / "golden/pretrained.json").write_text(json.dumps(golden, separators=(",", ":")))
