#!/usr/bin/env python3
"""Generates golden/{layers,losses,decoders,ctc}.json: small cases with reference results from PyTorch in double precision.

usage: python golden.py        requires torch 2 (pip install torch)
"""
import json
import pathlib

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

FOLDER = pathlib.Path(__file__).parent / "golden"
LENGTHS = [5, 3, 1]
BATCH, STEPS = len(LENGTHS), max(LENGTHS)
torch.manual_seed(11)
torch.set_default_dtype(torch.float64)


def draw(*dims):
    """Samples normally distributed values, rounded to three decimals so that they are stored exactly."""
    return torch.round(torch.randn(*dims) * 1000) / 1000


def stored(tensor):
    return {"dims": list(tensor.shape), "values": [round(value, 8) for value in tensor.detach().flatten().tolist()]}


def redraw(module):
    for parameter in module.parameters():
        parameter.data = torch.round(parameter.data * 1000) / 1000


def case(name, spec, ours, x, output):
    """Runs one case; `ours` maps our parameter names to PyTorch's: the tensor, the rows to take from it, and whether to transpose it."""
    mask = torch.tensor([[step < length for step in range(STEPS)] for length in LENGTHS]).unsqueeze(2)
    upstream = draw(*output.shape) * mask
    (output * upstream).sum().backward()

    def cut(tensor, rows, transpose):
        tensor = tensor if rows is None else tensor[rows]
        return tensor.T if transpose else tensor

    return {
        "name": name, "spec": spec, "lengths": LENGTHS, "input": stored(x), "upstream": stored(upstream),
        "output": stored(output * mask), "input_gradient": stored(x.grad),
        "parameters": {key: stored(cut(tensor, *how)) for key, (tensor, *how) in ours.items()},
        "gradients": {key: stored(cut(tensor.grad, *how)) for key, (tensor, *how) in ours.items()},
    }


def recurrent(cell, bidirectional):
    spec = {"cell": cell, "input_size": 3, "hidden_size": 4, "n_layers": 2, "bidirectional": bidirectional}
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
    module = kind(3, 4, 2, batch_first=True, bidirectional=bidirectional)
    redraw(module)
    x = draw(BATCH, STEPS, 3).requires_grad_()
    packed, _ = module(pack_padded_sequence(x, LENGTHS, batch_first=True))
    output, _ = pad_packed_sequence(packed, batch_first=True)
    ours = {}
    for layer in range(2):
        for direction, ending in [("forward", ""), ("backward", "_reverse")][: 1 + bidirectional]:
            for name, theirs, transpose in [("input", "weight_ih", True), ("hidden", "weight_hh", True),
                                            ("input_bias", "bias_ih", False), ("hidden_bias", "bias_hh", False)]:
                parameter = getattr(module, f"{theirs}_l{layer}{ending}")
                ours[f"layers.{layer}.{direction}.{name}"] = (parameter, None, transpose)
    return case(f"{cell}{', both directions' if bidirectional else ''}", spec, ours, x, output)


def attention_parameters(prefix, attention, width):
    ours = {}
    for at, name in enumerate(["query", "key", "value"]):
        rows = slice(at * width, (at + 1) * width)
        ours[f"{prefix}{name}.weight"] = (attention.in_proj_weight, rows, True)
        ours[f"{prefix}{name}.bias"] = (attention.in_proj_bias, rows, False)
    ours[f"{prefix}output.weight"] = (attention.out_proj.weight, None, True)
    ours[f"{prefix}output.bias"] = (attention.out_proj.bias, None, False)
    return ours


def transformer(norm, activation):
    width, heads, wide = 8, 2, 12
    spec = {"width": width, "n_layers": 2, "n_heads": heads, "feed_forward": wide, "norm": norm, "activation": activation}
    layer = nn.TransformerEncoderLayer(width, heads, wide, 0.0, activation, batch_first=True, norm_first=norm == "pre")
    module = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width) if norm == "pre" else None, enable_nested_tensor=False)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    redraw(module)
    x = draw(BATCH, STEPS, width).requires_grad_()
    gaps = torch.tensor([[step >= length for step in range(STEPS)] for length in LENGTHS])
    output = module(x, src_key_padding_mask=gaps)
    ours = {}
    for at, layer in enumerate(module.layers):
        ours |= attention_parameters(f"layers.{at}.attention.", layer.self_attn, width)
        for name, linear in [("widen", layer.linear1), ("narrow", layer.linear2)]:
            ours |= {f"layers.{at}.{name}.weight": (linear.weight, None, True), f"layers.{at}.{name}.bias": (linear.bias, None, False)}
        for name, layer_norm in [("attention_norm", layer.norm1), ("feed_forward_norm", layer.norm2)]:
            ours |= {f"layers.{at}.{name}.gamma": (layer_norm.weight, None, False),
                     f"layers.{at}.{name}.beta": (layer_norm.bias, None, False)}
    if norm == "pre":
        ours |= {"last_norm.gamma": (module.norm.weight, None, False), "last_norm.beta": (module.norm.bias, None, False)}
    return case(f"transformer, {norm}-norm, {activation}", spec, ours, x, output)


