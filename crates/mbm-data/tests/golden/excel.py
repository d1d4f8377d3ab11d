#!/usr/bin/env python3
"""Writes the same workbook with two programs: openpyxl.xlsx and xlsxwriter.xlsx.

    pip install openpyxl xlsxwriter
    python crates/mbm-data/tests/golden/excel.py
"""
import datetime
from pathlib import Path

import openpyxl
import xlsxwriter

FOLDER = Path(__file__).parent
HEADER = [None, "city", "price", "sold", "when", "ok", "note"]
ROWS = [[0, "Zürich", 1200.5, datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 13, 45, 30), True, 'a\nb & <c> _x000D_ "d"'],
        [1, None, None, None, None, False, "東京"]]


def with_openpyxl():
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.title = "Data"
    for row in [HEADER, *ROWS]:
        sheet.append(row)
    sheet["G2"].value = ROWS[0][-1].replace("_x000D_", "_x005F_x000D_")
    workbook.create_sheet("Other").append(["x"])
    workbook.save(FOLDER / "openpyxl.xlsx")


def with_xlsxwriter():
    workbook = xlsxwriter.Workbook(FOLDER / "xlsxwriter.xlsx")
    sheet = workbook.add_worksheet("Data")
    formats = {3: workbook.add_format({"num_format": "dd/mm/yy"}), 4: workbook.add_format({"num_format": "yyyy\\-mm\\-dd hh:mm:ss;@"})}
    for at, row in enumerate([HEADER, *ROWS]):
        for column, value in enumerate(row):
            sheet.write(at, column, value, formats.get(column) if at else None)
    workbook.add_worksheet("Other").write(0, 0, "x")
    workbook.close()


with_openpyxl()
with_xlsxwriter()
