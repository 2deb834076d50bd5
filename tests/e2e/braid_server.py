"""Runs the real binary for a test: started on free ports, always stopped."""
import os
import pathlib
import re
import select
import signal
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Taken out: the binary would wonder which of its flags that is.
BINARY = pathlib.Path(os.environ.pop("BRAID_BINARY", ROOT / "build/release/braid"))
START_SECONDS = 120  # sanitizer builds load slowly
MODEL = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache",
                     "braid/models/SmolLM2-135M-Instruct.Q4_1.gguf")


def run_braid(*args, env=None):
    """Runs the binary to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([BINARY, *args], capture_output=True, text=True,
                          env={**os.environ, **(env or {})}, timeout=START_SECONDS)
    return done.returncode, done.stdout, done.stderr


def wait_until(condition, what, seconds=30):
    """Asks again and again until `condition` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)
    return value


# A test's requests are to be answered, however slow the build and crowded the
# machine: refusals have a test of their own.
PATIENT = ("--class", "any:ttft=1440m,tpot=1m")


class BraidServer:
    """with BraidServer("--split", "on") as server: ... server.url

    Its one service class is patient, unless flags name others."""

    def __init__(self, *flags, env=None):
        self.flags = flags if "--class" in flags else (*PATIENT, *flags)
        self.env = {**os.environ, **(env or {})}

    def __enter__(self):
        self.process = subprocess.Popen(
            [BINARY, "serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
             *self.flags],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.env)
        self.output = ""
        self.url = "http://" + self._await(r"http://(127\.0\.0\.1:\d+)")
        self.grpc = self._await(r"grpc://(127\.0\.0\.1:\d+)")
        return self

    def _await(self, pattern):
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(pattern, self.output)):
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                self.process.kill()
                raise AssertionError(f"no {pattern} in what braid serve printed:\n{self.output}")
            self.output += data.decode()
        return found.group(1)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.stdout.close()
        self.process.wait()

    def rest_of_output(self):
        """What it printed until its end, after it has ended."""
        self.output += self.process.stdout.read().decode()
        return self.output

    def wait_until_idle(self):
        """Waits until no request holds a block; the blocks per pool and state."""
        def idle():
            pools = self.kv_blocks()
            held = sum(n for states in pools.values() for state, n in states.items()
                       if state not in ("free", "cached"))
            return pools if held == 0 else None
        return wait_until(idle, "only free and cached blocks")

    def terminate(self, seconds=60):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def metrics(self):
        """{name{labels}: value}"""
        with urllib.request.urlopen(self.url + "/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in lines if line and not line.startswith("#")}

    def kv_blocks(self):
        """{pool: {state: blocks}}"""
        pools = {}
        for key, value in self.metrics().items():
            if key.startswith("braid_kv_blocks{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', key))
                pools.setdefault(labels["pool"], {})[labels["state"]] = int(value)
        return pools
