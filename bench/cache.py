#!/usr/bin/env python3
"""Compares a first run with a frozen encoder and a second one that finds its features in the cache.

usage: bench/cache.py MBM CONFIG TABLE
"""
import json
import os
import subprocess
import sys
import tempfile
import time

mbm, config, table = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    for name in ("first", "second"):
        started, before = time.perf_counter(), 0.0
        command = [mbm, "train", "-c", config, "-d", table, "-o", f"{folder}/{name}", "--json", "--set", "trainer.epochs=4"]
        env = dict(os.environ, MBM_CACHE_DIR=f"{folder}/cache")
        for line in subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env).stdout:
            event, now = json.loads(line), time.perf_counter() - started
            if event["event"] == "encoded":
                print(f"{name} run: {event['cells']} cells encoded, {event['from_cache']} of them from the cache, {now:.2f} s after the start")
            if event["event"] == "epoch":
                print(f"{name} run: epoch {event['epoch']} ends after {now:.2f} s, {now - before:.3f} s after the line before")
            before = now if event["event"] in ("started", "epoch") else before
