#!/usr/bin/env python3
"""Soak test of a server with many kinds of clients: well-behaved, sending nonsense, slow, never reading, and idle.

usage: bench/soak.py --binary target/release/mbm --model-path results/run [--minutes 30] [--connections 256] [-- MORE]
MORE are further arguments for `mbm serve`.

Starts `mbm serve` and opens 256 connections to it. At the end it checks that
- all responses had status 200, 4xx or 503 (timeout), valid requests got 200, 429 or 503, and the server is still running;
- 99 % of the responses of /health, requested every 50 ms by a separate process, came within 100 ms;
- memory is flat: the median of the last fifth of the run is at most 10 % plus 32 MB above that of the second fifth, after the
  warm-up.
The last line reports the results; the exit status is 1 if a check failed. Needs only Python's standard library.
"""
import argparse
import asyncio
import base64
import collections
import io
import json
import multiprocessing
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import urllib.request
import wave
import zlib

TIMEOUT = 5  # Seconds; passed to the server, and short so that slow clients reconnect often.
MEMORY_FACTOR, MEMORY_MARGIN = 1.10, 32  # Allowed growth from beginning to end; the margin is in MB.
HEALTH_LIMIT = 0.1  # Seconds, for the 99th percentile.
KINDS = [("good", 0.50), ("bad", 0.20), ("slow", 0.15), ("deaf", 0.10), ("idle", 0.05)]


def png(level, side=32):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes([level % 256]) * (3 * side)) * side
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav(level, rate=8000):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<h", level * (at % 100)) for at in range(rate // 4)))
    return file.getvalue()


def row_of(inputs, rng):
    """Returns a valid row with some of the inputs left out."""
    row = {}
    for field in inputs:
        if rng.random() < 0.2:
            continue
        kind = field["type"]
        if kind == "image":
            row[field["name"]] = base64.b64encode(png(rng.randrange(256))).decode()
        elif kind == "audio":
            row[field["name"]] = base64.b64encode(wav(rng.randrange(200))).decode()
        elif kind == "number":
            row[field["name"]] = rng.uniform(-5, 5)
        elif kind == "text":
            row[field["name"]] = " ".join(rng.choice(["a", "dark", "bright", "image", "ping"]) for _ in range(rng.randrange(1, 20)))
        elif field.get("classes"):
            row[field["name"]] = rng.choice(field["classes"])
    return row


