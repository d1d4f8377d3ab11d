"""Compares text metrics with their reference implementations, in alternation in one run.

usage: python3 bench/texts.py target/release/examples/texts SENTENCES

SENTENCES is a file of at least 25,000 sentences, one per line; the hypotheses are the same sentences with words randomly (seeded)
deleted, replaced and moved.
Build: cargo build --release -p mbm-algo --example texts. Needs: pip install sacrebleu rouge-score pycocoevalcap jiwer nltk
"""
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jiwer
from nltk.stem.snowball import EnglishStemmer
from nltk.translate import meteor_score
from pycocoevalcap.cider.cider_scorer import CiderScorer
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

N = 25_000
rng = random.Random(5)


def changed(text, words):
    text = text.split()
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(text))
        kind = rng.choice("drs")
        if kind == "d" and len(text) > 1:
            del text[at]
        elif kind == "r":
            text[at] = rng.choice(words)
        elif kind == "s":
            text.insert(rng.randrange(len(text)), text.pop(at))
    return " ".join(text)


def cider(texts, references):
    scorer = CiderScorer(n=4, sigma=6.0)
    for text, reference in zip(texts, references):
        scorer += (text, [reference])
    return float(scorer.compute_score()[0])


class NoSynonyms:
    @staticmethod
    def synsets(_):
        return []


def meteor(texts, references):
    cut, stemmer = Tokenizer13a(), EnglishStemmer()
    words = lambda text: cut(text.lower()).split()
    scores = [meteor_score.meteor_score([words(r)], words(t), stemmer=stemmer, wordnet=NoSynonyms) for t, r in zip(texts, references)]
    return sum(scores) / len(scores)


def rouge(kind):
    def score(texts, references):
        scorer = rouge_scorer.RougeScorer([kind])
        return sum(scorer.score(r, t)[kind].fmeasure for t, r in zip(texts, references)) / len(texts)
    return score


PEERS = {
    "bleu": lambda texts, references: BLEU().corpus_score(texts, [references]).score,
    "chrf": lambda texts, references: CHRF().corpus_score(texts, [references]).score,
    "chrf_plus_plus": lambda texts, references: CHRF(word_order=2).corpus_score(texts, [references]).score,
    "ter": lambda texts, references: TER().corpus_score(texts, [references]).score,
    "rouge_1": rouge("rouge1"),
    "rouge_2": rouge("rouge2"),
    "rouge_l": rouge("rougeL"),
    "meteor": meteor,
    "cider_d": cider,
    "wer": lambda texts, references: jiwer.wer(references, texts),
    "cer": lambda texts, references: jiwer.cer(references, texts),
}


def main():
    # Only letters and spaces, so that tokenization makes no difference to CIDEr.
    sentences = ["".join(c for c in line.lower() if c.isalpha() or c == " ") for line in open(sys.argv[2])]
    references = [" ".join(line.split()) for line in sentences if line.strip()][:N]
    words = " ".join(references[:2000]).split()
    texts = [changed(text, words) for text in references]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps({"hypotheses": texts, "references": [[reference] for reference in references]}))
        lines = subprocess.run([sys.argv[1], path], check=True, capture_output=True, text=True).stdout.splitlines()
    ours = {line["name"]: line for line in map(json.loads, lines)}
    print(f"{len(texts)} sentences\n\n| metric | value | reference | reference, s | mbm, s | ratio |\n|---|---|---|---|---|---|")
    for name, peer in PEERS.items():
        started = time.time()
        value = peer(texts, references)
        seconds = time.time() - started
        own = ours[name]
        print(f"| {name} | {own['value']:.6f} | {value:.6f} | {seconds:.2f} | {own['seconds']:.3f} | {own['seconds'] / seconds:.4f} |", flush=True)


if __name__ == "__main__":
    main()
