"""Tables on disk and their splits: NAME.csv.gz with a `split` column, described by tables.json in the same folder.

The stored split has seed 7. Tables of under 1,500 rows are split three times, of under 500 rows ten times: on a few test rows one
split says little. Classes are split one by one (stratified); 64 % of the rows are for training, 16 % for validation, 20 % for testing.
"""
import csv
import dataclasses
import gzip
import io
import json
import pathlib
import random

SEED = 7


@dataclasses.dataclass
class Table:
    name: str
    path: pathlib.Path
    target: str
    kind: str
    n_rows: int

    @property
    def is_regression(self):
        return self.kind in "rm"

    @property
    def metric(self):
        return "r2" if self.is_regression else "accuracy"

    @property
    def has_text(self):
        return self.kind in "mtx"

    @property
    def seeds(self):
        return range(SEED, SEED + (10 if self.n_rows < 500 else 3 if self.n_rows < 1500 else 1))

    def rows(self, seed):
        """Returns the header and the rows as texts, the last column `split`."""
        head, *rows = csv.reader(io.StringIO(gzip.decompress(self.path.read_bytes()).decode()))
        if seed != SEED:
            at = head.index(self.target)
            groups = ["" if self.is_regression else row[at] for row in rows]
            for row, part in zip(rows, assign(groups, seed)):
                row[-1] = part
        return head, rows

    def write(self, seed, path):
        """Writes the table with the split of this seed as CSV."""
        head, rows = self.rows(seed)
        with open(path, "w", newline="") as out:
            csv.writer(out).writerows([head, *rows])


def assign(groups, seed):
    """Returns `train`, `validation` or `test` for every row, at random within each group."""
    rng, parts, members = random.Random(seed), [""] * len(groups), {}
    for row_idx, group in enumerate(groups):
        members.setdefault(group, []).append(row_idx)
    for group in sorted(members):
        order = members[group]
        rng.shuffle(order)
        n_train, n_seen = round(len(order) * 0.64), round(len(order) * 0.8)
        for at, row_idx in enumerate(order):
            parts[row_idx] = "train" if at < n_train else "validation" if at < n_seen else "test"
    return parts


def load(folders, names=()):
    """Returns the tables of the folders by name, or only those that are named."""
    tables = {}
    for folder in folders:
        index = folder / "tables.json"
        if not index.exists():
            raise SystemExit(f"{index} does not exist: run `tables.py fetch` first, or name another folder with --tables")
        for name, entry in json.loads(index.read_text()).items():
            if name in tables:
                raise SystemExit(f"two folders have a table {name}")
            tables[name] = Table(name, folder / f"{name}.csv.gz", entry["target"], entry["kind"], entry["rows"])
    unknown = [name for name in names if name not in tables]
    if unknown:
        raise SystemExit(f"no table {unknown[0]}; there are {', '.join(tables)}")
    return {name: table for name, table in tables.items() if not names or name in names}
