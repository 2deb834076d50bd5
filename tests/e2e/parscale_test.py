"""PARSCALE on the real binary, with an adapter of random numbers: what is asked,
refused and told, over HTTP and gRPC; and that an answer depends on how many
streams answered each of its tokens, and on nothing else."""
import concurrent.futures
import json
import pathlib
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

import grpc

import grpc_test
import random_adapter
from braid_server import BINARY, MODEL, BraidServer, run_braid

PROMPTS = ["Once upon a time", "def add(a, b):\n", "List three colours. " * 20]
ROWS = 'braid_parscale_rows_total{outcome="%s"}'


def setUpModule():
    global pb, pb_grpc, ADAPTER
    pb, pb_grpc = grpc_test.load_stubs()
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    ADAPTER = str(pathlib.Path(folder.name, "random.safetensors"))
    random_adapter.write(ADAPTER)


def post(server, body, path="/v1/completions"):
    """(status, document)"""
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def ask(server, prompt, seed=0, tokens=12, **parscale):
    body = {"prompt": prompt, "seed": seed, "temperature": 0.9 if seed else 0,
            "max_tokens": tokens, "logprobs": 1, "ignore_eos": True}
    if parscale:
        body["parscale"] = {**parscale, "per_token": True}
    status, answer = post(server, body)
    assert status == 200, answer
    return answer


def choice(answer):
    return answer["choices"][0]


def requests():
    """What is asked of every server: (prompt, seed, streams)."""
    return [(prompt, seed, streams) for streams in (1, 2, 4)
            for seed, prompt in enumerate(PROMPTS)]


def fixed(server, prompt, seed, streams):
    answer = ask(server, prompt, seed, mode="fixed", max=streams)
    assert choice(answer)["parscale_streams"] == [streams] * 12, answer
    assert answer["usage"]["parscale"] == {"mean": streams}, answer
    return choice(answer)["text"], choice(answer)["logprobs"]


