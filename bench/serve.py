#!/usr/bin/env python3
"""Compares `mbm serve` with FastAPI serving the same model in PyTorch, one after the other: requests per second and latencies at
1, 16 and 256 connections, with and without batching; the time from start to first response; memory over many requests.

usage: bench/serve.py MBM RUN_FOLDER DIGITS_CSV [SECONDS] [REQUESTS]
Needs wrk, fastapi, "uvicorn[standard]", torch, safetensors, pillow, numpy.

RUN_FOLDER is a run of examples/spoken-and-written-digits on DIGITS_CSV. A request is a row as JSON with the image and the audio
in base64. The predictions of both servers are compared row by row.
"""
import base64
import csv
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave

PEER = "--peer"
PORT = 8771


def peer(run, port):
    """The same model with the same responses, as one would write it in Python."""
    import numpy
    import torch
    import uvicorn
    from fastapi import FastAPI, HTTPException
    from PIL import Image
    from pydantic import BaseModel
    from safetensors.torch import load_file

    torch.set_num_threads(1)  # The thread pool of the framework runs requests in parallel.
    bundle = json.loads((run / "model/bundle.json").read_text())
    weights = load_file(run / "model/weights.safetensors")
    image, audio = (field["preprocessor"] for field in bundle["inputs"])
    classes, temperature = bundle["outputs"][0]["preprocessor"]["classes"], bundle["heads"][0].get("temperature", 1.0)

    def mel_filters():
        rate, n_fft, n_bands = audio["rate"], 1 << (audio["window"] - 1).bit_length(), audio["n_bands"]
        top = 2595 * numpy.log10(1 + rate / 2 / 700)
        edges = 700 * (10 ** (numpy.arange(n_bands + 2) * top / (n_bands + 1) / 2595) - 1)
        at = numpy.arange(n_fft // 2 + 1) * rate / n_fft
        low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        return numpy.maximum(numpy.minimum((at - low) / (centre - low), (high - at) / (high - centre)), 0).astype("float32"), n_fft

    filters, n_fft = mel_filters()
    window = (0.54 - 0.46 * numpy.cos(2 * numpy.pi * numpy.arange(audio["window"]) / audio["window"])).astype("float32")

    def decode_image(content):
        pixels = numpy.asarray(Image.open(io.BytesIO(content)).convert("L"), "float32") / 255
        return torch.from_numpy((pixels - image["mean"][0]) / image["deviation"][0])[None, None]

    def decode_audio(content):
        with wave.open(io.BytesIO(content)) as file:
            samples = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype("float32") / 32768
        n_frames = 1 + -(-max(0, len(samples) - len(window)) // audio["shift"])
        padded = numpy.pad(samples, (0, max(0, (n_frames - 1) * audio["shift"] + len(window) - len(samples))))
        frames = numpy.lib.stride_tricks.sliding_window_view(padded, len(window))[:: audio["shift"]][:n_frames] * window
        energies = (numpy.abs(numpy.fft.rfft(frames, n_fft)).astype("float32") ** 2) @ filters.T
        frames = (numpy.log(energies + 1e-6) - audio["mean"]) / audio["deviation"]
        return torch.from_numpy(frames.astype("float32").T)[None]

    def linear(name, x):
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def model(x, y):
        cnn = "inputs.0.encoder.StackedCnn"
        for layer in range(2):
            norm = f"{cnn}.convs.{layer}.norm"
            x = torch.conv2d(x, weights[f"{cnn}.convs.{layer}.conv.weight"], weights[f"{cnn}.convs.{layer}.conv.bias"], padding=1)
            x = torch.batch_norm(torch.max_pool2d(x, 2), weights[f"{norm}.gamma"], weights[f"{norm}.beta"],
                                 weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"], False, 0.1, 1e-5, False).relu()
        x = linear(f"{cnn}.dense", x.flatten(1)).relu()
        body = "inputs.1.encoder.SequenceEncoder.body.Parallel"
        maps = [torch.conv1d(y, weights[f"{body}.convs.{at}.weight"], weights[f"{body}.convs.{at}.bias"], padding="same")
                for at in range(4)]
        y = linear(f"{body}.dense.layers.0", torch.cat(maps, 1).relu().amax(2)).relu()
        return torch.softmax(linear("decoders.0.Classifier.linear", torch.cat([x, y], 1)) / temperature, 1)

    class Row(BaseModel):
        image: str
        audio: str

    app = FastAPI()

    @app.post("/predict")
    def predict(row: Row):
        try:
            inputs = decode_image(base64.b64decode(row.image)), decode_audio(base64.b64decode(row.audio))
        except Exception as error:
            raise HTTPException(400, str(error))
        with torch.inference_mode():
            p = model(*inputs)[0].tolist()
        best = max(range(len(p)), key=p.__getitem__)
        shares = {f"label_probabilities_{name}": share for name, share in zip(classes, p)}
        return {"label_predictions": classes[best], "label_probability": p[best], **shares}

    uvicorn.run(app, port=port, log_level="error", access_log=False)


def rows(table):
    """Returns the test rows as request bodies."""
    def content(name):
        return base64.b64encode((table.parent / name).read_bytes()).decode()
    return [json.dumps({"image": content(row["image"]), "audio": content(row["audio"])})
            for row in csv.DictReader(table.open()) if row["split"] == "test"]


def ask(body):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/predict", body.encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


class Served:
    """A running server, with the time from its start to its first response."""

    def __init__(self, command, first):
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while True:
            try:
                ask(first)
                break
            except OSError:
                time.sleep(0.002)
        self.seconds_to_first_answer = time.perf_counter() - started

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def load(connections, seconds, script):
    """Returns requests per second, the median and 99th percentile latencies in milliseconds, and the number of failures."""
    command = ["wrk", "-t2" if connections > 1 else "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", script,
               f"http://127.0.0.1:{PORT}/predict"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def percentile(which):
        number, name = re.search(rf"{which}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * unit[name]
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    n_failed = sum(map(int, errors.groups())) if errors else 0
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), percentile(50), percentile(99), n_failed + (int(failed[1]) if failed else 0)


def main():
    mbm, run, table = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    seconds, requests = (int(sys.argv[at]) if len(sys.argv) > at else given for at, given in ((4, 10), (5, 100_000)))
    bodies = rows(table)
    os.environ.pop("MBM_API_KEY", None)
    serve = [mbm, "serve", "--model-path", str(run), "--port", str(PORT)]
    servers = {
        "mbm": serve,
        "mbm, a row at a time": [*serve, "--max-batch-size", "1"],
        "FastAPI and PyTorch": [sys.executable, __file__, PEER, str(run), str(PORT)],
    }
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        listed = pathlib.Path(folder) / "bodies.jsonl"
        listed.write_text("\n".join(bodies))
        script = pathlib.Path(folder) / "post.lua"
        script.write_text(f"""
            local bodies = {{}}
            for line in io.lines("{listed}") do bodies[#bodies + 1] = wrk.format("POST", nil, {{["host"] = "127.0.0.1:{PORT}", ["content-type"] = "application/json"}}, line) end
            local at = 0
            request = function() at = at % #bodies + 1; return bodies[at] end
        """)
        print(f"{'server':<24}{'connections':>12}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'failed':>8}")
        for name, command in servers.items():
            with Served(command, bodies[0]) as served:
                answers[name] = [ask(body) for body in bodies[:100]]
                load(16, 2, script)
                for connections in (1, 16, 256):
                    rate, median, slow, failed = load(connections, seconds, script)
                    print(f"{name:<24}{connections:>12}{rate:>12.0f}{median:>10.2f}{slow:>10.2f}{failed:>8}", flush=True)
                print(f"{name}: first answer after {served.seconds_to_first_answer:.3f} s, memory {served.memory()['VmRSS']:.0f} MB", flush=True)
        ours, theirs = answers["mbm"], answers["FastAPI and PyTorch"]
        furthest = max(abs(a[key] - b[key]) for a, b in zip(ours, theirs) for key in b if key.startswith("label_prob"))
        print(f"furthest apart: {furthest:.1e}")
        with Served(serve, bodies[0]) as served:
            n_done, marks = 0, []
            while n_done < requests:
                rate, *_ = load(16, 5, script)
                n_done += round(rate * 5)
                marks.append((n_done, served.memory()["VmRSS"]))
            print("memory over requests: " + ", ".join(f"{n}: {megabytes:.0f} MB" for n, megabytes in marks))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == PEER:
        peer(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
    elif len(sys.argv) < 4:
        sys.exit(__doc__)
    else:
        main()
