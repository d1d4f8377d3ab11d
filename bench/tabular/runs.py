"""Trains mbm, AutoGluon and Ludwig on every table and split, and appends one line of JSON per run to a file.

A line has `method`, `table`, `seed`, `score` (accuracy or R2 on the test rows; null if the run failed, with the reason in `error`),
`seconds`, and for mbm `learners`, the score of each learner alone, and `binary`, a checksum of the program. A run that the file has
already, by the same method and the same program, is not repeated.
"""
import hashlib
import json
import math
import os
import pathlib
import shlex
import subprocess
import tempfile
import time

from .splits import SEED

AUTOGLUON_SCRIPT, LUDWIG_SCRIPT = (pathlib.Path(__file__).with_name(name) for name in ("autogluon_fit.py", "ludwig_fit.py"))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path, row):
    with open(path, "a") as out:
        out.write(json.dumps(row) + "\n")


def mbm_jobs(tables, options):
    """Yields a job per table and split that trains mbm without a config."""
    identity = mbm_identity(options)
    for table, seed in splits(tables, options):

        def run(folder, table=table, seed=seed):
            path = folder / f"{table.name}.csv"
            table.write(seed, path)
            return train(options, path, folder / "run", table.target, table.metric)

        yield {**identity, "table": table.name, "seed": seed}, run


def mbm_identity(options):
    """Names the method after its options, and the program by a checksum."""
    label = options.label or " ".join(["mbm", *shlex.split(options.extra)])
    return {"method": label, "binary": hashlib.sha256(pathlib.Path(options.mbm).read_bytes()).hexdigest()[:12]}


def splits(tables, options):
    """Yields tables and seeds, smallest tables first; `--splits` replaces a table's usual number of splits."""
    for table in sorted(tables.values(), key=lambda table: table.n_rows):
        for seed in range(SEED, SEED + options.splits) if options.splits else table.seeds:
            yield table, seed


def train(options, path, out, target, metric):
    """Trains on one file, and returns the score on its test rows, the seconds and the scores of the learners."""
    command = [options.mbm, "train", "--dataset", path, "--target", target, "--output-directory", out, "--quiet", *shlex.split(options.extra)]
    # A cache of its own, so that no run profits from an earlier one.
    environment = {**os.environ, "MBM_CACHE_DIR": str(out.with_name("cache"))}
    started = time.time()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, env=environment)
    except subprocess.TimeoutExpired:
        return failed(f"stopped after {options.limit} s", started)
    seconds = round(time.time() - started, 2)
    statistics = out / "test_statistics.json"
    if done.returncode or not statistics.exists():
        return failed(reason(done.stderr), started)
    score = json.loads(statistics.read_text()).get(target, {}).get(metric)
    if score is None or not math.isfinite(score):
        return failed(f"no {metric} in test_statistics.json", started)
    return {"score": score, "seconds": seconds, "learners": leaderboard(out, target, metric)}


def reason(messages):
    """Returns the place and the message of a panic, or else the last line."""
    lines = messages.strip().splitlines() or ["no message"]
    panic = next((at for at, line in enumerate(lines) if "panicked at" in line), len(lines) - 1)
    return " ".join(lines[panic : panic + 2])


def failed(error, started):
    return {"score": None, "seconds": round(time.time() - started, 2), "error": error[:200]}


def leaderboard(run_folder, target, metric):
    """Returns the test score of each learner alone, from leaderboard.json in the run folder, if there is one.

    It is a list of lines with `output`, `learner` and `test`, the metrics on the test rows.
    """
    path = run_folder / "leaderboard.json"
    lines = json.loads(path.read_text()) if path.exists() else []
    scores = {line["learner"]: line["test"].get(metric) for line in lines if line["output"] == target}
    return {learner: score for learner, score in scores.items() if score is not None and math.isfinite(score)}


def autogluon_jobs(tables, options):
    """Yields a job per table and split that runs AutoGluon tabular in the Python that has it; series are left out, it takes none."""
    has_torch = subprocess.run([options.python, "-c", "import torch"], capture_output=True).returncode == 0
    print("AutoGluon with its networks" if has_torch else "AutoGluon without its networks: torch is not installed in that Python")
    identity = {"method": options.label or f"autogluon {options.time_limit} s", "networks": has_torch}
    for table, seed in splits({name: table for name, table in tables.items() if table.kind != "s"}, options):

        def run(folder, table=table, seed=seed):
            path = folder / f"{table.name}.csv"
            table.write(seed, path)
            arguments = [path, table.target, table.metric, str(options.time_limit), folder / "run", str(int(has_torch))]
            return fit_peer([options.python, AUTOGLUON_SCRIPT, *arguments])

        yield {**identity, "table": table.name, "seed": seed}, run


def ludwig_jobs(tables, options):
    """Yields a job per table and split that trains Ludwig's defaults in the Python that has it; series are left out."""
    identity = {"method": options.label or f"ludwig {options.time_limit} s"}
    for table, seed in splits({name: table for name, table in tables.items() if table.kind != "s"}, options):

        def run(folder, table=table, seed=seed):
            path = folder / f"{table.name}.csv"
            table.write(seed, path)
            return fit_peer([options.python, LUDWIG_SCRIPT, path, table.target, table.metric, str(options.time_limit), folder / "run"])

        yield {**identity, "table": table.name, "seed": seed}, run


def fit_peer(command):
    # Threads that wait leave the cores to others: on a busy machine, most of the time limit would be spent on waiting otherwise.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", **os.environ}
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return failed(reason(done.stderr), started)


def run_all(jobs, results, retry):
    """Runs the jobs that the file does not have yet, each in a temporary folder, and appends each result at once."""
    done = [row for row in read(results) if not (retry and row["score"] is None)]
    for identity, run in jobs:
        if any(all(row.get(key) == value for key, value in identity.items()) for row in done):
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = {**identity, **run(pathlib.Path(folder))}
        append(results, row)
        score = row["error"] if row["score"] is None else f"{row['score']:.4f}"
        print(*(value for key, value in identity.items() if key not in ("binary", "networks")), score, f"{row['seconds']} s", flush=True)
