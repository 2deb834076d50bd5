#!/usr/bin/env python3
"""An adapter of random numbers for a model: what tests of PARSCALE need, who ask
how streams are run and not what they are worth.

    tests/e2e/random_adapter.py [--model FILE] --out FILE [--streams 4]
"""
import argparse
import array
import hashlib
import json
import pathlib
import random
import struct
import sys

from braid_server import MODEL

# Of the default model.
HIDDEN, LAYERS, KV_HEADS, HEAD_DIM = 576, 30, 3, 64


def write(path, model=MODEL, streams=4, prefix_tokens=16, seed=1):
    rng = random.Random(seed)
    gain = [0.1 * (1 - 0.5 ** p) for p in range(streams)]
    header = {"__metadata__": {
        "format": "braid-parscale", "version": "1", "kind": "nested",
        "base_sha256": hashlib.sha256(pathlib.Path(model).read_bytes()).hexdigest(),
        "base_name": pathlib.Path(model).stem, "streams": str(streams),
        "prefix_tokens": str(prefix_tokens), "smoothing": "0.1", "key_layout": "halves",
        "hidden": str(HIDDEN), "layers": str(LAYERS), "kv_heads": str(KV_HEADS),
        "head_dim": str(HEAD_DIM), "gain": ",".join(f"{g:g}" for g in gain)}}
    prefix = [LAYERS, streams - 1, KV_HEADS, prefix_tokens, HEAD_DIM]
    # Prefixes of the size of keys and values; an aggregator that weighs streams
    # differently from token to token.
    tensors = {"prefix_k": (prefix, 0.7), "prefix_v": (prefix, 0.3),
               "aggregator.w1": ([HIDDEN, streams * HIDDEN], 0.05),
               "aggregator.b1": ([HIDDEN], 0.1), "aggregator.w2": ([streams, HIDDEN], 0.1),
               "aggregator.b2": ([streams], 0.1)}
    data = bytearray()
    for name, (shape, scale) in tensors.items():
        count = 1
        for n in shape:
            count *= n
        values = array.array("f", (rng.uniform(-scale, scale) * 1.7 for _ in range(count)))
        if sys.byteorder == "big":
            values.byteswap()
        begin = len(data)
        data += values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", required=True)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write(options.out, options.model, options.streams, seed=options.seed)


if __name__ == "__main__":
    main()
