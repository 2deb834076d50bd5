#!/usr/bin/env python3
"""Many clients at once against the real binary: random prompts, streams and
plain calls, cancels, disconnects, bad requests.

  tests/e2e/soak.py [--seconds 60] [--clients 64] [--seed 1] [--kv-memory 256MiB]
                    [-- FLAGS OF braid serve]

Ends with one line and exit code 0 when
  - every answer had the status it should have, and every stream was whole;
  - equal requests got equal text, however crowded the machine was;
  - the sum of braid_kv_blocks never changed, and at the end nothing is held
    but free and cached blocks;
  - resident memory did not grow after the first half: the KV cache is small
    enough for all its blocks to have been touched by then.
"""
import argparse
import asyncio
import json
import random
import sys
import time

from braid_server import BraidServer

WORDS = ("river stone light engine copper winter garden signal paper music "
         "window number forest bridge ocean letter shadow morning").split()
PATIENCE = 300  # seconds for one answer on a crowded machine


class Failure(Exception):
    pass


def prompt(rng):
    # A few prompts come again and again (prefix hits, equal texts), most do not.
    if rng.random() < 0.4:
        rng = random.Random(rng.randrange(5))
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 120)))


def chat_body(rng, stream):
    return {"stream": stream, "seed": rng.randrange(3),
            "temperature": rng.choice([0, 0.8]), "max_tokens": rng.choice([1, 8, 24]),
            "messages": [{"role": "user", "content": prompt(rng)}]}


class Client:
    def __init__(self, host, port, seed, tally, texts):
        self.host, self.port = host, port
        self.rng = random.Random(seed)
        self.tally, self.texts = tally, texts

    async def run(self, until):
        kinds = [self.stream, self.plain, self.stream_and_leave, self.plain_and_leave,
                 self.score, self.malformed, self.too_long]
        while time.monotonic() < until:
            kind = self.rng.choices(kinds, [30, 30, 10, 5, 5, 5, 2])[0]
            await asyncio.wait_for(kind(), PATIENCE)
            self.tally[kind.__name__] = self.tally.get(kind.__name__, 0) + 1

    async def post(self, path, body):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                     .encode() + data)
        await writer.drain()
        return reader, writer

    async def answer(self, path, body, expected):
        reader, writer = await self.post(path, body)
        raw = await reader.read()
        writer.close()
        head, _, rest = raw.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 "):
            raise Failure(f"{path}: not an answer: {raw[:200]!r}")
        status = int(head.split()[1])
        if status != expected:
            raise Failure(f"{path}: {status}, not {expected}: {rest[:300]!r}")
        if b"transfer-encoding: chunked" in head.lower():
            rest = dechunk(rest)
        return rest

    def check_text(self, body, text):
        key = json.dumps({**body, "stream": None}, sort_keys=True)
        if self.texts.setdefault(key, text) != text:
            raise Failure(f"equal requests, different texts:\n{self.texts[key]!r}\n{text!r}")

    async def plain(self):
        body = chat_body(self.rng, False)
        reply = json.loads(await self.answer("/v1/chat/completions", body, 200))
        if reply["choices"][0]["finish_reason"] not in ("stop", "length"):
            raise Failure(f"finish_reason: {reply}")
        self.check_text(body, reply["choices"][0]["message"]["content"])

    async def stream(self):
        body = chat_body(self.rng, True)
        raw = await self.answer("/v1/chat/completions", body, 200)
        events = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            raise Failure(f"a stream without an end: {raw[-300:]!r}")
        choices = [c for e in events[:-1] for c in json.loads(e)["choices"]]
        if [c["finish_reason"] for c in choices if c["finish_reason"]] not in (
                ["stop"], ["length"]):
            raise Failure(f"finish reasons of a stream: {choices}")
        self.check_text(body, "".join(c["delta"].get("content") or "" for c in choices))

    async def stream_and_leave(self):
        reader, writer = await self.post("/v1/chat/completions", chat_body(self.rng, True))
        for _ in range(self.rng.randint(0, 4)):
            await reader.readline()
        writer.transport.abort()

    async def plain_and_leave(self):
        _, writer = await self.post("/v1/chat/completions", chat_body(self.rng, False))
        await asyncio.sleep(self.rng.random() * 0.2)
        writer.transport.abort()

    async def score(self):
        body = {"prompt": prompt(self.rng), "max_tokens": 2,
                "echo": True, "logprobs": 1, "temperature": 0}
        reply = json.loads(await self.answer("/v1/completions", body, 200))
        logprobs = reply["choices"][0]["logprobs"]["token_logprobs"]
        if logprobs[0] is not None or any(p is None or p > 0 for p in logprobs[1:]):
            raise Failure(f"echoed logprobs: {logprobs}")
        self.check_text(body, json.dumps(logprobs))

    async def malformed(self):
        body = self.rng.choice([b"{", b"[]", b'{"messages": 3}', b"\xff\xfe",
                                b'{"messages": [], "temperature": "hot"}'])
        reply = json.loads(await self.answer("/v1/chat/completions", body, 400))
        if not reply["error"]["message"]:
            raise Failure(f"no message: {reply}")

    async def too_long(self):
        body = {"messages": [{"role": "user", "content": "x y " * 20000}]}
        reply = json.loads(await self.answer("/v1/chat/completions", body, 400))
        if reply["error"]["code"] != "context_length_exceeded":
            raise Failure(f"over-long prompt: {reply}")


