"""Compares training and decoding in mbm and in PyTorch, in alternation in one run.

usage: python3 bench/translate.py mbm RUN multi30k.csv [ROUNDS]

RUN is a run of examples/translate-multi30k/de-en.yaml. PyTorch uses the same network (nn.Transformer with a final norm on both
sides, tied embeddings), the tokens of RUN's tokenizers, batches formed by the same rule, and the same optimizer, gradient
clipping and label smoothing; each trains for one epoch. Token counts are of source and target tokens without padding. Both decode
with the weights of RUN; the share of equal texts is printed. PyTorch decodes twice: once like nn.TransformerDecoder, processing
all previous tokens at every step, and once with cached keys and values.
Needs: pip install torch tokenizers safetensors
"""
import csv
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

PAD, BEGIN, END, BEAM = 0, 2, 3, 5
RUN = Path(sys.argv[2])
BUNDLE = json.loads((RUN / "model" / "bundle.json").read_text())
NETWORK = BUNDLE["config"]["output_features"][0]["decoder"]["network"]
WIDTH, HEADS, LAYERS = NETWORK["hidden_size"], NETWORK["num_heads"], NETWORK["num_layers"]
WIDE, DROPOUT = NETWORK["transformer_output_size"], NETWORK["dropout"]
SMOOTHING = BUNDLE["config"]["output_features"][0]["loss"]["label_smoothing"]
MAX_TOKENS = BUNDLE["config"]["trainer"]["batch_tokens"]


def tokens(path):
    of = lambda side: Tokenizer.from_str(json.dumps(BUNDLE[side][0]["preprocessor"]["tokenizer"]["pieces"]))
    source, target = of("inputs"), of("outputs")
    rows, texts = {"train": [], "validation": []}, []
    for row in csv.DictReader(open(path)):
        rows[row["split"]].append((source.encode(row["de"]).ids, target.encode(row["en"]).ids + [END]))
        texts += [row["de"]] if row["split"] == "validation" else []
    return rows, texts, source, target


def by_tokens(rows):
    batches = []
    for row in sorted(rows, key=lambda row: max(map(len, row))):
        if batches and (len(batches[-1]) + 1) * max(map(len, row)) <= MAX_TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def padded(rows):
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def sinusoids(steps):
    angle = torch.arange(steps)[:, None] / 10_000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
    return torch.stack([angle.sin(), angle.cos()], 2).reshape(steps, WIDTH)


class Translator(nn.Module):
    def __init__(self, n_source, n_target):
        super().__init__()
        self.source, self.target = nn.Embedding(n_source, WIDTH), nn.Embedding(n_target, WIDTH)
        for embedding in [self.source, self.target]:
            nn.init.normal_(embedding.weight, std=WIDTH**-0.5)
        self.bias = nn.Parameter(torch.zeros(n_target))
        self.transformer = nn.Transformer(WIDTH, HEADS, LAYERS, LAYERS, WIDE, DROPOUT, "relu", batch_first=True, norm_first=True)
        self.dropout = nn.Dropout(DROPOUT)

    def embed(self, embedding, ids):
        return embedding(ids) * math.sqrt(WIDTH) + sinusoids(ids.shape[1])

    def encode(self, source):
        return self.transformer.encoder(self.embed(self.source, source), src_key_padding_mask=source == PAD)

    def decode(self, memory, gaps, target):
        mask = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        x = self.dropout(self.embed(self.target, target))
        return self.transformer.decoder(x, memory, tgt_mask=mask, memory_key_padding_mask=gaps, tgt_is_causal=True)

    def scores(self, hidden):
        return F.linear(hidden, self.target.weight, self.bias)

    def loss(self, source, target):
        before = torch.cat([torch.full_like(target[:, :1], BEGIN), target[:, :-1]], 1)
        hidden = self.decode(self.encode(source), source == PAD, before)
        valid = target != PAD
        return F.cross_entropy(self.scores(hidden[valid]), target[valid], label_smoothing=SMOOTHING)


