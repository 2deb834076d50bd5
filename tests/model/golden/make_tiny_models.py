"""Tiny random models in every format, with logits by an independent
implementation, and random blocks of every quantisation with their values.

    python3 make_tiny_models.py

writes into the folder it lies in; needs torch, transformers (5.23 was used),
tokenizers, safetensors, gguf and numpy. Deterministic.

For each model NAME there is NAME.gguf, or a directory NAME in the Hugging Face
layout, and NAME.logits (little-endian):

    u32     T, tokens
    u32     P, positions
    u32     V, vocabulary
    i32[T]  tokens
    i32[P]  positions in it
    f32[P][V]  logits after each position
    f32[P][V]  the same with the inputs of linear layers, the output head
               included, rounded to int8 in blocks of 32 columns (scale
               amax / 127, half to even)

The logits are those of transformers over the dequantised weights, in float32;
with rounding in float64, so that what is close to a half rounds as it should.

blocks.bin holds, for each format until the end of the file:

    char[8]  name, padded with zeros
    u32      columns
    u32      bytes
    u8[bytes], f32[columns]   as gguf.quants.dequantize has them
"""

import json
import pathlib
import shutil
import struct

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Q

HERE = pathlib.Path(__file__).parent
VOCABULARY = 272
POSITIONS = [0, 9, 30, 47]
TOKENS = 48
K_BLOCK_BYTES = {Q.Q4_K: 144, Q.Q5_K: 176, Q.Q6_K: 210}

LINEAR = {"rope_type": "linear", "factor": 2.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "factor": 4.0,
        "original_max_position_embeddings": 16}


def byte_alphabet():
    """GPT-2's printable spelling of the 256 bytes, in the order of its ids."""
    shown = (list(range(33, 127)) + list(range(161, 173))
             + list(range(174, 256)))
    hidden = [b for b in range(256) if b not in shown]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(len(hidden))]


def vocabulary():
    merges = ["Ġ t", "h e", "i n", "Ġt he", "e r", "Ġ a", "o n", "r e"]
    tokens = byte_alphabet() + [m.replace(" ", "") for m in merges]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    added = ["<tool_call>", "</tool_call>"]
    return tokens, merges, special, added


def make_config(kind, hidden, layers, rope=None, tied=True, head_dim=None,
                heads=4, kv_heads=2, ffn=None):
    common = dict(
        vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        intermediate_size=ffn or hidden, max_position_embeddings=128,
        rms_norm_eps=1e-5, tie_word_embeddings=tied, bos_token_id=None,
        eos_token_id=266, pad_token_id=None,
        head_dim=head_dim or hidden // heads,
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default",
                         **(rope or {})})
    return {"llama": transformers.LlamaConfig,
            "qwen2": transformers.Qwen2Config,
            "qwen3": transformers.Qwen3Config}[kind](**common)


def make_model(config, seed):
    """Random weights that keep activations of order one."""
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                p.normal_(0, 1.5 / p.shape[1] ** 0.5)
            elif "norm" in name:
                p.normal_(1, 0.2)
            else:
                p.normal_(0, 0.3)  # biases
    return model


def round_to_int8_blocks(x):
    width = x.shape[-1] // 32 * 32  # the last block may be shorter
    pieces = [x[..., :width].reshape(*x.shape[:-1], -1, 32)]
    if width < x.shape[-1]:
        pieces.append(x[..., None, width:])
    rounded = []
    for blocks in pieces:
        scale = blocks.abs().amax(-1, keepdim=True) / 127
        q = torch.where(scale > 0, torch.round(blocks / scale), blocks)
        rounded.append((q * scale).flatten(-2))
    return torch.cat(rounded, -1)


def write_logits(name, model):
    rng = np.random.default_rng(7)
    tokens = rng.integers(0, VOCABULARY, TOKENS)

    def logits():
        with torch.inference_mode():
            ids = torch.tensor(tokens)[None]
            return model(ids).logits[0, POSITIONS].float().numpy().tobytes()

    plain = logits()
    frequencies = model.model.rotary_emb.inv_freq.clone()
    model.double()
    hooks = [m.register_forward_pre_hook(
                 lambda _, inputs: (round_to_int8_blocks(inputs[0]),))
             for m in model.modules() if isinstance(m, torch.nn.Linear)]
    rounded = logits()
    for hook in hooks:
        hook.remove()
    model.float()
    assert torch.equal(frequencies, model.model.rotary_emb.inv_freq)
    (HERE / f"{name}.logits").write_bytes(
        struct.pack("<3I", TOKENS, len(POSITIONS), VOCABULARY)
        + tokens.astype(np.int32).tobytes()
        + np.array(POSITIONS, np.int32).tobytes() + plain + rounded)


