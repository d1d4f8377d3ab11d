#!/usr/bin/env python3
"""Generates golden/{optimizers,clipping}.json: fixed gradients, and what PyTorch's optimizers and its gradient clipping make of them.

usage: python golden_optimizers.py        requires torch 2.9 and lion-pytorch (pip install torch lion-pytorch)

All references are computed in double precision. PyTorch has no Lion, so it is the implementation of `lion-pytorch`, which follows
algorithm 2 of Chen et al. 2023. PyTorch's Muon orthogonalizes in bfloat16; here it keeps the precision of its input.
"""
import json
import math
import pathlib

import torch
from lion_pytorch import Lion

FOLDER = pathlib.Path(__file__).parent / "golden"
N_STEPS = 12
# After the first step, after the first with a state, and after the last.
STORED_STEPS = [1, 2, N_STEPS]
# The parameters of the test's model, in its order.
DIMS = {
    "encoder.weight": [4, 3], "encoder.bias": [3], "absence": [3],
    "combiner.weight": [3, 5], "combiner.bias": [5],
    "decoder.weight": [5, 2], "decoder.bias": [2],
}
# The matrices of hidden layers, which Muon optimizes; all others are left to AdamW.
HIDDEN = ["encoder.weight", "combiner.weight"]
# Steps without a gradient, which leave a parameter and its state as they are.
SKIPPED = {"absence": [1, 2, 7]}

torch.manual_seed(17)
torch.set_default_dtype(torch.float64)
torch.Tensor.bfloat16 = torch.Tensor.clone


def draw(dims):
    """Samples normally distributed multiples of 1/256, which single precision represents exactly."""
    return torch.round(torch.randn(dims) * 256) / 256


def flat(tensors):
    return [[round(value, 10) for value in tensor.detach().flatten().tolist()] for tensor in tensors]


START = {name: draw(dims) for name, dims in DIMS.items()}
GRADIENTS = [
    {name: None if step in SKIPPED.get(name, []) else draw(dims) for name, dims in DIMS.items()}
    for step in range(1, N_STEPS + 1)
]


def rates(peak):
    """Rises for three steps, then falls along half a cosine."""
    return [peak * ((at + 1) / 3 if at < 3 else (1 + math.cos(math.pi * (at - 3) / N_STEPS)) / 2) for at in range(N_STEPS)]


def replay(parameters, optimizers, learning_rates, factors):
    stored = []
    for step, (gradients, rate) in enumerate(zip(GRADIENTS, learning_rates), 1):
        for name, parameter in parameters.items():
            parameter.grad = None if gradients[name] is None else gradients[name].clone()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * factors.get(group["name"], 1.0)
            optimizer.step()
        if step in STORED_STEPS:
            stored.append({"step": step, "parameters": flat(parameters.values())})
    return stored


def case(settings, peak, make, factors=None):
    """Runs one case; `make` takes a list of parameter groups, each with one parameter, and returns the optimizers."""
    factors = factors or {}
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in START.items()}
    groups = [{"name": name, "params": [parameter]} for name, parameter in parameters.items()]
    learning_rates = rates(peak)
    want = replay(parameters, make(groups), learning_rates, factors)
    return {"settings": settings, "learning_rates": learning_rates, "factors": [factors.get(name, 1.0) for name in DIMS], "want": want}


def sgd(momentum, nesterov, weight_decay):
    settings = {"type": "sgd", "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    return case(settings, 0.1, lambda groups: [torch.optim.SGD(groups, lr=1.0, **options)])


def adam(kind, betas, eps, weight_decay, factors=None):
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    settings = {"type": kind, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    options = {"betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
    return case(settings, 0.01, lambda groups: [make(groups, lr=1.0, **options)], factors)


def lion(betas, weight_decay):
    settings = {"type": "lion", "betas": betas, "weight_decay": weight_decay}
    return case(settings, 0.01, lambda groups: [Lion(groups, lr=1.0, betas=tuple(betas), weight_decay=weight_decay)])


def muon(momentum, weight_decay):
    def make(groups):
        hidden = [group for group in groups if group["name"] in HIDDEN]
        others = [group for group in groups if group["name"] not in HIDDEN]
        return [
            torch.optim.Muon(hidden, lr=1.0, momentum=momentum, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=1.0, weight_decay=weight_decay),
        ]

    return case({"type": "muon", "momentum": momentum, "weight_decay": weight_decay}, 0.01, make)


def clipping():
    """Clips the gradients of the first step, scaled to different norms."""
    cases = []
    for scale, max_norm in [(1.0, 1.0), (8.0, 2.5), (0.25, 100.0)]:
        parameters = [torch.nn.Parameter(tensor) for tensor in START.values()]
        for parameter, gradient in zip(parameters, GRADIENTS[1].values()):
            parameter.grad = None if gradient is None else gradient * scale
        given = [None if parameter.grad is None else flat([parameter.grad])[0] for parameter in parameters]
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        want = [None if parameter.grad is None else flat([parameter.grad])[0] for parameter in parameters]
        cases.append({"gradients": given, "max_norm": max_norm, "norm": round(norm.item(), 10), "want": want})
    return cases


optimizers = [
    sgd(0.0, False, 0.0),
    sgd(0.9, False, 0.1),
    sgd(0.8, True, 0.05),
    adam("adam", [0.9, 0.999], 1e-8, 0.0),
    adam("adam", [0.8, 0.95], 1e-2, 0.1),
    adam("adamw", [0.9, 0.999], 1e-8, 0.0),
    adam("adamw", [0.85, 0.98], 1e-2, 0.2),
    adam("adamw", [0.9, 0.999], 1e-8, 0.01, {"encoder.weight": 0.1, "encoder.bias": 0.25}),
    lion([0.9, 0.99], 0.0),
    lion([0.95, 0.98], 0.3),
    muon(0.95, 0.01),
    muon(0.8, 0.2),
]
start = [{"dims": dims, "values": flat([START[name]])[0]} for name, dims in DIMS.items()]
gradients = [[None if gradient is None else flat([gradient])[0] for gradient in step.values()] for step in GRADIENTS]
FOLDER.mkdir(exist_ok=True)
for name, content in [
    ("optimizers", {"torch": torch.__version__.split("+")[0], "start": start, "gradients": gradients, "cases": optimizers}),
    ("clipping", {"torch": torch.__version__.split("+")[0], "start": start, "cases": clipping()}),
]:
    (FOLDER / f"{name}.json").write_text(json.dumps(content) + "\n")