def trained(model):
    """Loads the weights of RUN into the model."""
    ours = load_file(RUN / "model" / "weights.safetensors")
    encoder, decoder = "inputs.0.encoder.SequenceEncoder.", "decoders.0.Generator."
    body, network = f"{encoder}body.Attending.", f"{decoder}network.TransformerNetwork.layers."
    theirs = {"source.weight": ours[f"{encoder}stem.Lookup.weight"], "target.weight": ours[f"{decoder}embedding.weight"],
              "bias": ours[f"{decoder}bias"]}

    def norm(to, name):
        theirs.update({f"{to}.weight": ours[f"{name}.gamma"], f"{to}.bias": ours[f"{name}.beta"]})

    def linear(to, name):
        theirs.update({f"{to}.weight": ours[f"{name}.weight"].T, f"{to}.bias": ours[f"{name}.bias"]})

    def attention(to, name):
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        theirs[f"{to}.in_proj_weight"] = torch.cat([ours[f"{part}.weight"].T for part in parts])
        theirs[f"{to}.in_proj_bias"] = torch.cat([ours[f"{part}.bias"] for part in parts])
        linear(f"{to}.out_proj", f"{name}.output")

    for side, name, last in [("encoder", body, "norm2"), ("decoder", network, "norm3")]:
        norm(f"transformer.{side}.norm", f"{name}last_norm")
        for at in range(LAYERS):
            to, own = f"transformer.{side}.layers.{at}", f"{name}layers.{at}"
            attention(f"{to}.self_attn", f"{own}.attention")
            norm(f"{to}.norm1", f"{own}.attention_norm")
            norm(f"{to}.{last}", f"{own}.feed_forward_norm")
            linear(f"{to}.linear1", f"{own}.widen")
            linear(f"{to}.linear2", f"{own}.narrow")
            if side == "decoder":
                attention(f"{to}.multihead_attn", f"{own}.context.attention")
                norm(f"{to}.norm2", f"{own}.context.norm")
    model.load_state_dict(theirs)
    return model.eval()


class Plain:
    """Decodes by processing all previous tokens at every step."""

    def __init__(self, model, memory, gaps):
        self.model = model
        self.memory, self.gaps = memory.repeat_interleave(BEAM, 0), gaps.repeat_interleave(BEAM, 0)

    def step(self, texts, _parents):
        return self.model.scores(self.model.decode(self.memory, self.gaps, texts)[:, -1])


class Kept:
    """Decodes with cached keys and values; those of the memory are stored once for all beams."""

    def __init__(self, model, memory, gaps):
        self.model, self.n = model, len(memory)
        self.gaps = gaps[:, None, None]
        self.layers = model.transformer.decoder.layers
        self.own = [None] * LAYERS
        self.context = [self.split(F.linear(memory, it.multihead_attn.in_proj_weight[WIDTH:], it.multihead_attn.in_proj_bias[WIDTH:]), 2)
                        for it in self.layers]

    def split(self, x, n):
        return [part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in x.chunk(n, 2)]

    def step(self, texts, parents):
        place = texts.shape[1] - 1
        x = self.model.target(texts[:, -1:]) * math.sqrt(WIDTH) + sinusoids(place + 1)[place]
        for at, layer in enumerate(self.layers):
            own = layer.self_attn
            q, k, v = self.split(F.linear(layer.norm1(x), own.in_proj_weight, own.in_proj_bias), 3)
            if self.own[at]:
                k, v = (torch.cat([old[parents], new], 2) for old, new in zip(self.own[at], [k, v]))
            self.own[at] = k, v
            found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = x + own.out_proj(found)
            other = layer.multihead_attn
            q = F.linear(layer.norm2(x), other.in_proj_weight[:WIDTH], other.in_proj_bias[:WIDTH]).reshape(self.n, BEAM, WIDTH)
            found = F.scaled_dot_product_attention(self.split(q, 1)[0], *self.context[at], attn_mask=~self.gaps)
            x = x + other.out_proj(found.transpose(1, 2).reshape(-1, 1, WIDTH))
            x = x + layer.linear2(F.relu(layer.linear1(layer.norm3(x))))
        return self.model.scores(self.model.transformer.decoder.norm(x)[:, 0])