def random_k_blocks(rng, quantisation, count, spread=1e-4):
    """Random superblocks with scales that give weights of a usual size."""
    blocks = rng.integers(0, 256, (count, K_BLOCK_BYTES[quantisation]),
                          dtype=np.uint8)
    d = (rng.uniform(0.5, 1, count) * spread).astype(np.float16)
    if quantisation == Q.Q6_K:
        blocks[:, 208:210] = (d / 2).astype(np.float16)[:, None].view(np.uint8)
    else:
        middle = 7.5 if quantisation == Q.Q4_K else 15.5
        if quantisation == Q.Q5_K:
            d = (d / 2).astype(np.float16)
        dmin = (d.astype(np.float32) * middle).astype(np.float16)
        blocks[:, 0:2] = d[:, None].view(np.uint8)
        blocks[:, 2:4] = dmin[:, None].view(np.uint8)
    return blocks


def quantise(rng, weights, quantisation):
    if quantisation in K_BLOCK_BYTES:
        rows, columns = weights.shape
        blocks = random_k_blocks(rng, quantisation, rows * columns // 256)
        return blocks.reshape(rows, -1)
    return gguf.quants.quantize(weights, quantisation)


def permute(rows, heads):
    """From RoPE over halves to RoPE over adjacent pairs, as converters do."""
    return (rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1)
            .swapaxes(1, 2).reshape(rows.shape))


def unpermute(rows, heads):
    return (rows.reshape(heads, rows.shape[0] // heads // 2, 2, -1)
            .swapaxes(1, 2).reshape(rows.shape))


def write_metadata(writer, kind, config):
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(
            rope["original_max_position_embeddings"])
    tokens, merges, special, added = vocabulary()
    types = ([1] * len(tokens) + [3] * len(special) + [4] * len(added))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre({"llama": "smollm"}.get(kind, "qwen2"))
    writer.add_token_list(tokens + special + added)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(266)
    writer.add_add_bos_token(False)


GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm"}


def gguf_name(name):
    for old, new in (("model.embed_tokens", "token_embd"),
                     ("model.norm", "output_norm"), ("lm_head", "output"),
                     ("model.layers.", "blk."), *GGUF_NAMES.items()):
        name = name.replace(old, new)
    return name


def write_gguf(name, kind, config, formats, seed):
    """`formats`: one format for all matrices, or several taken in turn."""
    rng = np.random.default_rng(seed)
    model = make_model(config, seed)
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", kind)
    write_metadata(writer, kind, config)
    heads = {"q_proj": config.num_attention_heads,
             "k_proj": config.num_key_value_heads}
    turn = 0
    for full_name, p in model.named_parameters():
        part = full_name.split(".")[-2]
        values = p.detach().numpy()
        reorder = kind == "llama" and part in heads
        if values.ndim == 1:
            writer.add_tensor(gguf_name(full_name), values)
            continue
        quantisation = formats[turn % len(formats)]
        turn += 1
        if reorder:
            values = permute(values, heads[part])
        data = quantise(rng, values, quantisation)
        writer.add_tensor(gguf_name(full_name), data, raw_dtype=quantisation)
        values = gguf.quants.dequantize(data, quantisation)
        if reorder:
            values = unpermute(values, heads[part])
        p.data.copy_(torch.tensor(values.reshape(p.shape)))
    if config.rope_parameters["rope_type"] == "llama3":
        plain = make_model(make_config(kind, config.hidden_size, 1,
                                       head_dim=config.head_dim), 0)
        writer.add_tensor("rope_freqs.weight",
                          (plain.model.rotary_emb.inv_freq
                           / model.model.rotary_emb.inv_freq).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_logits(name, model)


def write_tokenizer(directory, kind):
    tokens, merges, special, added = vocabulary()
    digits = {"type": "Digits", "individual_digits": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False,
                  "trim_offsets": True, "use_regex": True}
    qwen = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    first = digits if kind == "llama" else {
        "type": "Split", "pattern": {"Regex": qwen}, "behavior": "Isolated",
        "invert": False}
    (directory / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": len(tokens) + i, "content": t, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False,
             "special": t in special} for i, t in enumerate(special + added)],
        "normalizer": None if kind == "llama" else {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            first, {**byte_level, "use_regex": kind == "llama"}]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": (merges if kind == "llama"
                             else [m.split(" ") for m in merges])}},
        ensure_ascii=False))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "add_bos_token": False, "bos_token": None,
        "eos_token": {"content": "<|im_end|>", "special": True},
        "pad_token": "<|endoftext|>",
        "chat_template": "{{ messages[0]['content'] }}"}))


