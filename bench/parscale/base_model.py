"""The frozen base model of an adapter, read from its GGUF file.

Weights come out as float32 NumPy arrays under their Hugging Face names and in
Hugging Face order: a Llama GGUF file holds the rows of q and k permuted for
interleaved rotation, which is undone here, so that a rotation pairs dimensions
(i, i + head_dim/2). Prefix keys trained on these weights have the same layout.
"""
import hashlib
import pathlib

import gguf
import numpy as np

DEFAULT = (pathlib.Path.home() /
           ".cache/braid/models/SmolLM2-135M-Instruct.Q4_1.gguf")

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def halves_from_interleaved(weight, heads):
    rows, columns = weight.shape
    return (weight.reshape(heads, rows // heads // 2, 2, columns)
            .swapaxes(1, 2).reshape(rows, columns))


def hugging_face_name(name):
    stem, _, kind = name.rpartition(".")
    if stem.startswith("blk."):
        _, layer, stem = stem.split(".")
        return f"model.layers.{layer}.{LAYER_NAMES[stem]}.{kind}"
    return f"{OUTER_NAMES[stem]}.{kind}"


def load(path=DEFAULT):
    """(config, weights) of a Llama GGUF file."""
    reader = gguf.GGUFReader(path)

    def field(name):
        return reader.get_field(name).contents()

    assert field("general.architecture") == "llama", "a Llama file is needed"
    heads = field("llama.attention.head_count")
    kv_heads = field("llama.attention.head_count_kv")
    config = {
        "hidden_size": field("llama.embedding_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": field("llama.embedding_length") // heads,
        "rms_norm_eps": field("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": field("llama.rope.freq_base"),
    }
    weights = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        weight = np.array(weight, dtype=np.float32)  # ours, not the file
        if ".attn_q." in tensor.name:
            weight = halves_from_interleaved(weight, heads)
        if ".attn_k." in tensor.name:
            weight = halves_from_interleaved(weight, kv_heads)
        weights[hugging_face_name(tensor.name)] = weight
    return config, weights


def tokenizer(path=DEFAULT):
    """As the daemon splits text; transformers alone loses the digits' rule."""
    import tokenizers
    import transformers
    path = pathlib.Path(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name)
    kind = gguf.GGUFReader(path).get_field("tokenizer.ggml.pre").contents()
    assert kind == "smollm", f"how does {kind} split text?"
    split = tokenizers.pre_tokenizers
    tokenizer.backend_tokenizer.pre_tokenizer = split.Sequence(
        [split.Digits(individual_digits=True),
         split.ByteLevel(add_prefix_space=False)])
    return tokenizer
