#!/usr/bin/env python3
"""Writes the same table as Parquet and as Arrow IPC, with a column of each type that both formats have: tests/golden/types.*.

    pip install pyarrow; python tests/golden_types.py tests/golden
"""
import datetime
import decimal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

when = datetime.datetime(2024, 2, 29, 13, 5, 7, 123456)
early = datetime.datetime(1931, 1, 1)
columns = {
    "integer": pa.array([1, None, -3], pa.int16()),
    "unsigned": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "single": pa.array([0.1, None, float("nan")], pa.float32()),
    "half": pa.array([0.5, None, float("inf")], pa.float16()),
    "double": pa.array([0.1, float("-inf"), 1e300]),
    "boolean": pa.array([True, None, False]),
    "text": pa.array(["a", " ", None]),
    "bytes": pa.array([b"\x89PNG", None, b""]),
    "fixed": pa.array([b"abc", None, b"\0\0\0"], pa.binary(3)),
    "word": pa.array(["red", None, "red"]).dictionary_encode(),
    "date": pa.array([when.date(), None, early.date()]),
    "milliseconds": pa.array([when.replace(microsecond=123000), None, early], pa.timestamp("ms")),
    "microseconds": pa.array([when, None, early], pa.timestamp("us")),
    "zone": pa.array([when, None, early], pa.timestamp("us", "Europe/Berlin")),
    "time": pa.array([when.time().replace(microsecond=123000), None, datetime.time(0)], pa.time32("ms")),
    "fine_time": pa.array([when.time(), None, datetime.time(0)], pa.time64("us")),
    "decimal": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-0.05")], pa.decimal128(5, 2)),
    "whole": pa.array([decimal.Decimal("150"), None, decimal.Decimal("0")], pa.decimal128(9, 0)),
    "large": pa.array([decimal.Decimal("-12345678901234567890123456789.5"), None, decimal.Decimal("7.5")], pa.decimal128(38, 1)),
    "numbers": pa.array([[1, 2], None, []], pa.list_(pa.int32())),
    "vector": pa.array([[0.5, 1.5], None, [2.5, 3.5]], pa.list_(pa.float32())),
    "gaps": pa.array([[0.5, None], [float("nan")], [1.0]]),
    "words": pa.array([["a", "b"], None, [" "]]),
    "no_words": pa.array([["a", "b"], [], ["c"]]),
    "series": pa.array([[[1.0, 2.0], [3.0]], None, [[]]]),
    "dates": pa.array([[when.date()], None, []], pa.list_(pa.date32())),
    "times": pa.array([[when], None, []], pa.list_(pa.timestamp("us"))),
    "images": pa.array([[b"\x89PNG"], None, []], pa.list_(pa.binary())),
    "flags": pa.array([[True, None], None, [False]]),
    "media": pa.array([{"bytes": b"\x89", "path": None}, None, {"bytes": None, "path": "a.png"}]),
    "struct": pa.array([{"z": 1, "y": {"x": [1.5]}}, None, {"z": None, "y": None}]),
    "map": pa.array([[("b", 1), ("a", 2)], None, []], pa.map_(pa.string(), pa.int64())),
}
table = pa.table(columns)
folder = Path(sys.argv[1])
pa.parquet.write_table(table, folder / "types.parquet", store_schema=False)
pa.feather.write_feather(table, folder / "types.arrow", compression="uncompressed")