def write_safetensors(name, kind, config, dtype, seed, shard="1GB"):
    model = make_model(config, seed)
    for p in model.parameters():
        p.data = p.data.to(dtype).float()
    write_logits(name, model)
    model.to(dtype)
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    model.generation_config.eos_token_id = [266, 264]
    model.save_pretrained(directory, max_shard_size=shard)
    write_tokenizer(directory, kind)


def write_blocks():
    rng = np.random.default_rng(11)
    out = b""
    columns = 512
    for quantisation in (Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1,
                         Q.Q8_0, Q.Q4_K, Q.Q5_K, Q.Q6_K):
        if quantisation in K_BLOCK_BYTES:
            data = random_k_blocks(rng, quantisation, columns // 256, 0.01)
        else:
            weights = rng.normal(0, 2, (1, columns)).astype(np.float32)
            data = (weights if quantisation == Q.F32
                    else gguf.quants.quantize(weights, quantisation))
        data = np.ascontiguousarray(data).reshape(1, -1).view(np.uint8)
        values = gguf.quants.dequantize(data, quantisation)
        values = values.astype(np.float32).reshape(-1)
        assert len(values) == columns
        out += quantisation.name.encode().ljust(8, b"\0")
        out += struct.pack("<2I", columns, data.size)
        out += data.tobytes() + values.tobytes()
    (HERE / "blocks.bin").write_bytes(out)


def main():
    write_blocks()
    for name, kind, config, formats in (
            ("llama-q4_0", "llama", make_config("llama", 64, 2), [Q.Q4_0]),
            ("llama-q4_1-llama3", "llama",
             make_config("llama", 64, 2, LLAMA3), [Q.Q4_1]),
            ("llama-q5_0-yarn", "llama",
             make_config("llama", 64, 2, YARN), [Q.Q5_0]),
            ("llama-q5_1-linear", "llama",
             make_config("llama", 64, 2, LINEAR), [Q.Q5_1]),
            ("qwen2-q8_0-untied", "qwen2",
             make_config("qwen2", 64, 2, tied=False), [Q.Q8_0]),
            ("qwen2-f16", "qwen2", make_config("qwen2", 32, 2), [Q.F16]),
            ("qwen3-q4_0-yarn", "qwen3",
             make_config("qwen3", 64, 2, YARN, head_dim=32), [Q.Q4_0]),
            ("qwen3-floats", "qwen3",
             make_config("qwen3", 32, 2, head_dim=16),
             [Q.BF16, Q.F32, Q.F16]),
            ("llama-k-quants", "llama",
             make_config("llama", 256, 1, heads=16, kv_heads=2),
             [Q.Q6_K, Q.Q4_K, Q.Q5_K])):
        # With the seed 9 an input lies so near to a half that the last bits of
        # float sums decide how it rounds.
        write_gguf(name, kind, config, formats,
                   seed=10 if name == "qwen2-f16" else len(name))
    write_safetensors("llama-f32-llama3", "llama",
                      make_config("llama", 32, 2, LLAMA3, ffn=48),
                      torch.float32, 1)
    write_safetensors("qwen2-bf16-sharded", "qwen2",
                      make_config("qwen2", 32, 2, LINEAR, tied=False, ffn=48),
                      torch.bfloat16, 2, shard="24KB")
    write_safetensors("qwen3-f16-yarn", "qwen3",
                      make_config("qwen3", 32, 2, YARN, head_dim=16, ffn=48),
                      torch.float16, 3)


if __name__ == "__main__":
    main()
