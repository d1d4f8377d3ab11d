"""Compares nearest-neighbor search in mbm, faiss and hnswlib in one run.

usage: python3 bench/index.py target/release/examples/measure [VECTORS]

Seeded vectors of 384 dimensions around 1,000 centers. Every index is built on all cores with M 16 and efConstruction 200 and
searched on all cores, at the smallest ef whose recall@10, relative to an exact search in 32 bits, is at least 0.98.
Needs: pip install numpy faiss-cpu hnswlib
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import faiss
import hnswlib
import numpy as np

WIDTH, N_QUERIES, K, GOAL = 384, 2000, 10, 0.98
EFS = [10, 20, 40, 60, 80, 120, 160, 240, 400]
cores = os.cpu_count()


def clustered(n, rng, centres):
    return (centres[rng.integers(len(centres), size=n)] + 0.8 * rng.standard_normal((n, WIDTH), dtype=np.float32)).astype(np.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def recall(found, truth):
    return np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist())])


def show(name, recall, ef, queries, n_bytes, build):
    print(f"| {name} | {recall:.3f} | {ef} | {queries:.0f} | {n_bytes:.0f} | {build:.0f} |", flush=True)


def best(search, truth):
    """Returns the recall, the ef and the queries per second (best of three) at the smallest ef that reaches the goal."""
    for ef in EFS:
        seconds = []
        for _ in range(3):
            start = time.time()
            found = search(ef)
            seconds.append(time.time() - start)
        reached = recall(found, truth)
        if reached >= GOAL or ef == EFS[-1]:
            return reached, ef, N_QUERIES / min(seconds)


def ours(binary, folder, precision, truth):
    index = os.path.join(folder, precision)
    args = [binary, f"{folder}/vectors", str(WIDTH), f"{folder}/queries", index, precision]
    lines = [json.loads(line) for line in subprocess.run(args, check=True, capture_output=True, text=True).stdout.splitlines()]
    found = {line["ef"]: np.fromfile(f"{index}/found-{line['ef']}.u32", np.uint32).reshape(-1, K) for line in lines[1:]}
    shutil.rmtree(index)
    if truth is None:
        truth = found[0]
    reached = {line["ef"]: (recall(found[line["ef"]], truth), line["queries"]) for line in lines[1:]}
    ef = next((ef for ef in EFS if reached[ef][0] >= GOAL), EFS[-1])
    show(f"mbm {precision}", reached[ef][0], ef, reached[ef][1], lines[0]["bytes"], lines[0]["build"])
    show(f"mbm {precision}, exact", reached[0][0], "-", reached[0][1], lines[0]["bytes"], 0)
    return truth


def with_hnswlib(vectors, queries, truth):
    index = hnswlib.Index("ip", WIDTH)
    index.init_index(len(vectors), M=16, ef_construction=200)
    start = time.time()
    index.add_items(vectors, num_threads=cores)
    build = time.time() - start
    path = tempfile.mktemp()
    index.save_index(path)
    n_bytes = os.path.getsize(path) / len(vectors)
    os.remove(path)

    def search(ef):
        index.set_ef(max(ef, K))
        return index.knn_query(queries, K, num_threads=cores)[0]

    show("hnswlib f32", *best(search, truth), n_bytes, build)


def with_faiss(name, index, vectors, queries, truth):
    start = time.time()
    index.train(vectors)
    index.add(vectors)
    build = time.time() - start
    n_bytes = len(faiss.serialize_index(index)) / len(vectors)

    def search(ef):
        index.hnsw.efSearch = ef
        return index.search(queries, K)[1]

    show(name, *best(search, truth), n_bytes, build)


def main():
    binary, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((1000, WIDTH), dtype=np.float32)
    vectors, queries = unit(clustered(n, rng, centres)), unit(clustered(N_QUERIES, rng, centres))
    folder = tempfile.mkdtemp()
    vectors.tofile(f"{folder}/vectors")
    queries.tofile(f"{folder}/queries")
    print(f"{n} vectors of {WIDTH} values, {N_QUERIES} queries, {cores} threads\n")
    print("| index | recall@10 | ef | queries/s | bytes a vector | build, s |\n|---|---|---|---|---|---|", flush=True)
    truth = ours(binary, folder, "f32", None)
    with_hnswlib(vectors, queries, truth)

    def quantized(kind):
        index = faiss.IndexHNSWSQ(WIDTH, kind, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        return index

    flat = faiss.IndexHNSWFlat(WIDTH, 16, faiss.METRIC_INNER_PRODUCT)
    flat.hnsw.efConstruction = 200
    with_faiss("faiss f32", flat, vectors, queries, truth)
    del flat
    ours(binary, folder, "f16", truth)
    with_faiss("faiss f16", quantized(faiss.ScalarQuantizer.QT_fp16), vectors, queries, truth)
    ours(binary, folder, "i8", truth)
    with_faiss("faiss 8 bits", quantized(faiss.ScalarQuantizer.QT_8bit), vectors, queries, truth)
    shutil.rmtree(folder)


main()
