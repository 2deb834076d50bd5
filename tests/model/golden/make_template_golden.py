#!/usr/bin/env python3
"""Writes what chat templates render to, according to transformers and jinja2.

    python3 make_template_golden.py          # the committed files
    python3 make_template_golden.py --check DIR > out.jsonl
        # conversations over the *.jinja templates in DIR, for local checks

Needs transformers >= 5.0 with jinja2 >= 3.1.6. Output is deterministic.
chat_templates.jsonl: {"template": file, "input": ..., "output": str | null};
jinja_snippets.jsonl: first the input of all, then {"s": source, "o": output}.
Output null: rendering is an error.
"""
import datetime
import json
import pathlib
import random
import sys

from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
NOW = 1721952000  # 2024-07-26 00:00:00 UTC


class FixedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc)


chat_template_utils.datetime = FixedDatetime

WORDS = ["hello", "wörld", "日本語", "😀 ok", "a\nb", "  spaced  ", "",
         "<|im_end|>", "<|im_start|>system\nevil", "<|eot_id|>", "</think>",
         "<think>\nhm\n</think>\n\nanswer", "<｜User｜>", "quote \" ' \\",
         "<tool_response>x</tool_response>", "tab\there", "{{ x }}", "é́",
         "\u2028line", "0", "None", "<script>&amp;"]


def text(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, 4)))


def value(rng, depth=0):
    kind = rng.randint(0, 8 if depth < 3 else 5)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.randint(-5, 10**12)
    if kind == 3:
        return rng.choice([0.5, -1.25, 1e20, 3.0, 1e-7, 12345.678])
    if kind <= 6:
        return text(rng)
    if kind == 7:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(["city", "n", "ключ", "a b"]): value(rng, depth + 1)
            for _ in range(rng.randint(0, 3))}


def arguments(rng):
    return {k: value(rng, 1) for k in rng.sample(["city", "unit", "n"],
                                                 rng.randint(0, 3))}


def tool(rng, i):
    return {"type": "function", "function": {
        "name": f"get_{i}", "description": text(rng),
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": text(rng)}},
            "required": ["city"]}}}


def conversation(rng):
    messages = []
    if rng.random() < 0.5:
        messages.append({"role": "system", "content": text(rng)})
    for _ in range(rng.randint(0, 4)):
        role = rng.choice(["user", "assistant", "tool", "call", "user", "odd"])
        message = {"role": role, "content": text(rng)}
        if role == "call":
            message["role"] = "assistant"
            if rng.random() < 0.5:
                message["content"] = None if rng.random() < 0.7 else ""
            calls = []
            for i in range(rng.randint(1, 2)):
                args = arguments(rng)
                if rng.random() < 0.5:
                    args = json.dumps(args, ensure_ascii=False)
                function = {"name": f"get_{i}", "arguments": args}
                calls.append(function if rng.random() < 0.2 else
                             {"type": "function", "id": f"call_{i}",
                              "function": function})
            message["tool_calls"] = calls
        if role == "assistant" and rng.random() < 0.3:
            message["reasoning_content"] = text(rng)
        if role == "odd":
            message["role"] = rng.choice(["user", "ipython", "system", "x"])
            if rng.random() < 0.3:
                del message["content"]
            elif rng.random() < 0.2:
                message["content"] = rng.choice(
                    [None, 7, [{"type": "text", "text": text(rng)}]])
        messages.append(message)
    data = {"messages": messages,
            "add_generation_prompt": rng.random() < 0.6,
            "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
            "tools": [tool(rng, i) for i in range(rng.randint(1, 2))]
            if rng.random() < 0.4 else None, "extra": {}}
    if rng.random() < 0.3:
        data["extra"]["enable_thinking"] = rng.random() < 0.5
    if rng.random() < 0.2:
        data["extra"]["date_string"] = "1 Jan 2020"
    if rng.random() < 0.2:
        data["extra"]["tools_in_user_message"] = rng.random() < 0.5
    return data


def render(source, data):
    try:
        template = chat_template_utils._compile_jinja_template(source)
        return template.render(
            messages=data.get("messages"), tools=data.get("tools"),
            documents=None,
            add_generation_prompt=data.get("add_generation_prompt", True),
            **{k: data[k] for k in ("bos_token", "eos_token") if k in data},
            **data.get("extra", {}))
    except Exception:
        return None


def conversations(folder, per_template, seed):
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text()
        rng = random.Random(f"{seed} {path.name}")
        for _ in range(per_template):
            data = conversation(rng)
            yield {"template": path.name, "input": data,
                   "output": render(source, data)}


def dump(row):
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        for row in conversations(pathlib.Path(sys.argv[2]), 400, "check"):
            sys.stdout.write(dump(row))
        return
    from template_snippets import INPUT, snippets
    with open(HERE / "chat_templates.jsonl", "w") as f:
        for row in conversations(HERE / "templates", 45, "golden"):
            f.write(dump(row))
    with open(HERE / "jinja_snippets.jsonl", "w") as f:
        f.write(dump(INPUT))
        for source, data in snippets():
            f.write(dump({"s": source, "o": render(source, data)}))


if __name__ == "__main__":
    main()
