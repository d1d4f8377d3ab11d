"""Generates golden/texts.json, the stored cases of the text metrics: python3 golden_text.py

Needs: pip install sacrebleu rouge-score pycocoevalcap jiwer nltk
"""
import json
import random
import re
from pathlib import Path

import jiwer
import nltk
import sacrebleu
from nltk.stem.snowball import EnglishStemmer
from nltk.translate import meteor_score
from pycocoevalcap.cider.cider_scorer import CiderScorer
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF, TER

rng = random.Random(7)

ENGLISH = """A black dog is running after a white dog in the snow.
Two men, one in a gray shirt, are standing near a stove.
A little girl climbing into a wooden playhouse costs $1,234.50 (really).
The children aren't jumping; they're sitting on a well-known wall.
A man in a blue shirt is standing on a ladder cleaning a window.
Several women wearing hats waited for the 3-4 o'clock bus!
A boy jumps into the "blue" pool & swims 10.5 metres, doesn't he?
People are walking down a crowded street at night
Trees grow quickly where the running water flows.
She runs, he ran and they will be running again.""".splitlines()

OTHERS = """Ein großer schwarzer Hund läuft über den Schnee.
Zwei Männer stehen am Herd und bereiten Essen zu.
Un garçon saute dans la piscine, n'est-ce pas ?
两个男人站在炉子旁边准备食物。
一只3.5公斤的狗，在雪地里跑！
رجلان يقفان بجانب الموقد ويعدان الطعام.
كلب أسود يركض في الثلج
🐕 runs ❄️ fast 👩‍👩‍👧 now “today” — yes
Собака бежит по снегу; мальчик смеётся.
犬が雪の中を走っています。""".splitlines()


def changed(text):
    """Returns the text with random words deleted, replaced, inserted, shifted or truncated."""
    words = text.split()
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(max(len(words), 1))
        kind = rng.choice("drisc")
        if kind == "d" and len(words) > 1:
            del words[at]
        elif kind == "r":
            words[at] = rng.choice(rng.choice(ENGLISH).split())
        elif kind == "i":
            words.insert(at, rng.choice(rng.choice(ENGLISH).split()))
        elif kind == "s" and len(words) > 3:
            length = rng.randint(1, 3)
            phrase = words[at:at + length]
            del words[at:at + length]
            place = rng.randrange(len(words) + 1)
            words[place:place] = phrase
        elif kind == "c" and len(words[at]) > 2:
            words[at] = words[at][:-1]
    return " ".join(words)


def caption_words(text):
    return [word for word in (cut.strip("'-") for cut in re.findall(r"[\w'-]+", text.lower().replace("_", " "))) if word]


def cider(hypotheses, references):
    scorer = CiderScorer(n=4, sigma=6.0)
    for text, row in zip(hypotheses, references):
        scorer += (" ".join(caption_words(text)), [" ".join(caption_words(reference)) for reference in row])
    return float(scorer.compute_score()[0])


def meteor(hypotheses, references):
    class NoSynonyms:
        @staticmethod
        def synsets(_):
            return []

    cut = sacrebleu.tokenizers.tokenizer_13a.Tokenizer13a()
    words = lambda text: cut(text.lower().rstrip()).split()
    score = lambda text, row: meteor_score.meteor_score([words(it) for it in row], words(text), stemmer=EnglishStemmer(), wordnet=NoSynonyms)
    return sum(map(score, hypotheses, references)) / len(hypotheses)


def rates(hypotheses, references, process):
    """Returns the edits against the nearest reference of each row per unit of reference length, over all rows."""
    edits = length = 0
    for text, row in zip(hypotheses, references):
        each = []
        for reference in row:
            it = process(reference, text)
            n = it.hits + it.substitutions + it.deletions
            each.append((it.substitutions + it.deletions + it.insertions, n))
        best = min(each, key=lambda pair: pair[0] / pair[1])
        edits, length = edits + best[0], length + best[1]
    return edits / length


def case(hypotheses, references, tokenize):
    columns = [list(column) for column in zip(*references)]
    rouge = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [rouge.score_multi(row, text) for text, row in zip(hypotheses, references)]
    mean = lambda kind: sum(score[kind].fmeasure for score in scores) / len(scores)
    bleu = BLEU(tokenize=tokenize)
    want = {
        "bleu": bleu.corpus_score(hypotheses, columns).score,
        "chrf": CHRF().corpus_score(hypotheses, columns).score,
        "chrf_plus_plus": CHRF(word_order=2).corpus_score(hypotheses, columns).score,
        "ter": TER().corpus_score(hypotheses, columns).score,
        "rouge_1": mean("rouge1"),
        "rouge_2": mean("rouge2"),
        "rouge_l": mean("rougeL"),
        "meteor": meteor(hypotheses, references),
        "cider_d": cider(hypotheses, references),
        "wer": rates(hypotheses, references, jiwer.process_words),
        "cer": rates(hypotheses, references, jiwer.process_characters),
        "exact_match": sum(text in row for text, row in zip(hypotheses, references)) / len(hypotheses),
    }
    signature = str(bleu.get_signature())
    return {"hypotheses": hypotheses, "references": references, "words": tokenize, "signature": signature, "want": want}


def rows(texts, n, n_references):
    references = [[changed(text) if at else text for at in range(n_references)] for text in (texts * n)[:n]]
    return [changed(row[0]) for row in references], references


# A row without a matching word, a row shorter than four words, and a long row.
hypotheses, references = rows(ENGLISH, 40, 1)
hypotheses[0], hypotheses[1] = "nothing", "A dog."
hypotheses.append(" ".join(changed(text) for text in ENGLISH))
references.append([" ".join(ENGLISH)])
cases = [
    case(hypotheses, references, "13a"),
    case(*rows(ENGLISH, 30, 3), "13a"),
    case(*rows(OTHERS, 20, 1), "13a"),
    case(*rows(OTHERS, 20, 2), "zh"),
    case(*rows(OTHERS, 20, 1), "char"),
]
versions = {"sacrebleu": sacrebleu.__version__, "nltk": nltk.__version__}
path = Path(__file__).parent / "golden" / "texts.json"
path.write_text(json.dumps({"versions": versions, "cases": cases}, ensure_ascii=False, indent=1) + "\n")
