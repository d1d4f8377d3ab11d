"""Compares a method with scikit-learn's untuned learners and with AutoGluon, and checks the goals.

The gap of a table is the mean over its splits of the method's score minus that of the learner which the validation rows choose
(`sel`); a score counts as at least -1, since R2 has no lower limit. Means over tables clip each gap to 0.1, so that no single table
decides. The standard error is that of the paired differences over the splits; a table with one split has none.
"""
import dataclasses
import math
import statistics

import numpy as np
from scipy.stats import rankdata

from . import baselines, runs

CLIP, TOLERANCE = 0.1, 0.01
NETWORKS, LINEAR = ("network", "mlp", "tabm", "realmlp"), ("linear", "ridge", "logistic", "tfidf")


@dataclasses.dataclass
class Gap:
    """Differences of scores on one table, one per split."""

    table: str
    scores: list
    references: list

    @property
    def differences(self):
        return [score - reference for score, reference in zip(self.scores, self.references)]

    @property
    def mean(self):
        return statistics.fmean(self.differences)

    @property
    def clipped(self):
        return max(-CLIP, min(CLIP, self.mean))

    @property
    def error(self):
        n = len(self.scores)
        return statistics.stdev(self.differences) / math.sqrt(n) if n > 1 else 0.0


def show(tables, scores_path, results_path, options):
    """Prints the comparison; returns 0 where the goals are met, else 1."""
    reference, rows = baselines.read(scores_path), latest(runs.read(results_path))
    label = options.label or next((row["method"] for row in reversed(rows) if "binary" in row), None)
    scores = by_split(rows, label, tables)
    for name in baselines.LEARNERS:
        print_gaps(f"scikit-learn {name}", gaps(by_learner(reference, tables, name), reference))
    others = sorted({row["method"] for row in rows} - {label})
    for other in others:
        print_gaps(other, gaps(by_split(rows, other, tables), reference))
    if not scores:
        print("no run of mbm in", results_path)
        return 1
    chosen = [row for row in rows if row["method"] == label and row["table"] in tables]
    print()
    print_tables(tables, gaps(scores, reference), reference, chosen)
    checks = judge(label, gaps(scores, reference), chosen, len(tables))
    learner_checks = judge_learners(chosen, tables, reference)
    peers = [other for other in others if other.startswith(("autogluon", "ludwig"))]
    peer_checks = [check for peer in peers for check in judge_peer(label, scores, peer, by_split(rows, peer, tables), reference, tables)]
    goals = checks + learner_checks if options.goals == "good" else peer_checks
    print()
    for text, is_met in checks + learner_checks + peer_checks:
        print("met    " if is_met else "not met", text)
    return int(not goals or not all(is_met for _, is_met in goals))


def latest(rows):
    """Keeps the last row of each method, table and split, in the order of the file."""
    found = {}
    for row in rows:
        found.pop((row["method"], row["table"], row["seed"]), None)
        found[row["method"], row["table"], row["seed"]] = row
    return list(found.values())


def by_split(rows, label, tables):
    """Scores by table and split; a failed run counts as -1."""
    return {
        (row["table"], row["seed"]): max(-1.0, row["score"] if row["score"] is not None else -1.0)
        for row in rows
        if row["method"] == label and row["table"] in tables
    }


def by_learner(reference, tables, learner):
    """Scores of one of scikit-learn's learners by table and split."""
    return {
        (name, int(seed)): max(-1.0, split[learner])
        for name, splits in reference.items()
        if name in tables
        for seed, split in splits.items()
        if learner in split
    }


def gaps(scores, reference, of="sel"):
    """Pairs the scores with those of the reference on the same splits, table by table."""
    found = {}
    for (table, seed), score in sorted(scores.items()):
        split = reference.get(table, {}).get(str(seed))
        if split and of in split:
            gap = found.setdefault(table, Gap(table, [], []))
            gap.scores.append(score)
            gap.references.append(max(-1.0, split[of]))
    return list(found.values())


def print_gaps(title, found):
    if not found:
        return
    worst = min(found, key=lambda gap: gap.mean)
    n_above = sum(gap.mean >= -TOLERANCE for gap in found)
    print(
        f"{title}: mean gap {statistics.fmean(gap.clipped for gap in found):+.3f} clipped, {statistics.fmean(gap.mean for gap in found):+.3f} "
        f"unclipped; {n_above} of {len(found)} at or above; worst {worst.mean:+.3f} (standard error {worst.error:.3f}) on {worst.table}"
    )


