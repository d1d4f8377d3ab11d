"""The workloads of run.py in PyTorch.

usage: peer.py NAME REPETITIONS THREADS
Prints the seconds of each repetition, after two warm-up repetitions.
"""
import sys
import time

import torch
import torchvision
from torch import nn

name, repetitions, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)


def inference(module, *inputs):
    module = module.eval()

    def work():
        with torch.inference_mode():
            module(*inputs)

    return work


def image(network, batch):
    network.fc = network.classifier = nn.Identity()
    return inference(network, torch.randn(batch, 3, 224, 224))


class Stack(nn.Module):
    """Like mbm's `transformer` encoder: a projection of the frames, pre-norm layers, and the mean over the steps."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(384, 6, 1536, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.project, self.layers = nn.Linear(384, 384), nn.TransformerEncoder(layer, 6, nn.LayerNorm(384), enable_nested_tensor=False)

    def forward(self, x):
        return self.layers(self.project(x)).mean(1)


class Article(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = torchvision.models.resnet50()
        self.image.fc = nn.Identity()
        self.words, self.text, self.last = nn.Embedding(1000, 256), nn.LSTM(256, 512, 2, batch_first=True), nn.Linear(2048 + 512, 10)

    def forward(self, image, ids):
        return self.last(torch.cat([self.image(image), self.text(self.words(ids))[1][0][-1]], 1))


def transformer_backward():
    module, x = Stack().train(), torch.randn(16, 64, 384)

    def work():
        module.zero_grad()
        module(x).sum().backward()

    return work


def article_step():
    model, loss = Article().train(), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    image, ids, label = torch.randn(8, 3, 224, 224), torch.randint(0, 1000, (8, 32)), torch.arange(8)

    def work():
        optimizer.zero_grad()
        loss(model(image, ids), label).backward()
        optimizer.step()

    return work


def matmul():
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return lambda: a @ b


WORK = {
    "matmul": matmul,
    "resnet50-1": lambda: image(torchvision.models.resnet50(), 1),
    "resnet50-8": lambda: image(torchvision.models.resnet50(), 8),
    "mobilenet-8": lambda: image(torchvision.models.mobilenet_v2(), 8),
    "lstm": lambda: inference(nn.LSTM(256, 256, 2, batch_first=True), torch.randn(32, 64, 256)),
    "transformer": lambda: inference(Stack(), torch.randn(16, 64, 384)),
    "transformer-backward": transformer_backward,
    "article-step": article_step,
}
work = WORK[name]()
work()
work()
for _ in range(repetitions):
    started = time.perf_counter()
    work()
    print(f"{time.perf_counter() - started:.6f}")