def dechunk(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        size = int(size, 16)
        if size == 0:
            return out
        out, data = out + data[:size], data[size + 2:]
    raise Failure("a chunked answer without an end")


class Watch:
    """Block sums and memory, once a second."""

    def __init__(self, server):
        self.server, self.sums, self.rss = server, set(), []

    def look(self):
        blocks = self.server.kv_blocks()
        self.sums.add(tuple(sorted((p, sum(s.values())) for p, s in blocks.items())))
        if len(self.sums) != 1 or not blocks:
            raise Failure(f"the sums of braid_kv_blocks changed: {self.sums}")
        self.rss.append(self.server.rss_bytes())
        return blocks

    async def run(self, until):
        while time.monotonic() < until:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(1)


async def at_rest(watch):
    """Waits, bounded, until nothing runs; then nothing may be held."""
    for _ in range(600):
        blocks = await asyncio.to_thread(watch.look)
        held = {(p, s): n for p, states in blocks.items() for s, n in states.items()
                if s not in ("free", "cached") and n}
        if not held:
            return
        await asyncio.sleep(0.1)
    raise Failure(f"blocks still held after the last request: {held}")


async def soak(server, options):
    host, port = server.url.removeprefix("http://").split(":")
    tally, texts, watch = {}, {}, Watch(server)
    until = time.monotonic() + options.seconds
    tasks = [asyncio.create_task(Client(host, int(port), options.seed * 1000 + i, tally, texts)
                                 .run(until)) for i in range(options.clients)]
    tasks.append(asyncio.create_task(watch.run(until)))
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    await at_rest(watch)
    middle, end = watch.rss[len(watch.rss) // 2], watch.rss[-1]
    growth = (end - middle) / 2**20
    if options.seconds >= 30 and growth > 16:
        raise Failure(f"resident memory grew by {growth:.1f} MiB in the second half")
    return tally, texts, growth, end / 2**20


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kv-memory", default="256MiB")
    parser.add_argument("flags", nargs="*", help="of braid serve, after --")
    options = parser.parse_args()
    with BraidServer("--kv-memory", options.kv_memory, *options.flags) as server:
        try:
            tally, texts, growth, rss = asyncio.run(soak(server, options))
        except Failure as failure:
            sys.exit(f"soak: {failure}")
        if server.process.poll() is not None:
            sys.exit(f"soak: the server ended with {server.process.returncode}")
        if code := server.terminate():
            sys.exit(f"soak: exit code {code} after SIGTERM")
    print(f"soak: {sum(tally.values())} requests by {options.clients} clients {tally}, "
          f"{len(texts)} distinct texts, RSS {rss:.0f} MiB, {growth:+.1f} in the second half")


if __name__ == "__main__":
    main()
