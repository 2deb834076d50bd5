"""Classes, deadlines, tenants, refusals and timings of the real server, over
HTTP and gRPC."""
import json
import math
import unittest
import urllib.error
import urllib.request

import grpc

import grpc_test
from braid_server import BraidServer, wait_until

STAGES = ("queue_ms", "prefill_wait_ms", "prefill_ms", "transfer_ms", "decode_wait_ms",
          "decode_ms")


def setUpModule():
    global pb, pb_grpc
    pb, pb_grpc = grpc_test.load_stubs()


def post(url, body, headers=None):
    """(status, headers, body)"""
    request = urllib.request.Request(
        url + "/v1/completions", json.dumps(body).encode(),
        {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def get(url, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}),
                                timeout=60) as reply:
        return json.load(reply)


class Overload(unittest.TestCase):
    """One request runs, one may wait: the next is refused."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(BraidServer(
            "--kv-memory", "512MiB", "--max-running", "1",
            "--class", "gold:ttft=1440m,queue=1", "--class", "bulk:queue=1"))
        cls.channel = cls.enterClassContext(grpc.insecure_channel(cls.server.grpc))
        cls.stub = pb_grpc.InferenceStub(cls.channel)

    def occupy(self):
        self.streams = []
        def call():
            request = pb.GenerateRequest(text="Once", max_tokens=2000,
                                         sampling=pb.Sampling(ignore_eos=True))
            self.streams.append(self.stub.Generate(request, timeout=120))
            return self.streams[-1]
        next(call())
        call()
        wait_until(lambda: self.server.metrics()['braid_queued_requests{class="gold"}'] == 1,
                   "one waits")

    def tearDown(self):
        for stream in self.streams:
            stream.cancel()
        self.server.wait_until_idle()

    def test_http(self):
        self.occupy()
        for stream in (False, True):
            status, headers, body = post(
                self.server.url, {"prompt": "a", "stream": stream})
            self.assertEqual(status, 429, body)
            self.assertEqual(headers["Content-Type"], "application/json")
            self.assertEqual(int(headers["Retry-After"]),
                             math.ceil(int(headers["retry-after-ms"]) / 1e3))
            self.assertEqual(json.loads(body)["error"]["code"], "overloaded")
            status, headers, body = post(self.server.url, {"prompt": "a", "stream": stream},
                                         {"x-request-timeout-ms": "1"})
            self.assertIn(status, (429, 504), body)
        decisions = get(self.server.url + "/debug/decisions?limit=1000")["decisions"]
        refused = [d for d in decisions if d["kind"] == "refused"]
        self.assertTrue(refused)
        self.assertGreater(refused[-1]["retry_after_s"], 0)

    def test_grpc(self):
        self.occupy()
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.stub.Generate(pb.GenerateRequest(text="a", max_tokens=1), timeout=60))
        error = caught.exception
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        metadata = dict(error.trailing_metadata())
        self.assertGreater(int(metadata["retry-after-ms"]), 0)
        self.assertIn(b"type.googleapis.com/google.rpc.RetryInfo",
                      metadata["grpc-status-details-bin"])


class Terms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(BraidServer(
            "--kv-memory", "512MiB", "--api-key", "a=key-a", "--api-key", "b=key-b",
            "--class", "interactive:ttft=1440m", "--class", "batch:ttft=1440m"))
        cls.channel = cls.enterClassContext(grpc.insecure_channel(cls.server.grpc))
        cls.stub = pb_grpc.InferenceStub(cls.channel)

    def ask(self, key="key-a", headers=None, **body):
        body = {"prompt": "Once upon a time", "max_tokens": 8, "ignore_eos": True, **body}
        return post(self.server.url, body, {"x-api-key": key, **(headers or {})})

    def test_bad_terms(self):
        for headers in ({"x-request-class": "platinum"}, {"x-request-priority": "high"},
                        {"x-request-timeout-ms": "0"}, {"x-request-timing": "maybe"}):
            status, _, body = self.ask(headers=headers)
            self.assertEqual(status, 400, body)
        for field in ({"service_class": "platinum"}, {"priority": 101}, {"timeout_ms": -1}):
            self.assertEqual(self.ask(**field)[0], 400)
        for fields in ({"service_class": "platinum"}, {"priority": 101}):
            with self.assertRaises(grpc.RpcError) as caught:
                list(self.stub.Generate(
                    pb.GenerateRequest(text="a", **fields), timeout=60,
                    metadata=(("authorization", "Bearer key-a"),)))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_good_terms(self):
        for headers in ({"x-request-class": "batch"}, {"x-request-priority": "-7"},
                        {"x-request-timeout-ms": "60000"}):
            self.assertEqual(self.ask(headers=headers)[0], 200)
        metrics = self.server.metrics()
        self.assertGreaterEqual(metrics['braid_request_seconds_count{class="batch"}'], 1)

    def test_timings(self):
        status, _, body = self.ask(headers={"x-request-timing": "true"}, max_tokens=30)
        self.assertEqual(status, 200)
        timings = json.loads(body)["timings"]
        self.assertAlmostEqual(sum(timings[stage] for stage in STAGES), timings["total_ms"],
                               delta=0.01)
        self.assertIn(timings["placement"]["reason"], body)
        placed = [d for d in get(self.server.url + "/debug/decisions?limit=1000",
                                 {"x-api-key": "key-a"})["decisions"]
                  if d.get("request") == timings["request"] and d["kind"] == "placed"]
        self.assertTrue(placed)
        finished = list(self.stub.Generate(
            pb.GenerateRequest(text="Once", max_tokens=5), timeout=60,
            metadata=(("authorization", "Bearer key-b"),)))[-1].finished
        self.assertAlmostEqual(sum(getattr(finished.timings, stage) for stage in STAGES),
                               finished.timings.total_ms, places=3)
        self.assertTrue(finished.timings.placement_reason)

    def test_tenants_do_not_see_each_others_cache(self):
        def cached(key):
            _, _, body = self.ask(key=key, prompt="one two three four " * 20)
            return json.loads(body)["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.assertEqual(cached("key-a"), 0)
        self.assertGreater(cached("key-a"), 0)
        self.assertEqual(cached("key-b"), 0)
        self.assertEqual(self.ask(key="key-c")[0], 401)

    def test_scheduler_state(self):
        self.ask()
        state = get(self.server.url + "/debug/scheduler", {"x-api-key": "key-a"})
        self.assertEqual([c["class"] for c in state["classes"]], ["interactive", "batch"])
        self.assertTrue(any(model["observed"] for device in state["devices"]
                            for model in device["step_time_models"]))
        with self.assertRaises(urllib.error.HTTPError):
            get(self.server.url + "/debug/scheduler")


if __name__ == "__main__":
    unittest.main()
