#!/usr/bin/env python3
"""The text that an adapter is trained and judged on, as token ids.

    bench/parscale/text.py --out tokens.npz --news lee_background.cor

Everything comes with installed packages. Whole packages are held out, because
the files of one package resemble each other. Parts:
  train_python, train_english   training
  dev_python, dev_english       watched while training; may be tuned on
  test_python, test_english, test_news   judged at the end, never tuned on

test_news is ordinary prose: 300 news articles that the gensim wheel carries
(gensim/test/test_data/lee_background.cor).

Beside the tokens a list of all files with their sha256 is written (.files);
its own sha256 stands in the results and names the corpus exactly.
"""
import argparse
import hashlib
import pathlib
import random
import site
import sys
import sysconfig

import numpy as np

import base_model

SEED = 5
PACKAGE_BYTES = 1 << 20  # of one package at most, so that none dominates
FILE_BYTES = 40_000      # of one file at most

TEST_PACKAGES = {"networkx", "fontTools", "rich", "PIL", "jinja2", "anyio",
                 "httpx2", "httpcore2"}
DEV_PACKAGES = {"mpmath", "requests", "h11", "click", "dateutil"}
SKIPPED_PARTS = {"_vendor", "vendor", "__pycache__", "lib2to3", "test",
                 "tests", "idlelib", "encodings", "unicode", "turtledemo",
                 "site-packages", "config-3.11-x86_64-linux-gnu",
                 "_sitebuiltins", "pydoc_data"}

ENGLISH_TRAIN = [("/usr/share/doc/nodejs", "*.md"),
                 ("/usr/share/cmake-3.25/Help", "*.rst")]
ENGLISH_DEV = [("/usr/lib/node_modules/npm/docs", "*.md")]
ENGLISH_TEST = [("/usr/share/vim/vim90/doc", "usr_*.txt")]

def readable(path):
    """The text of a source worth learning from, or None."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.splitlines()
    if len(text) < 1500 or len(text) / max(1, len(lines)) > 90:
        return None  # a stub, or a table
    letters = sum(c.isalpha() or c.isspace() for c in text) / len(text)
    return text[:FILE_BYTES] if letters > 0.7 else None

def python_files(roots):
    """(package, path) of every Python source."""
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).parts
            if SKIPPED_PARTS.isdisjoint(parts[:-1]):
                yield parts[0].removesuffix(".py"), path

def part_of(package):
    if package in TEST_PACKAGES:
        return "test_python"
    return "dev_python" if package in DEV_PACKAGES else "train_python"

def capped(files, seed):
    """A random choice of the files of one package, PACKAGE_BYTES of text."""
    files, chosen, total = list(files), [], 0
    random.Random(seed).shuffle(files)
    for path in files:
        text = readable(path)
        if text is not None and total + len(text) <= PACKAGE_BYTES:
            total += len(text)
            chosen.append((path, text))
    return chosen

def collect(roots, news):
    """part -> [(path, text)], no text twice."""
    packages = {}
    for package, path in python_files(roots):
        packages.setdefault(package, []).append(path)
    parts, seen = {}, set()

    def add(part, items):
        for path, text in items:
            digest = hashlib.sha256(text.encode()).hexdigest()
            if digest not in seen:
                seen.add(digest)
                parts.setdefault(part, []).append((path, text))

    # What is judged goes in first: a copy elsewhere is then not trained on.
    for part in ("test_python", "dev_python", "train_python"):
        for package in sorted(packages):
            if part_of(package) == part:
                add(part, capped(packages[package], f"{SEED} {package}"))
    for part, folders in (("test_english", ENGLISH_TEST),
                          ("dev_english", ENGLISH_DEV),
                          ("train_english", ENGLISH_TRAIN)):
        for folder, pattern in folders:
            add(part, capped(sorted(pathlib.Path(folder).rglob(pattern)),
                             f"{SEED} {folder}"))
    if news:
        add("test_news", [(news, news.read_text(encoding="utf-8"))])
    return parts

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--model", default=base_model.DEFAULT)
    parser.add_argument("--news", type=pathlib.Path)
    arguments = parser.parse_args()
    library = pathlib.Path(sysconfig.get_path("stdlib", vars={
        "installed_base": sys.base_prefix}))
    parts = collect([pathlib.Path(site.getsitepackages()[0]), library],
                    arguments.news)
    encode = base_model.tokenizer(arguments.model)
    arrays, listed = {}, []
    for part, items in sorted(parts.items()):
        documents = [np.array(
            encode(text, add_special_tokens=False, verbose=False)["input_ids"],
            dtype=np.uint16) for _, text in items]
        arrays[part] = np.concatenate(documents)
        arrays[part + "_ends"] = np.cumsum([len(d) for d in documents])
        listed += [f"{hashlib.sha256(text.encode()).hexdigest()} {part} {path}"
                   for path, text in items]
        print(f"{part}: {len(items)} files, {len(arrays[part])} tokens")
    listing = "\n".join(sorted(listed)) + "\n"
    arguments.out.with_suffix(".files").write_text(listing)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    np.savez(arguments.out, files_sha256=digest, **arrays)
    print(f"files: sha256 {digest}")

if __name__ == "__main__":
    main()
