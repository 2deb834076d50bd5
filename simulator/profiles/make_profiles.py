#!/usr/bin/env python3
"""Thins NVIDIA AIConfigurator's kernel tables to what the step-time model reads.

    simulator/profiles/make_profiles.py AIC_DIR VIDUR_DIR

AIC_DIR holds <system>/*_perf.csv.gz as described in README.md; the output is
written beside this script. Needs pandas. Latencies become microseconds with
four digits; the smallest of several kernels for one shape is kept, as an engine
picks the fastest it has.
"""
import gzip
import io
import pathlib
import sys

import pandas as pd

SYSTEMS = ["h100_sxm", "h200_sxm", "b200_sxm", "a100_sxm"]
# Other rows stand one token beside one of these; none are further than 2x apart.
GEMM_M = [1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 512, 768, 1024,
          1536, 2048, 3072, 4096, 8192, 16384, 32768]
# Skew of the router measured by AIC: between balanced and its hardest case.
MOE_DISTRIBUTION = "power_law_1.2"
HERE = pathlib.Path(__file__).parent


def read(aic, system, name):
    path = aic / system / f"{name}_perf.csv.gz"
    if not path.exists():
        return None
    table = pd.read_csv(path)
    # Constant columns were dropped from the A100's tables.
    for column, value in (("gemm_dtype", "bfloat16"), ("head_dim", 128),
                          ("kv_cache_dtype", "bfloat16"), ("window_size", 0)):
        if column not in table:
            table[column] = value
    table["system"] = system
    table["us"] = table["latency"] * 1e3
    return table


def wide(tables, keys, across, name, keep=None):
    """One row per `keys`, one column per value of `across`."""
    table = pd.concat([t for t in tables if t is not None])
    if keep is not None:
        table = table[table[across].isin(keep)]
    table = table.groupby(keys + [across])["us"].min().unstack(across)
    table = table.sort_index()
    text = io.StringIO()
    table.to_csv(text, float_format="%.4g")
    # No file name and no time in the header: the same bytes every time.
    with open(HERE / f"{name}.csv.gz", "wb") as out:
        with gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0) as z:
            z.write(text.getvalue().encode())


def main(aic, vidur):
    def every(name):
        return [read(aic, s, name) for s in SYSTEMS]

    wide(every("gemm"), ["system", "gemm_dtype", "n", "k"], "m", "gemm", GEMM_M)
    attention = ["system", "kv_cache_dtype", "head_dim", "window_size",
                 "num_heads", "num_key_value_heads"]
    prefill = [t[t.batch_size == 1] for t in every("context_attention")]
    wide(prefill, attention, "isl", "prefill_attention")
    decode = every("generation_attention")
    for t in decode:
        t["context"] = t["step"] + 1
    wide(decode, attention + ["batch_size"], "context", "decode_attention")
    mla = ["system", "kv_cache_dtype", "gemm_type", "num_heads"]
    prefill = [t[t.batch_size == 1] for t in every("mla_context_module")
               if t is not None]
    wide(prefill, mla, "isl", "mla_prefill")
    decode = [t for t in every("mla_generation_module") if t is not None]
    wide(decode, mla + ["batch_size"], "step", "mla_decode")
    moe = [t[t.distribution == MOE_DISTRIBUTION] for t in every("moe")
           if t is not None]
    wide(moe, ["system", "moe_dtype", "hidden_size", "inter_size", "topk",
               "num_experts", "moe_tp_size", "moe_ep_size"], "num_tokens", "moe")

    # By elements of two bytes, the quicker of NCCL and the engine's own kernel
    # (replayed from a graph).
    reduce = []
    for s in SYSTEMS:
        nccl = read(aic, s, "nccl")
        for op in ("all_reduce", "all_gather", "reduce_scatter", "alltoall"):
            one = nccl[(nccl.op_name == op) & (nccl.nccl_dtype == "half")]
            reduce.append(one.assign(op=op))
        own = read(aic, s, "custom_allreduce")
        if own is not None:
            own = own[own.backend == "vllm_graph"]
            reduce.append(own.assign(op="all_reduce"))
    wide(reduce, ["system", "op", "num_gpus"], "message_size", "collectives")

    fits = pd.read_csv(vidur / "nccl_send_recv_fit.csv")
    fits = fits[fits.system.isin(["h100_dgx", "a100_dgx"])]
    fits[["system", "path", "small_msg_us", "GBps_at_64MiB"]].to_csv(
        HERE / "send_recv.csv", index=False)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