@torch.no_grad()
def beam(model, kind, sources, max_length):
    """Runs a beam search per source; returns the texts with the highest mean log-probability."""
    source = padded(sources)
    decoder = kind(model, model.encode(source), source == PAD)
    n, found = len(sources), [[] for _ in sources]
    texts = torch.full((n * BEAM, 1), BEGIN)
    sums = torch.full((n, BEAM), -math.inf)
    sums[:, 0] = 0
    parents = torch.arange(n * BEAM)
    first = torch.arange(n)[:, None] * BEAM
    for length in range(1, max_length + 1):
        log_p = F.log_softmax(decoder.step(texts, parents), 1).reshape(n, BEAM, -1)
        log_p[:, :, [PAD, 1, BEGIN]] = -math.inf
        best, at = (sums[:, :, None] + log_p).flatten(1).topk(2 * BEAM, 1)
        rows, ids = at // log_p.shape[2], at % log_p.shape[2]
        keys = torch.where(ids == END, -math.inf, best)
        for row, rank in ((ids == END)[:, :BEAM]).nonzero().tolist():
            found[row].append((best[row, rank].item() / length, texts[row * BEAM + rows[row, rank], 1:].tolist()))
        sums, order = keys.topk(BEAM, 1)
        parents = (rows.gather(1, order) + first).flatten()
        texts = torch.cat([texts[parents], ids.gather(1, order).flatten()[:, None]], 1)
        done = lambda row: len(found[row]) >= BEAM and sorted(found[row])[-BEAM][0] >= sums[row, 0].item() / length
        if all(done(row) for row in range(n)):
            break
    return [max(texts, default=(0, []))[1] for texts in found]


def torch_training(batches, n_source, n_target):
    model = Translator(n_source, n_target)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, (0.9, 0.98), 1e-9)
    n_tokens, started = 0, time.time()
    for rows in batches:
        source, target = padded([row[0] for row in rows]), padded([row[1] for row in rows])
        optimizer.zero_grad()
        model.loss(source, target).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        n_tokens += sum(len(row[0]) + len(row[1]) for row in rows)
    return n_tokens / (time.time() - started)


def our_training(binary, path, n_tokens_per_row):
    """Trains the first epoch of a run like RUN, whose batches differ only in their order; returns tokens per second."""
    with tempfile.TemporaryDirectory() as folder:
        args = [binary, "train", "--config", RUN / "config.yaml", "--dataset", path, "-o", Path(folder) / "run", "--json"]
        process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "started":
                n_steps = event["steps_per_epoch"]
            if event["event"] == "step" and event["step"] == n_steps:
                process.kill()
                process.wait()
                return event["samples_per_second"] * n_tokens_per_row


def our_decoding(binary, sources):
    """Returns the sentences per second of the command, without the time it takes for a single one, and the texts."""
    def run(sentences):
        started = time.time()
        args = [binary, "translate", "--model-path", RUN, "--beam-width", str(BEAM)]
        done = subprocess.run(args, check=True, capture_output=True, text=True, input="".join(f"{it}\n" for it in sentences))
        return time.time() - started, done.stdout.splitlines()

    (one, _), (all_of_them, texts) = run(sources[:1]), run(sources)
    return (len(sources) - 1) / (all_of_them - one), texts


def their_decoding(model, kind, sources, longest):
    """Returns sentences per second, and the tokens of the texts in the order of the sources."""
    order = sorted(range(len(sources)), key=lambda at: len(sources[at]))
    texts = [None] * len(sources)
    started = time.time()
    for first in range(0, len(order), 64):
        chunk = order[first:first + 64]
        for at, text in zip(chunk, beam(model, kind, [sources[at] for at in chunk], longest)):
            texts[at] = text
    return len(sources) / (time.time() - started), texts


def main():
    binary, path = sys.argv[1], sys.argv[3]
    n_rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    torch.set_num_threads(os.cpu_count())
    rows, sentences, source, target = tokens(path)
    sizes = source.get_vocab_size(), target.get_vocab_size()
    longest = BUNDLE["outputs"][0]["preprocessor"]["longest"]
    batches = by_tokens(rows["train"])
    random.Random(1).shuffle(batches)
    n_tokens = sum(len(source) + len(target) for source, target in rows["train"])
    sources = [source for source, _ in rows["validation"]]
    print("| work | PyTorch | mbm | ratio |\n|---|---|---|---|")
    for _ in range(n_rounds):
        theirs = torch_training(batches, *sizes)
        ours = our_training(binary, path, n_tokens / len(rows["train"]))
        print(f"| training, tokens/s | {theirs:.0f} | {ours:.0f} | {ours / theirs:.2f} |", flush=True)
        ours, our_texts = our_decoding(binary, sentences)
        for name, kind in [("all tokens again at every step", Plain), ("keys and values kept", Kept)]:
            theirs, texts = their_decoding(trained(Translator(*sizes)), kind, sources, longest)
            print(f"| beam {BEAM}, {name}, sentences/s | {theirs:.1f} | {ours:.1f} | {ours / theirs:.2f} |", flush=True)
            equal = sum(target.decode(theirs).strip() == ours for theirs, ours in zip(texts, our_texts)) / len(texts)
            print(f"equal texts: {equal:.3f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
