#!/usr/bin/env python3
"""Writes adapter files, of the format in model/adapters/README.md.

    bench/parscale/adapter_file.py --checkpoint RUN/checkpoint.pt --out FILE \\
        [--results bench/results/parscale_nll.json]

Their parameters are those of a checkpoint, rounded to bfloat16, with the hash of
the base model; with --results also the gain that was measured.
"""
import argparse
import json
import pathlib

import safetensors.torch
import torch

import base_model
import streams as S

AGGREGATOR = {"w1": "aggregator.w1", "b1": "aggregator.b1",
              "w2": "aggregator.w2", "b2": "aggregator.b2"}
NAMES = {"prefix_k": "prefix_k", "prefix_v": "prefix_v"} | AGGREGATOR


def write(path, config, adapter, base_path, notes):
    metadata = {
        "format": "braid-parscale",
        "version": "1",
        "kind": "nested",
        "base_sha256": base_model.sha256(base_path),
        "base_name": pathlib.Path(base_path).stem,
        "streams": str(adapter.streams),
        "prefix_tokens": str(adapter.prefix_tokens),
        "smoothing": str(adapter.smoothing),
        "key_layout": "halves",
        "hidden": str(config["hidden_size"]),
        "layers": str(config["num_hidden_layers"]),
        "kv_heads": str(config["num_key_value_heads"]),
        "head_dim": str(config["head_dim"]),
        "license": "Apache-2.0",
    } | notes
    tensors = {stored: getattr(adapter, name).detach().bfloat16().contiguous()
               for name, stored in NAMES.items()}
    safetensors.torch.save_file(tensors, path, metadata)


def from_checkpoint(path, config):
    """The adapter of a checkpoint, rounded as its file would be."""
    parameters = torch.load(path)["adapter"]
    adapter = S.Adapter(config, len(parameters["w2"]),
                        parameters["prefix_k"].shape[3])
    adapter.load_state_dict({name: value.bfloat16().float()
                             for name, value in parameters.items()})
    return adapter


def measured_gain(path):
    """Metadata from the results of evaluate.py: nats won over one stream."""
    return json.loads(pathlib.Path(path).read_text())["gain"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--model", default=base_model.DEFAULT)
    parser.add_argument("--results")
    arguments = parser.parse_args()
    config, _ = base_model.load(arguments.model)
    adapter = from_checkpoint(arguments.checkpoint, config)
    state = torch.load(arguments.checkpoint)
    notes = {"trained_tokens": str(state["tokens"]),
             "text_sha256": state["files_sha256"]}
    if arguments.results:
        notes |= measured_gain(arguments.results)
    write(arguments.out, config, adapter, arguments.model, notes)


if __name__ == "__main__":
    main()
