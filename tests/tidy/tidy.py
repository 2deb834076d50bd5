#!/usr/bin/env python3
"""Checks of the tree's structure that can be made exactly.

  tests/tidy/tidy.py [ROOT]

Prints one line per finding and exits 1 when there is any:
  - an include that is no arrow of ARCHITECTURE.md's table of rooms
  - a generated protobuf header outside server/
  - a sleep, a wall clock or an unseeded random source outside base/ and server/
  - a source file that no CMake file names
  - a file named after no concern: util, helper, manager, common, misc
  - a marker of unfinished work
"""
import pathlib
import re
import sys

BASE = {"base"}
KVCACHE = BASE | {"kvcache"}
MODEL = KVCACHE | {"model"}
ENGINE = MODEL | {"kvcache/transport", "scheduler", "engine"}
ARROWS = {
    "base": BASE,
    "kvcache": KVCACHE,
    "kvcache/transport": KVCACHE | {"kvcache/transport"},
    "scheduler": KVCACHE | {"scheduler"},
    "model": MODEL,
    "cpu": MODEL | {"cpu"},
    "engine": ENGINE,
    "simulator": ENGINE | {"simulator"},
    "server": ENGINE | {"server", "simulator"},  # cpu only in backend_factory_cpu.cc
}
ROOMS = sorted(ARROWS, key=len, reverse=True)
NONDETERMINISM = re.compile(
    r"sleep_for|sleep_until|\busleep\(|\bnanosleep\(|system_clock|\brand\(|"
    r"random_device|\btime\(nullptr\)|gettimeofday")
NAMELESS = re.compile(r"(^|_)(utils?|helpers?|manager|common|misc)(_|$)")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")


def room_of(path):
    return next((r for r in ROOMS if path == r or path.startswith(r + "/")), None)


def check_file(path, text, cmake, findings):
    room = room_of(path)
    name = pathlib.PurePath(path).stem
    if NAMELESS.search(name):
        findings.append(f"{path}: name it after its concern")
    if path.endswith(".cc") and pathlib.PurePath(path).name not in cmake:
        findings.append(f"{path}: in no CMake target")
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        if UNFINISHED.search(line):
            findings.append(f"{where}: unfinished work")
        include = re.match(r'\s*#include "([^"]+)"', line)
        if include and room:
            target = include.group(1)
            if target.endswith(".pb.h"):
                if room != "server":
                    findings.append(f"{where}: protobuf stops in server/")
                continue
            if target.startswith("absl/"):
                continue
            other = room_of(target)
            factory = path == "server/backend_factory_cpu.cc" and other == "cpu"
            if other not in ARROWS[room] and not factory:
                findings.append(f"{where}: {room}/ may not include {target}")
        if room not in (None, "base", "server") and NONDETERMINISM.search(line):
            findings.append(f"{where}: time and chance are arguments here")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    cmake = "\n".join(
        p.read_text() for pattern in ("CMakeLists.txt", "*.cmake")
        for p in root.rglob(pattern) if "build" not in p.relative_to(root).parts)
    findings, files = [], 0
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if relative.parts[0] in ("build", ".git") or path.suffix not in (
                ".h", ".cc", ".proto", ".py", ".sh"):
            continue
        files += 1
        check_file(relative.as_posix(), path.read_text(), cmake, findings)
    for finding in findings:
        print(finding)
    print(f"{files} files, {len(findings)} findings")
    return 1 if findings or not files else 0


if __name__ == "__main__":
    sys.exit(main())