def print_tables(tables, found, reference, rows):
    print("| table | rows | splits | metric | score | by validation | gap | hgb | rf | lin | tfidf | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for gap in sorted(found, key=lambda gap: tables[gap.table].n_rows):
        table = tables[gap.table]
        mine = [row for row in rows if row["table"] == gap.table]
        splits = [reference[gap.table][str(row["seed"])] for row in mine if str(row["seed"]) in reference[gap.table]]
        alone = [mean_of(splits, name) for name in baselines.LEARNERS]
        cells = [
            *(table.name, table.n_rows, len(gap.scores), table.metric, f"{statistics.fmean(gap.scores):.3f}"),
            *(f"{statistics.fmean(gap.references):.3f}", f"{gap.mean:+.3f}" + (f" ± {gap.error:.3f}" if len(gap.scores) > 1 else ""), *alone),
            f"{statistics.median(row['seconds'] for row in mine):.1f}",
        ]
        print("|", " | ".join(map(str, cells)), "|")
    for row in rows:
        if row["score"] is None:
            print(f"{row['table']} {row['seed']} failed: {row['error']}")


def mean_of(splits, learner):
    return f"{statistics.fmean(max(-1, split[learner]) for split in splits):.3f}" if learner in splits[0] else ""


def judge(label, found, rows, n_tables):
    """Returns each goal against scikit-learn's choice by validation, with whether it is met."""
    clipped, unclipped = (statistics.fmean(values) for values in zip(*((gap.clipped, gap.mean) for gap in found)))
    n_above, worst = sum(gap.mean >= -TOLERANCE for gap in found), min(found, key=lambda gap: gap.mean)
    below = [gap.table for gap in found if gap.mean + gap.error < -0.05]
    seconds = statistics.median(row["seconds"] for row in rows)
    builds = {row.get("binary") for row in rows}
    note = f" of {len(builds)} different builds" if len(builds) > 1 else ""
    return [
        (f"{label}: {len(found)} of {n_tables} tables measured", len(found) == n_tables),
        (f"{label}: mean gap {clipped:+.3f} clipped (unclipped {unclipped:+.3f}); goal +0.020", clipped >= 0.02),
        (f"{n_above} of {len(found)} at or above (within {TOLERANCE}); goal nine tenths", n_above >= 0.9 * len(found)),
        (
            f"worst gap {worst.mean:+.3f} (standard error {worst.error:.3f}) on {worst.table}; more than 0.05 below by more than one "
            f"standard error: {', '.join(below) or 'none'}",
            not below,
        ),
        (f"median {seconds:.1f} s over {len(rows)} runs{note}; goal 20 s", seconds <= 20),
    ]


def judge_learners(rows, tables, reference):
    """Prints each learner alone, and returns the goals of the network on numeric tables and of the linear learner on texts."""
    checks = []
    for learner in sorted({name for row in rows for name in row.get("learners") or {}}):
        measured = [row for row in rows if learner in (row.get("learners") or {})]
        scores = {(row["table"], row["seed"]): max(-1.0, row["learners"][learner]) for row in measured}
        print_gaps(f"learner {learner} alone", gaps(scores, reference))
        numeric = {at: score for at, score in scores.items() if is_numeric(reference, at) and tables[at[0]].kind in "cr"}
        texts = {at: score for at, score in scores.items() if tables[at[0]].has_text}
        if any(word in learner.lower() for word in NETWORKS) and (found := gaps(numeric, reference, "rf")):
            mean = statistics.fmean(gap.clipped for gap in found)
            checks.append((f"{learner} against random forest on {len(found)} numeric tables {mean:+.3f}; goal -0.015", mean >= -0.015))
        if any(word in learner.lower() for word in LINEAR) and (found := gaps(texts, reference, "tfidf")):
            mean = statistics.fmean(gap.clipped for gap in found)
            checks.append((f"{learner} against TF-IDF on {len(found)} tables with texts {mean:+.3f}; goal 0", mean >= 0))
    return checks


def is_numeric(reference, at):
    return reference.get(at[0], {}).get(str(at[1]), {}).get("numeric", False)


def judge_peer(label, scores, other, other_scores, reference, tables):
    """Compares mean score and mean rank on the tables and splits that both have; scikit-learn's learners are ranked with them."""
    common = sorted(set(scores) & set(other_scores))
    names = sorted({name for name, _ in common})
    if not names:
        return []
    methods = {label: scores, other: other_scores} | {name: by_learner(reference, tables, name) for name in ("hgb", "rf", "lin")}
    methods = {method: found for method, found in methods.items() if set(common) <= set(found)}
    means = {method: [statistics.fmean(found[at] for at in common if at[0] == name) for name in names] for method, found in methods.items()}
    ranks = dict(zip(means, np.mean([rankdata(np.round(-np.array(row), 4)) for row in zip(*means.values())], 0)))
    score, other_score = statistics.fmean(means[label]), statistics.fmean(means[other])
    near = sum(mine >= theirs - TOLERANCE for mine, theirs in zip(means[label], means[other]))
    place = f"{label} against {other} on {len(names)} tables"
    return [
        (f"{place}: mean score {score:.4f} and {other_score:.4f}; {near} at or above (within {TOLERANCE})", score > other_score),
        (f"{place}: mean rank {ranks[label]:.2f} and {ranks[other]:.2f} of {len(ranks)} methods", ranks[label] < ranks[other]),
    ]
