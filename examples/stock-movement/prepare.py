#!/usr/bin/env python3
"""Joins StockNet's prices and tweets to one table: each row a ticker and a day with tweets, to the next day's direction.

usage: prepare.py STOCKNET_FOLDER OUTPUT.csv        the standard library is enough
The folder holds prices/TICKER.csv and tweets_TICKER.jsonl. A row reads the last ten trading days up to its day (return and relative
volume of each) and that day's tweets; the target is whether the next close is higher. Nothing of later days enters a row.
"""
import collections
import csv
import json
import math
import pathlib
import sys

folder, output = pathlib.Path(sys.argv[1]), sys.argv[2]
rows = []
for path in sorted((folder / "prices").glob("*.csv")):
    ticker = path.stem
    tweets = collections.defaultdict(list)
    for line in open(folder / f"tweets_{ticker}.jsonl", encoding="utf-8"):
        tweet = json.loads(line)
        tweets[tweet["date"]].append(tweet["text"].replace("\n", " "))
    days = list(csv.DictReader(open(path)))
    close = [float(day["Adj Close"]) for day in days]
    volume = [float(day["Volume"]) for day in days]
    for i in range(30, len(days) - 1):
        date = days[i]["Date"]
        if date not in tweets:
            continue
        mean_volume = sum(volume[i - 30:i]) / 30
        steps = [f"{100 * math.log(close[k] / close[k - 1]):.4f} {volume[k] / mean_volume:.4f}" for k in range(i - 9, i + 1)]
        rows.append([date, ticker, "; ".join(steps), " ".join(tweets[date])[:4000], "up" if close[i + 1] > close[i] else "down"])
rows.sort()
with open(output, "w", newline="", encoding="utf-8") as out:
    writer = csv.writer(out)
    writer.writerow(["date", "ticker", "prices", "tweets", "direction"])
    writer.writerows(rows)
print(f"{len(rows)} rows, {sum(row[-1] == 'up' for row in rows) / len(rows):.1%} up")
