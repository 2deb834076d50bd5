"""Logits and greedy text of the default model, by an independent implementation.

    python3 make_default_golden.py SmolLM2-135M-Instruct.Q4_1.gguf OUT

needs torch, transformers (5.23 was used), gguf and accelerate. transformers
loads the GGUF file, dequantises it, and computes in float32 on the CPU. All is
computed twice: as it is ("float"), and with the input of every linear layer
(the output head included) rounded to int8 in blocks of 32 columns, scale
amax / 127, half to even ("int8"), which is what Braid's fast kernels compute
with. Tests read the file through default_golden.h.

OUT, little-endian, no padding:

    char[8]  "BRDGOLD1"
    u32      T, tokens of the text (default_text.txt)
    u32      P, prompts
    u32      G, generated tokens per prompt
    i32[T]   token ids of the text
    twice, float then int8:
      i32[T][5]  best five ids after each token of the text, best first
      f32[T][5]  their log probabilities
      f32[T]     log probability of the text's next token (the last is 0)
    u32[P]   lengths of the prompts, then all their ids as i32
    twice, float then int8:
      i32[P][G]  greedy continuation, not stopped at end-of-turn tokens
      f32[P][G]  log probability of each token
      f32[P][G]  margin: best logit less the second best
"""

import pathlib
import struct
import sys

import numpy as np
import torch
import transformers

TOKENS = 2000
GENERATED = 64

QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain photosynthesis to a child.",
    "What is 17 times 23?",
    "Name three uses of a brick.",
    "Translate 'good morning' into Spanish.",
    "Why is the sky blue?",
    "Give me a recipe for pancakes.",
    "Who wrote Pride and Prejudice?",
    "How do vaccines work?",
    "Write a Python function that reverses a string.",
    "What should I pack for a week in Norway in winter?",
]
OPENINGS = [
    "Once upon a time there was a",
    "The quick brown fox",
    "In the beginning",
    "def fibonacci(n):\n    ",
    "int main(int argc, char** argv) {\n",
    "The three laws of thermodynamics are",
    "1, 1, 2, 3, 5, 8,",
    "Dear Sir or Madam,\n\n",
    "Water boils at",
    "SELECT name, age FROM",
    "The best way to learn a language is",
    "On Monday I went to the",
    "<html>\n<head>\n",
    "According to the report, inflation",
    "She opened the letter and",
    "To be, or not to be,",
    "La capitale de la France est",
    "The mitochondria is the",
    "import numpy as np\n",
    "Ingredients:\n-",
]


def load_model(gguf_path, attention):
    return transformers.AutoModelForCausalLM.from_pretrained(
        gguf_path.parent, gguf_file=gguf_path.name, dtype=torch.float32,
        attn_implementation=attention).eval()


def round_to_int8_blocks(x):
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    q = torch.where(scale > 0, torch.round(blocks / scale), blocks)
    return (q * scale).reshape(x.shape)


def text_part(model, ids):
    logprobs = torch.log_softmax(model(ids[None]).logits[0].double(), -1)
    top = logprobs.topk(5, dim=-1)
    following = torch.zeros(len(ids))
    following[:-1] = logprobs[torch.arange(len(ids) - 1), ids[1:]]
    return (top.indices.int().numpy().tobytes()
            + top.values.float().numpy().tobytes()
            + following.float().numpy().tobytes())


def greedy_part(model, prompts):
    """All prompts as one batch, padded on the left and masked there."""
    longest = max(len(p) for p in prompts)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p)
                         for p in prompts])
    step = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = transformers.DynamicCache()
    tokens, logprobs, margins = [], [], []
    for _ in range(GENERATED):
        logits = model(step, attention_mask=mask, position_ids=positions,
                       past_key_values=cache, use_cache=True,
                       logits_to_keep=1).logits[:, -1].double()
        best = logits.topk(2)
        tokens.append(best.indices[:, 0])
        margins.append(best.values[:, 0] - best.values[:, 1])
        logprobs.append(best.values[:, 0] - torch.logsumexp(logits, -1))
        step = best.indices[:, :1]
        mask = torch.cat([mask, torch.ones_like(step)], -1)
        positions = positions[:, -1:] + 1
    return (torch.stack(tokens, -1).int().numpy().tobytes()
            + torch.stack(logprobs, -1).float().numpy().tobytes()
            + torch.stack(margins, -1).float().numpy().tobytes())


def main():
    gguf_path, out_path = map(pathlib.Path, sys.argv[1:])
    model = load_model(gguf_path, "eager")
    # Its conversion of the tokenizer leaves out the smollm digit splitting;
    # put it back.
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        gguf_path.parent, gguf_file=gguf_path.name)
    from tokenizers import pre_tokenizers
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])

    def encode(text):
        return tokenizer.backend_tokenizer.encode(
            text, add_special_tokens=False).ids

    text = (pathlib.Path(__file__).parent / "default_text.txt").read_text()
    ids = encode(text)
    print("text:", len(ids), "tokens")
    ids = torch.tensor(ids[:TOKENS])
    prompts = [encode(tokenizer.apply_chat_template(
        [{"role": "user", "content": q}], tokenize=False,
        add_generation_prompt=True)) for q in QUESTIONS]
    prompts += [encode(text) for text in OPENINGS]

    def round_input(module, inputs):
        return (round_to_int8_blocks(inputs[0]),) + inputs[1:]

    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    text_parts, greedy_parts = [], []
    with torch.inference_mode():
        for rounded in (False, True):
            hooks = [m.register_forward_pre_hook(round_input)
                     for m in linears if rounded]
            name = "int8" if rounded else "float"
            text_parts.append(text_part(model, ids))
            print("text,", name, flush=True)
            greedy_parts.append(greedy_part(model, prompts))
            print("greedy,", name, flush=True)
            for hook in hooks:
                hook.remove()
    out = b"BRDGOLD1" + struct.pack("<3I", len(ids), len(prompts), GENERATED)
    out += ids.int().numpy().tobytes() + b"".join(text_parts)
    out += np.array([len(p) for p in prompts], np.uint32).tobytes()
    out += np.array(sum(prompts, []), np.int32).tobytes()
    out += b"".join(greedy_parts)
    out_path.write_bytes(out)


if __name__ == "__main__":
    main()