def decoder(norm):
    width, heads, wide = 8, 2, 12
    spec = {"width": width, "n_layers": 2, "n_heads": heads, "feed_forward": wide, "norm": norm, "activation": "relu"}
    layer = nn.TransformerDecoderLayer(width, heads, wide, 0.0, "relu", batch_first=True, norm_first=norm == "pre")
    module = nn.TransformerDecoder(layer, 2, nn.LayerNorm(width) if norm == "pre" else None)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    redraw(module)
    x = draw(BATCH, STEPS, width).requires_grad_()
    lengths = [2, 4, 3]
    memory = draw(BATCH, max(lengths), width)
    gaps = torch.tensor([[step >= length for step in range(max(lengths))] for length in lengths])
    later = torch.ones(STEPS, STEPS, dtype=torch.bool).triu(1)
    output = module(x, memory, tgt_mask=later, memory_key_padding_mask=gaps)
    ours = {}
    for at, layer in enumerate(module.layers):
        ours |= attention_parameters(f"layers.{at}.attention.", layer.self_attn, width)
        ours |= attention_parameters(f"layers.{at}.context.attention.", layer.multihead_attn, width)
        for name, linear in [("widen", layer.linear1), ("narrow", layer.linear2)]:
            ours |= {f"layers.{at}.{name}.weight": (linear.weight, None, True), f"layers.{at}.{name}.bias": (linear.bias, None, False)}
        for name, layer_norm in [("attention_norm", layer.norm1), ("context.norm", layer.norm2), ("feed_forward_norm", layer.norm3)]:
            ours |= {f"layers.{at}.{name}.gamma": (layer_norm.weight, None, False),
                     f"layers.{at}.{name}.beta": (layer_norm.bias, None, False)}
    if norm == "pre":
        ours |= {"last_norm.gamma": (module.norm.weight, None, False), "last_norm.beta": (module.norm.bias, None, False)}
    return {**case(f"decoder, {norm}-norm", spec, ours, x, output), "memory": stored(memory), "memory_lengths": lengths}


def loss(name, value, logits, **target):
    value.backward()
    return {"name": name, "logits": stored(logits), "loss": value.item(), "gradient": stored(logits.grad), **target}


def losses():
    classes, weights = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0.5, 1.0, 2.0])
    numbers, labels = draw(5, 3), torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0, 1, 0]])
    scores = lambda: (draw(5, 3) * 2).requires_grad_()
    of_classes, of_numbers = {"classes": classes.tolist()}, {"numbers": stored(numbers)}
    cases = []
    x = scores()
    cases.append(loss("cross entropy", F.cross_entropy(x, classes), x, **of_classes))
    x = scores()
    cases.append(loss("cross entropy, class weights", F.cross_entropy(x, classes, weights), x, **of_classes, class_weights=weights.tolist()))
    x = scores()
    cases.append(loss("cross entropy, smoothing", F.cross_entropy(x, classes, label_smoothing=0.1), x, **of_classes, smoothing=0.1))
    x = scores()
    log_p = F.log_softmax(x, 1)[torch.arange(5), classes]
    cases.append(loss("focal", (-((1 - log_p.exp()) ** 2) * log_p).mean(), x, **of_classes, gamma=2.0))
    x = scores()
    cases.append(loss("sigmoid", F.binary_cross_entropy_with_logits(x, labels), x, numbers=stored(labels)))
    x = scores()
    cases.append(loss("hinge", F.relu(1 - (2 * F.one_hot(classes, 3) - 1) * x).sum(1).mean(), x, **of_classes))
    for name, function, delta in [("squared", F.mse_loss, "inf"), ("absolute", F.l1_loss, 0.0),
                                  ("huber", lambda a, b: F.huber_loss(a, b, delta=0.7), 0.7)]:
        x = scores()
        cases.append(loss(name, function(x, numbers), x, **of_numbers, delta=delta))
    return cases


def ctc():
    """Rows of various lengths: one with a repeated token, one with no step to spare, one with too few steps for its text."""
    texts, n_steps = [[4, 4, 5], [5, 6], [4], [6, 6]], [7, 2, 4, 2]
    logits = (draw(len(texts), max(n_steps), 7) * 2).requires_grad_()
    log_p = F.log_softmax(logits, 2).swapaxes(0, 1)
    ids = torch.tensor([token for text in texts for token in text])
    costs = F.ctc_loss(log_p, ids, torch.tensor(n_steps), torch.tensor([len(text) for text in texts]), reduction="none", zero_infinity=True)
    weights = draw(len(texts))
    (costs * weights).sum().backward()
    return {"texts": texts, "n_steps": n_steps, "logits": stored(logits), "costs": stored(costs), "upstream": stored(weights),
            "gradient": stored(logits.grad)}


def write(name, cases):
    made = {"made_by": f"golden.py, torch {torch.__version__.split('+')[0]}", "cases": cases}
    (FOLDER / name).write_text(json.dumps(made) + "\n")


FOLDER.mkdir(exist_ok=True)
layers = [recurrent(cell, both) for cell in ["rnn", "lstm", "gru"] for both in [False, True]]
layers += [transformer(norm, activation) for norm in ["pre", "post"] for activation in ["relu", "gelu"]]
write("layers.json", layers)
write("losses.json", losses())
write("decoders.json", [decoder(norm) for norm in ["pre", "post"]])
write("ctc.json", [ctc()])
