"""Servers under load: what the live measurements share.

Servers are started on free ports and always stopped; loads come from
build/release/bench/load_generator. Every run notes how much of the processors
others took meanwhile: a figure from a disturbed run is worth little.
"""
import contextlib
import gzip
import json
import math
import os
import pathlib
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from braid_server import MODEL, BraidServer, wait_until  # noqa: E402

GENERATOR = ROOT / "build/release/bench/load_generator"
TICKS = os.sysconf("SC_CLK_TCK")
RESULTS = ROOT / "bench/results"


class Braid(BraidServer):
    """with Braid("--split", "on") as server: ...

    Its one service class has the targets that the server has by default, unless
    flags name others."""
    name = "braid"

    def __init__(self, *flags):
        promised = ("--class", "interactive:ttft=2s,tpot=100ms")
        super().__init__(*(() if "--class" in flags else promised), *flags)

    def settle(self):
        """Waits until nothing of earlier loads is left."""
        self.wait_until_idle()


class LlamaServer:
    """llama-server out of `folder`, with these flags."""
    name = "llama-server"

    def __init__(self, folder, *flags):
        self.folder = pathlib.Path(folder).resolve()
        self.flags = [str(f) for f in flags]

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(self.folder / "llama-server"), "-m", str(MODEL), "--port", str(port),
             *self.flags], stdout=self.log, stderr=subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": str(self.folder)})
        try:
            wait_until(self._healthy, "llama-server", 120)
        except AssertionError:
            self.__exit__()
            raise
        return self

    def _healthy(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            sys.exit(f"llama-server ended at once:\n{self.log.read()[-3000:]}")
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(self.url + "/health", timeout=5).status == 200

    def settle(self):
        def idle():
            with urllib.request.urlopen(self.url + "/slots", timeout=30) as reply:
                return not any(slot["is_processing"] for slot in json.load(reply))
        wait_until(idle, "llama-server's slots to become free", 300)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()


def nan_for_null(value):
    """JSON has no NaN, which is what is known of a distribution of nothing."""
    if isinstance(value, dict):
        return {k: nan_for_null(v) for k, v in value.items()}
    return math.nan if value is None else value


def null_for_nan(value):
    if isinstance(value, dict):
        return {k: null_for_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [null_for_nan(v) for v in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None


def processor_seconds():
    """(spent, passed) on all processors; what was stolen is spent."""
    fields = [int(f) for f in open("/proc/stat").readline().split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / TICKS, sum(fields) / TICKS


def process_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Load:
    """A load under way. `flags` are load_generator's, underscores for dashes."""

    def __init__(self, server, records=True, **flags):
        self.server = server
        self.records_file = tempfile.NamedTemporaryFile(suffix=".jsonl") if records else None
        command = [str(GENERATOR), "--url", server.url]
        if self.records_file:
            command += ["--records", self.records_file.name]
        for name, value in flags.items():
            flag = "--" + name.replace("_", "-")
            command += [flag] if value is True else [flag, str(value)]
        self.command = command
        self.started = time.monotonic()
        self.own = process_seconds(server.process.pid)
        self.all = processor_seconds()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def finish(self, settle=True):
        """(summary, records)"""
        before = os.times().children_user + os.times().children_system
        out, err = self.process.communicate()
        if self.process.returncode:
            sys.exit(f"{shlex.join(self.command)}\nfailed: {err}")
        summary = nan_for_null(json.loads(out))
        sender = os.times().children_user + os.times().children_system - before
        wall = time.monotonic() - self.started
        own = process_seconds(self.server.process.pid) - self.own + sender
        summary["server_cpu"] = (process_seconds(self.server.process.pid) - self.own) / wall
        spent, passed = (now - then for now, then in zip(processor_seconds(), self.all))
        # A load without a request is over before the clock has moved.
        summary["taken_by_others"] = max(0.0, spent - own) / passed if passed else 0.0
        records = []
        if self.records_file:
            records = [json.loads(line) for line in self.records_file]
            self.records_file.close()
        if settle:
            self.server.settle()
        return summary, records

    def stop(self):
        """Ends it early, as finish() does; what it was sending is cancelled."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish()


def load(server, **flags):
    return Load(server, **flags).finish()


def unpack_trace(path, folder):
    """The trace as load_generator reads it."""
    path = pathlib.Path(path)
    if path.suffix != ".gz":
        return str(path)
    out = pathlib.Path(folder) / path.stem
    out.write_bytes(gzip.decompress(path.read_bytes()))
    return str(out)


def percentile(values, p):
    values = sorted(values)
    rank = p * (len(values) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (rank - low)


def spread(values):
    """Median, least and greatest: how a ratio of several rounds is quoted."""
    return {"median": statistics.median(values), "least": min(values),
            "greatest": max(values)}


def tpot(record):
    tokens = record["output_tokens"]
    return (record["last_token"] - record["first_token"]) / (tokens - 1)


class Report:
    """The claims of a measurement, and whether they held."""

    def __init__(self, title, command, what):
        self.title, self.command, self.what = title, command, what
        self.claims, self.tables, self.data = [], [], {}

    def claim(self, text, value, must, aim=None, at_least=True, unit=""):
        holds = lambda bar: value >= bar if at_least else value <= bar  # noqa: E731
        ok = not math.isnan(value) and holds(must)
        sign = ">=" if at_least else "<="
        self.claims.append({"claim": text, "value": value, "must": must, "aim": aim,
                            "at_least": at_least, "pass": ok,
                            "aim_reached": None if aim is None else ok and holds(aim)})
        line = f"{'pass' if ok else 'FAIL'}  {text}: {value:.4g}{unit} (must {sign} {must:g}"
        line += f", aim {sign} {aim:g})" if aim is not None else ")"
        print(line, flush=True)

    def table(self, title, rows):
        """rows: dicts with the same keys."""
        self.tables.append((title, rows))
        if not rows:
            return
        cells = [list(rows[0])] + [[_cell(v) for v in row.values()] for row in rows]
        widths = [max(len(str(r[i])) for r in cells) for i in range(len(cells[0]))]
        print(f"\n{title}")
        for row in cells:
            print("  " + "  ".join(str(c).rjust(w) for c, w in zip(row, widths)))
        print(flush=True)

    def write(self, out):
        out = pathlib.Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                                capture_output=True, text=True).stdout.strip()
        cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                    if "model name" in line), "?")
        machine = {"commit": commit, "processor": cpu, "cores": os.cpu_count(),
                   "command": self.command}
        out.with_suffix(".json").write_text(json.dumps(null_for_nan(
            {**machine, "claims": self.claims,
             "tables": {title: rows for title, rows in self.tables}, "data": self.data}),
            indent=1) + "\n")
        lines = [f"# {self.title}", "", self.what, "",
                 f"`{self.command}`, commit {commit}, {os.cpu_count()} cores of {cpu}.", "",
                 "| claim | figure | must | aim | |", "|---|---|---|---|---|"]
        for c in self.claims:
            sign = ">=" if c["at_least"] else "<="
            aim = "" if c["aim"] is None else f"{sign} {c['aim']:g}"
            lines.append(f"| {c['claim']} | {c['value']:.4g} | {sign} {c['must']:g} | {aim} | "
                         f"{'holds' if c['pass'] else '**missed**'} |")
        for title, rows in self.tables:
            if rows:
                lines += ["", f"{title}:", "", "| " + " | ".join(rows[0]) + " |",
                          "|" + "---|" * len(rows[0])]
                lines += ["| " + " | ".join(_cell(v) for v in row.values()) + " |"
                          for row in rows]
        out.with_suffix(".md").write_text("\n".join(lines) + "\n")
        print(f"written: {out.with_suffix('.json')}, {out.with_suffix('.md')}")

    def exit_code(self):
        return 0 if all(c["pass"] for c in self.claims) else 1


def _cell(value):
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