def request(method, path, body=b"", kind="application/json", **headers):
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in ({"host": "localhost"} | headers).items())]
    if body or method == "POST":
        lines += [f"content-type: {kind}", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def form(fields):
    parts = [f'--edge\r\ncontent-disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + content + b"\r\n" for name, extra, content in fields]
    return b"".join(parts) + b"--edge--\r\n"


class Soak:
    def __init__(self, address, inputs, seconds):
        self.host, self.port = address
        self.inputs, self.end = inputs, time.monotonic() + seconds
        self.statuses, self.wrong, self.closed = collections.Counter(), [], collections.Counter()

    def goes_on(self):
        return time.monotonic() < self.end

    async def open(self):
        return await asyncio.open_connection(self.host, self.port, limit=1 << 24)

    async def answer(self, reader, kind, allowed):
        """Reads a response, counts it, and returns whether the connection stays open."""
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 4 * TIMEOUT)
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"content-length: (\d+)", head, re.I)
        body = await asyncio.wait_for(reader.readexactly(int(length[1])), 4 * TIMEOUT) if length else b""
        self.statuses[status] += 1
        if status not in allowed and len(self.wrong) < 20:
            self.wrong.append(f"{kind}: {status} {' '.join(body[:120].decode(errors='replace').split())}")
        return b"connection: close" not in head.lower()

    def good_request(self, rng):
        row = lambda: row_of(self.inputs, rng)
        dice = rng.random()
        if dice < 0.5:
            return request("POST", "/predict", json.dumps(row()).encode())
        if dice < 0.65:
            return request("POST", "/batch_predict", json.dumps({"rows": [row() for _ in range(8)]}).encode())
        if dice < 0.75:
            media = {field["name"] for field in self.inputs if field["type"] in ("image", "audio")}
            fields = [(name, '; filename="f"', base64.b64decode(value)) if name in media else (name, "", str(value).encode()) for name, value in row().items()]
            return request("POST", "/predict", form(fields), "multipart/form-data; boundary=edge")
        return request("GET", rng.choice(["/info", "/metrics", "/", "/page.js", "/ready", "/openapi.json"]))

    async def good(self, rng):
        reader, writer = await self.open()
        try:
            while self.goes_on():
                writer.write(self.good_request(rng))
                # 503 is the documented status of a timeout: the machine may be busy.
                if not await self.answer(reader, "good", (200, 429, 503)):
                    return
                await asyncio.sleep(rng.uniform(0.2, 0.6))
        finally:
            writer.close()

    def bad_request(self, rng):
        deep = b"[" * 50_000
        return rng.choice([
            request("POST", "/predict", b'{"size": '),
            request("POST", "/predict", deep),
            request("POST", "/batch_predict", b"[" + b",".join([b'{"":0}'] * 2000) + b"]"),
            request("POST", "/predict", b"x", "text/plain"),
            request("POST", "/predict", b'{"no such input": 1}'),
            request("POST", "/predict", form([("f", '; filename="f"', b"x")] * 300), "multipart/form-data; boundary=edge"),
            request("POST", "/predict", b"--edge\r\nnonsense", "multipart/form-data; boundary=edge"),
            request("POST", "/predict", b"{}", origin="https://evil.example"),
            request("GET", "/info", host="evil.example"),
            request("GET", "/nowhere"),
            request("DELETE", "/predict"),
            request("POST", "/predict?explain=perhaps", b"{}"),
            b"GET / HTTP/1.1\r\n\r\n",
            b"nonsense\r\n\r\n",
            bytes(rng.randrange(256) for _ in range(100)) + b"\r\n\r\n",
            request("GET", "/", x="y" * 300_000),
            b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{",
        ])

    async def bad(self, rng):
        reader, writer = await self.open()
        try:
            writer.write(self.bad_request(rng))
            await self.answer(reader, "bad", range(400, 500))
            await asyncio.sleep(rng.uniform(0, 0.5))
        finally:
            writer.close()

    async def slow(self, rng):
        """Sends a request byte by byte: a timeout in the body, a closed connection in the head."""
        reader, writer = await self.open()
        whole = self.good_request(rng)
        at = rng.choice([5, whole.index(b"\r\n\r\n") + 4, max(0, len(whole) - 3)])
        answer = asyncio.ensure_future(self.answer(reader, "slow", (200, 400, 408, 429, 503)))
        try:
            writer.write(whole[:at])
            for byte in whole[at:]:
                if answer.done() or not self.goes_on():
                    break
                await asyncio.sleep(rng.uniform(0.2, 1))
                writer.write(bytes([byte]))
            if self.goes_on():
                await answer
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            writer.close()

    async def deaf(self, rng):
        """Sends requests without reading any response, until the server closes the connection."""
        loop, asked = asyncio.get_running_loop(), 0
        with socket.socket() as plain:
            plain.setblocking(False)
            await loop.sock_connect(plain, (self.host, self.port))
            many = request("GET", rng.choice(["/page.js", "/openapi.json"])) * 50
            started = time.monotonic()
            while self.goes_on():
                try:
                    await asyncio.wait_for(loop.sock_sendall(plain, many), 0.5)
                    asked += 50
                except TimeoutError:
                    await asyncio.sleep(0.5)
                if time.monotonic() - started > 12 * TIMEOUT:
                    self.wrong.append(f"deaf: still connected after {12 * TIMEOUT} s and {asked} requests")
                    return

    async def idle(self, rng):
        """Sends at most one request and stays connected, until the server closes the connection."""
        reader, writer = await self.open()
        try:
            if rng.random() < 0.5:
                writer.write(request("GET", "/health"))
                await self.answer(reader, "idle", (200,))
            if await asyncio.wait_for(reader.read(1), 6 * TIMEOUT):
                self.wrong.append("idle: something came unasked")
        except TimeoutError:
            self.wrong.append(f"idle: still connected after {6 * TIMEOUT} s")
        finally:
            writer.close()

    async def client(self, kind, seed):
        rng = random.Random(seed)
        await asyncio.sleep(rng.uniform(0, 2))
        while self.goes_on():
            try:
                await getattr(self, kind)(rng)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                # The server may disconnect misbehaving clients at any time, others only between two requests.
                self.closed[kind] += 1
            except TimeoutError:
                self.wrong.append(f"{kind}: no answer in {4 * TIMEOUT} s")
            await asyncio.sleep(rng.uniform(0, 0.2))

    async def run(self, connections):
        kinds = [kind for kind, share in KINDS for _ in range(round(share * connections))]
        await asyncio.gather(*(self.client(kind, seed) for seed, kind in enumerate(kinds)))


def probe(address, seconds, times):
    """Requests /health every 50 ms in a separate process, so that the work of other clients is not measured."""
    end, taken = time.monotonic() + seconds, []
    while time.monotonic() < end:
        started = time.perf_counter()
        try:
            with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/health", timeout=30) as answer:
                answer.read()
            taken.append(time.perf_counter() - started)
        except OSError:
            taken.append(float("inf"))
        time.sleep(0.05)
    times.put(taken)


def memory(process):
    """Returns the resident memory of the process in MB."""
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024


async def watch(process, soak, sizes):
    while soak.goes_on() and process.poll() is None:
        sizes.append(memory(process))
        await asyncio.sleep(1)


def start(args):
    command = [args.binary, "serve", "--model-path", args.model_path, "--port", "0", "--timeout", f"{TIMEOUT}s", *args.more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if found := re.match(r"http://([\d.]+):(\d+)", line):
            return process, (found[1], int(found[2]))
    sys.exit("the server did not start")


def found(soak, process, times, sizes, args):
    """Returns the failed checks and a summary of the measurements."""
    times.sort()
    p50, p99 = times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)]
    fifth = max(1, len(sizes) // 5)
    before, after = statistics.median(sizes[fifth : 2 * fifth] or sizes), statistics.median(sizes[-fifth:])
    failures = soak.wrong[:5]
    if process.poll() is not None:
        failures.append(f"the server ended with {process.returncode}")
    if strange := [status for status in soak.statuses if status >= 500 and status != 503]:
        failures.append(f"answers with {strange}")
    if p99 > HEALTH_LIMIT:
        failures.append(f"/health took {1000 * p99:.0f} ms")
    if after > before * MEMORY_FACTOR + MEMORY_MARGIN:
        failures.append(f"memory grew from {before:.0f} to {after:.0f} MB")
    said = f"{args.minutes:g} min, {args.connections} connections, {sum(soak.statuses.values())} answers {dict(sorted(soak.statuses.items()))}"
    said += f", /health median {1000 * p50:.1f} ms, 99th percentile {1000 * p99:.1f} ms, memory {before:.0f} -> {after:.0f} MB"
    return failures, said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("more", nargs="*")
    args = parser.parse_args()
    process, address = start(args)
    try:
        with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/info") as answer:
            inputs = json.load(answer)["inputs"]
        soak, sizes, times = Soak(address, inputs, 60 * args.minutes), [], multiprocessing.Queue()
        prober = multiprocessing.Process(target=probe, args=(address, 60 * args.minutes, times))
        prober.start()

        async def run():
            await asyncio.gather(soak.run(args.connections), watch(process, soak, sizes))

        asyncio.run(run())
        failures, said = found(soak, process, times.get(timeout=60), sizes, args)
        prober.join()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    print(f"soak: {said}: {'FAILED: ' + '; '.join(failures) if failures else 'held'}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
