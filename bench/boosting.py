#!/usr/bin/env python3
"""Compares the boosted trees of mbm, perpetual and forust-ml on many tables, in turn on the same rows.

usage: boosting.py PROGRAM [NAME]... [--cache DIR] [--tables DIR]... [--splits N] [--results FILE]
Build first: cargo build --release --manifest-path bench/perpetual/Cargo.toml
`tables.py fetch` writes the tables. Those of texts and series are left out. Each learner is fitted on the training and validation rows
with the settings in bench/perpetual/src/learners, and measured on the test rows. Results are appended to boosting.jsonl in the cache;
splits that it has already are not repeated.
"""
import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import tempfile

from tabular import runs, splits

CLIP = 0.1


def main():
    options = arguments()
    tables = splits.load([options.cache, *options.tables], options.names)
    tables = {name: table for name, table in tables.items() if table.kind in "cr"}
    results = options.results or options.cache / "boosting.jsonl"
    done = {(row["table"], row["seed"]) for row in runs.read(results)}
    for table, seed in runs.splits(tables, options):
        if (table.name, seed) not in done:
            for row in measure(options, table, seed):
                runs.append(results, {"table": table.name, "seed": seed, **row})
    show(tables, [row for row in runs.read(results) if row["table"] in tables])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="target/release/perpetual-bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these tables")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/mbm-bench/tables", help="folder of tables and results")
    parser.add_argument("--tables", type=pathlib.Path, action="append", default=[], metavar="DIR", help="a further folder of tables")
    parser.add_argument("--results", type=pathlib.Path, help="file of results [default: boosting.jsonl in the cache]")
    parser.add_argument("--splits", type=int, help="at most this many splits of a table")
    parser.add_argument("--limit", type=int, default=300, help="seconds after which the learners of a split that are not finished are left out")
    return parser.parse_args()


def measure(options, table, seed):
    """Returns the results of the learners on one split."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "table.csv"
        table.write(seed, path)
        try:
            command = [options.program, path, table.target]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=options.limit).stdout
        except subprocess.TimeoutExpired as stopped:
            out = stopped.stdout or b""
    return [json.loads(line) for line in out.decode().splitlines()]


def show(tables, rows):
    """Prints the mean score of each learner and table, then means over the tables that all learners of a column have."""
    cells = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        cells[row["learner"]][row["table"]].append(row)
    learners = list(cells)
    print(f"| table (rows) | {' | '.join(learners)} |\n|---{'|---' * len(learners)}|")
    for name in sorted({row["table"] for row in rows}, key=lambda name: tables[name].n_rows):
        scores = [f"{mean(cells[learner][name], 'score'):.3f}" if cells[learner][name] else "" for learner in learners]
        print(f"| {name} ({tables[name].n_rows:,}) | {' | '.join(scores)} |")
    print(f"\n| | tables | mean difference to {learners[0]}, clipped to {CLIP} | ahead, behind by 0.01 | CPU time, s | seconds |\n|---|---|---|---|---|---|")
    for learner in learners:
        print(comparison(learner, cells[learner], cells[learners[0]]))


def comparison(learner, own, reference):
    """Returns a row of Markdown that compares a learner with the first one."""
    names = [name for name in own if own[name]]
    gaps = [max(-1, mean(own[name], "score")) - max(-1, mean(reference[name], "score")) for name in names]
    clipped = statistics.fmean(max(-CLIP, min(CLIP, gap)) for gap in gaps)
    ahead, behind = sum(gap > 0.01 for gap in gaps), sum(gap < -0.01 for gap in gaps)
    cpu, seconds = (sum(mean(own[name], key) for name in names) for key in ("cpu", "seconds"))
    return f"| {learner} | {len(names)} | {clipped:+.4f} | {ahead}, {behind} | {cpu:.1f} | {seconds:.1f} |"


def mean(rows, key):
    return statistics.fmean(row[key] for row in rows)


if __name__ == "__main__":
    main()