class SameAnswers(unittest.TestCase):
    """Bits of the number of streams, and of nothing else."""

    def test_fixed_is_fixed_and_off_is_the_plain_model(self):
        with BraidServer("--kv-memory", "512MiB") as server:
            plain = [choice(ask(server, prompt, seed))
                     for seed, prompt in enumerate(PROMPTS)]
        expected = None
        for flags in (("--split", "off"), ("--split", "auto"),
                      ("--split", "on", "--kv-transport", "copy"),
                      ("--split", "on", "--no-prefix-cache", "--prefill-chunk", "48")):
            with self.subTest(flags=flags), \
                    BraidServer("--kv-memory", "768MiB", "--parscale", ADAPTER,
                                "--parscale-mode", "auto", *flags) as server, \
                    concurrent.futures.ThreadPoolExecutor(8) as pool:
                alone = [fixed(server, *request) for request in requests()]
                expected = expected or alone
                self.assertEqual(alone, expected)
                for seed, prompt in enumerate(PROMPTS):
                    off = choice(ask(server, prompt, seed, mode="off"))
                    self.assertEqual((off["text"], off["logprobs"]),
                                     (plain[seed]["text"], plain[seed]["logprobs"]))
                # One stream is the plain model, and more of them are another.
                self.assertEqual(alone[0][0], plain[0]["text"])
                self.assertEqual(len({text for text, _ in alone[0::3]}), 3)
                # Among others, whose streams come and go.
                crowd = [pool.submit(fixed, server, *request) for request in requests()]
                others = [pool.submit(ask, server, PROMPTS[i % 3], 7 + i, 30) for i in range(6)]
                self.assertEqual([each.result() for each in crowd], expected)
                for other in others:
                    self.assertGreaterEqual(other.result()["usage"]["parscale"]["mean"], 1)
                server.wait_until_idle()
                self.assertEqual(server.metrics()["braid_parscale_streams"], 0)
                self.assertEqual(server.metrics()["braid_parscale_kv_blocks"], 0)


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(
            BraidServer("--kv-memory", "768MiB", "--parscale", ADAPTER))
        cls.channel = cls.enterClassContext(grpc.insecure_channel(cls.server.grpc))
        cls.stub = pb_grpc.InferenceStub(cls.channel)

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server has ended")

    def generate(self, tokens, parscale=None, text=None, ids=None):
        """(ids, streams of each, mean)"""
        request = pb.GenerateRequest(
            max_tokens=tokens, sampling=pb.Sampling(temperature=0, ignore_eos=True),
            parscale=parscale)
        if text is not None:
            request.text = text
        else:
            request.tokens.ids.extend(ids)
        replies = list(self.stub.Generate(request, timeout=120))
        drawn = [token for reply in replies for token in reply.tokens]
        finished = replies[-1].finished
        mean = finished.parscale.mean if finished.HasField("parscale") else None
        return ([t.id for t in drawn],
                [t.parscale_streams if t.HasField("parscale_streams") else None
                 for t in drawn], mean)

    def test_auto_replays(self):
        """Each token of an answer is that of so many streams from the start."""
        auto = pb.Parscale(mode=pb.PARSCALE_MODE_AUTO, per_token=True)
        self.generate(64, auto, text=PROMPTS[1])  # The cost of rows is learned.
        prompt = post(self.server, {"prompt": PROMPTS[0]}, "/tokenize")[1]["tokens"]
        before = self.server.metrics()
        for _ in range(10):  # Others may keep the machine too busy for streams.
            ids, streams, mean = self.generate(96, auto, ids=prompt)
            self.assertAlmostEqual(mean, sum(streams) / len(streams), 6)
            if max(streams) > 1:
                break
        self.assertGreater(max(streams), 1, streams)
        after = self.server.metrics()
        for outcome in ("offered", "filled", "caught_up"):
            self.assertGreater(after[ROWS % outcome], before[ROWS % outcome], outcome)
        self.assertGreater(after["braid_parscale_gain_nats_total"],
                           before["braid_parscale_gain_nats_total"])
        for i, p in list(enumerate(streams))[::4]:
            again, by, _ = self.generate(
                1, pb.Parscale(mode=pb.PARSCALE_MODE_FIXED, max=p, per_token=True),
                ids=prompt + ids[:i])
            self.assertEqual((again, by), ([ids[i]], [p]), f"token {i}")

    def test_grpc_tells_what_is_asked(self):
        ids, streams, mean = self.generate(
            6, pb.Parscale(mode=pb.PARSCALE_MODE_FIXED, max=3, per_token=True),
            text=PROMPTS[0])
        self.assertEqual((streams, mean), ([3] * 6, 3))
        again, streams, mean = self.generate(
            6, pb.Parscale(mode=pb.PARSCALE_MODE_FIXED, max=3), text=PROMPTS[0])
        self.assertEqual((again, streams, mean), (ids, [None] * 6, 3))
        # The server's default is off.
        _, streams, mean = self.generate(6, text=PROMPTS[0])
        self.assertEqual((streams, mean), ([None] * 6, None))
        info = self.stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=60)
        self.assertEqual(info.max_parscale_streams, 4)

    def test_grpc_refuses(self):
        for parscale, named in (
                (pb.Parscale(mode=pb.PARSCALE_MODE_FIXED, max=5), "parscale.max"),
                (pb.Parscale(mode=pb.PARSCALE_MODE_AUTO, min=3, max=2), "parscale.min"),
                (pb.Parscale(mode=pb.PARSCALE_MODE_AUTO, max=0), "parscale.max"),
                (pb.Parscale(max=2), "parscale.mode"), (pb.Parscale(mode=9), "mode number 9")):
            with self.assertRaises(grpc.RpcError) as caught:
                self.generate(4, parscale, text=PROMPTS[0])
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(named, caught.exception.details())

    def test_http_refuses(self):
        for parscale, named in (({"mode": "fixed", "max": 5}, "between 1 and 4, not 5"),
                                ({"mode": "auto", "min": 3, "max": 2}, "parscale.min"),
                                ({"mode": "auto", "most": 2}, "parscale.most"),
                                ({"max": 2}, "parscale.mode"), ([], "must be an object")):
            status, answer = post(self.server, {"prompt": "x", "parscale": parscale})
            self.assertEqual(status, 400, answer)
            self.assertIn(named, answer["error"]["message"])

    def test_streamed_chat_tells_its_tokens(self):
        body = {"messages": [{"role": "user", "content": "Count to ten."}], "stream": True,
                "stream_options": {"include_usage": True}, "max_tokens": 20,
                "ignore_eos": True, "parscale": {"mode": "auto", "min": 2, "per_token": True}}
        request = urllib.request.Request(self.server.url + "/v1/chat/completions",
                                         json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        streams, usage = [], None
        with urllib.request.urlopen(request, timeout=120) as reply:
            for line in reply.read().decode().splitlines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[6:])
                usage = chunk["usage"] or usage
                for each in chunk["choices"]:
                    streams += each.get("parscale_streams", [])
        self.assertEqual(len(streams), 20)
        self.assertAlmostEqual(usage["parscale"]["mean"], sum(streams) / 20, 4)

    def test_who_leaves_holds_nothing(self):
        for mode in (pb.PARSCALE_MODE_AUTO, pb.PARSCALE_MODE_FIXED):
            calls = []
            for text in PROMPTS:
                calls.append(self.stub.Generate(pb.GenerateRequest(
                    text=text, max_tokens=1500, sampling=pb.Sampling(ignore_eos=True),
                    parscale=pb.Parscale(mode=mode)), timeout=1200))
            for call in calls:
                for _ in range(6):
                    next(call)
            for call in calls:
                call.cancel()
            self.server.wait_until_idle()
            self.assertEqual(self.server.metrics()["braid_parscale_streams"], 0)

    def test_the_server_tells_what_it_has(self):
        with urllib.request.urlopen(self.server.url + "/v1/models", timeout=30) as reply:
            self.assertEqual(json.load(reply)["data"][0]["parscale"],
                             {"mode": "off", "max": 4})
        with urllib.request.urlopen(self.server.url + "/debug/scheduler", timeout=30) as reply:
            state = json.load(reply)
        self.assertIn("rows_offered", state["streams"])
        self.assertTrue(all("streams_active" in device for device in state["devices"]))


class Start(unittest.TestCase):
    def test_without_weights(self):
        with BraidServer("--kv-memory", "512MiB") as server:
            for mode in ("auto", "fixed"):
                status, answer = post(server, {"prompt": "x", "parscale": {"mode": mode}})
                self.assertEqual(status, 400)
                self.assertIn("--parscale FILE", answer["error"]["message"])
            self.assertEqual(ask(server, "x", mode="off")["usage"]["parscale"], {"mean": 1})
        code, _, errors = run_braid("serve", "--http", "127.0.0.1:0", "--grpc",
                                    "127.0.0.1:0", "--parscale-mode", "auto")
        self.assertEqual(code, 2)
        self.assertIn("--parscale FILE", errors)

    def test_an_adapter_for_another_model(self):
        data = pathlib.Path(ADAPTER).read_bytes()
        at = data.index(b'"base_sha256": "') + len(b'"base_sha256": "')
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as other:
            other.write(data[:at] + b"0" * 64 + data[at + 64:])
            other.flush()
            code, _, errors = run_braid("serve", "--http", "127.0.0.1:0", "--grpc",
                                        "127.0.0.1:0", "--parscale", other.name)
        self.assertEqual(code, 2)
        self.assertIn("--parscale", errors)
        self.assertIn("0" * 64, errors)
        self.assertEqual(len(errors.splitlines()), 1, errors)

    def test_config(self):
        code, text, _ = run_braid("serve", "--parscale", "a b.safetensors", "--parscale-max",
                                  "3", "--print-config", env={"BRAID_PARSCALE_MODE": "fixed"})
        self.assertEqual(code, 0)
        for line in ('parscale="a b.safetensors"', 'parscale-mode="fixed"', "parscale-max=3"):
            self.assertIn(line, text.splitlines())


class Eval(unittest.TestCase):
    def test_figures_of_a_text(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as text:
            text.write(" ".join(f"Line {i}: the sky is blue." for i in range(40)))
            text.flush()
            done = subprocess.run(
                [BINARY, "parscale", "eval", "--model", MODEL, "--parscale", ADAPTER, "--text",
                 text.name, "--context", "96", "--windows", "2"],
                capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("window 2 of 2", done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual([row["streams"] for row in found["nll"]], [1, 2, 3, 4])
        self.assertEqual(found["tokens"], 192)
        # Random prefixes help nobody.
        self.assertLess(found["nll"][0]["mean"], found["nll"][3]["mean"])


if __name__ == "__main__":
    unittest.main()
