"""The gRPC services with Python's own client; its stubs are made on the spot."""
import importlib
import pathlib
import signal
import sys
import tempfile
import threading
import unittest

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)
from grpc_tools import protoc

from braid_server import ROOT, BraidServer, wait_until

SERVICE = "braid.v1.Inference"
STORY = "Once upon a time there was a"


def load_stubs():
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    code = protoc.main(["", f"--proto_path={ROOT / 'proto'}",
                        f"--python_out={folder.name}", f"--grpc_python_out={folder.name}",
                        str(pathlib.Path("braid/v1/inference.proto"))])
    if code:
        raise AssertionError("protoc failed")
    sys.path.insert(0, folder.name)
    return (importlib.import_module("braid.v1.inference_pb2"),
            importlib.import_module("braid.v1.inference_pb2_grpc"))


def setUpModule():
    global pb, pb_grpc
    pb, pb_grpc = load_stubs()


class GrpcTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(BraidServer("--kv-memory", "512MiB"))
        cls.channel = cls.enterClassContext(grpc.insecure_channel(cls.server.grpc))
        cls.stub = pb_grpc.InferenceStub(cls.channel)

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server has ended")

    def generate(self, **fields):
        fields.setdefault("max_tokens", 24)
        fields.setdefault("sampling", pb.Sampling(temperature=0))
        return list(self.stub.Generate(pb.GenerateRequest(**fields), timeout=60))

    def refused(self, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            self.generate(**fields)
        return caught.exception.code(), caught.exception.details()


def text_of(replies):
    return "".join(reply.text for reply in replies)


def ids_of(replies):
    return [token.id for reply in replies for token in reply.tokens]


class Generate(GrpcTest):
    def test_text(self):
        replies = self.generate(text="The capital of France is")
        self.assertTrue(text_of(replies).startswith(" Paris"), text_of(replies))
        self.assertEqual([r.HasField("finished") for r in replies],
                         [False] * (len(replies) - 1) + [True])
        finished = replies[-1].finished
        self.assertEqual(finished.reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual((finished.prompt_tokens, finished.output_tokens), (5, 24))
        self.assertEqual(len(ids_of(replies)), 24)
        self.assertFalse(any(t.HasField("logprob") for r in replies for t in r.tokens))

    def test_it_streams(self):
        self.assertGreater(len(self.generate(text=STORY, max_tokens=60)), 5)

    def test_chat_and_token_ids(self):
        chat = pb.ChatMessages(messages=[
            pb.ChatMessage(role="user", content="Why is the sky blue?")])
        replies = self.generate(chat=chat)
        self.assertIn("sky", text_of(replies))
        prompt = pb.TokenIds(ids=ids_of(self.generate(text=STORY)))
        self.assertEqual(ids_of(self.generate(tokens=prompt)),
                         ids_of(self.generate(tokens=prompt)))

    def test_logprobs(self):
        replies = self.generate(text=STORY, top_logprobs=2, max_tokens=6)
        for token in (t for r in replies for t in r.tokens):
            self.assertEqual(len(token.top), 2)
            self.assertEqual((token.top[0].id, token.top[0].logprob),
                             (token.id, token.logprob))

    def test_stop(self):
        whole = text_of(self.generate(text=STORY, max_tokens=40))
        stop = whole[20:26]
        replies = self.generate(text=STORY, max_tokens=40, stop=["never", stop])
        self.assertEqual(text_of(replies), whole[:whole.index(stop)])
        self.assertEqual(replies[-1].finished.reason, pb.FINISH_REASON_STOP)
        self.assertEqual(replies[-1].finished.matched_stop, stop)
        kept = self.generate(text=STORY, max_tokens=40, stop=[stop],
                             include_stop_in_text=True)
        self.assertEqual(text_of(kept), whole[:whole.index(stop)] + stop)

    def test_seeds(self):
        def sampled(seed):
            return text_of(self.generate(
                text=STORY, sampling=pb.Sampling(temperature=1, seed=seed)))
        self.assertEqual(sampled(1), sampled(1))
        self.assertNotEqual(sampled(1), sampled(2))

    def test_model_info(self):
        info = self.stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=60)
        self.assertEqual((info.model, info.max_context, info.vocabulary),
                         ("SmolLM2-135M-Instruct.Q4_1", 8192, 49152))


class Endings(GrpcTest):
    def test_invalid_arguments(self):
        for fields, named in (
                ({}, "input"), ({"text": ""}, "prompt"),
                ({"text": STORY, "max_tokens": 0}, "max_tokens"),
                ({"text": STORY, "sampling": pb.Sampling(temperature=3)}, "temperature"),
                ({"text": STORY, "sampling": pb.Sampling(temperature=float("nan"))},
                 "temperature"),
                ({"text": STORY, "top_logprobs": 21}, "top_logprobs"),
                ({"text": STORY, "stop": [""]}, "stop"),
                ({"tokens": pb.TokenIds(ids=[-1])}, "tokens.ids"),
                ({"tokens": pb.TokenIds(ids=[1] * 9000)}, "9000"),
                ({"text": STORY, "max_tokens": 9000}, "9000"),
                ({"chat": pb.ChatMessages()}, "chat.messages"),
                ({"chat": pb.ChatMessages(messages=[pb.ChatMessage(content="Hi")])},
                 "chat.messages[0].role"),
                ({"text": STORY, "max_tokens": 3, "sampling": pb.Sampling(min_tokens=4)},
                 "sampling.min_tokens")):
            code, message = self.refused(**fields)
            self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT, message)
            self.assertIn(named, message)

    def test_unknown_model(self):
        code, message = self.refused(text=STORY, model="gpt-7")
        self.assertEqual(code, grpc.StatusCode.NOT_FOUND)
        self.assertIn("gpt-7", message)

    def test_too_large(self):
        code, _ = self.refused(text="x" * (9 << 20))
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)

    def long_call(self, **options):
        return self.stub.Generate(
            pb.GenerateRequest(text=STORY, max_tokens=8000,
                               sampling=pb.Sampling(temperature=0, ignore_eos=True)),
            **options)

    def ends_as(self, outcome):
        key = f'braid_requests_total{{outcome="{outcome}"}}'
        before = self.server.metrics()[key]
        def happened():
            return self.server.metrics()[key] == before + 1
        return lambda: (wait_until(happened, key), self.server.wait_until_idle())

    def test_cancel(self):
        ended = self.ends_as("cancelled")
        call = self.long_call()
        next(call)
        call.cancel()
        ended()
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)

    def test_a_channel_that_goes_cancels(self):
        ended = self.ends_as("cancelled")
        with grpc.insecure_channel(self.server.grpc) as channel:
            call = pb_grpc.InferenceStub(channel).Generate(pb.GenerateRequest(
                text=STORY, max_tokens=8000, sampling=pb.Sampling(ignore_eos=True)))
            next(call)
        ended()

    def test_deadline(self):
        before = self.server.metrics()
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.long_call(timeout=0.5))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        def ended():  # whichever comes first: the engine's clock or gRPC's
            after = self.server.metrics()
            return any(after[key] > before[key] for key in
                       ('braid_requests_total{outcome="deadline"}',
                        'braid_requests_total{outcome="cancelled"}'))
        wait_until(ended, "the end of the request")
        self.server.wait_until_idle()


class OtherServices(GrpcTest):
    def test_health(self):
        stub = health_pb2_grpc.HealthStub(self.channel)
        for service in ("", SERVICE):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            self.assertEqual(reply.status, health_pb2.HealthCheckResponse.SERVING)
        with self.assertRaises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=60)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_reflection(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.assertIn(SERVICE, database.get_services())
        file = database.FindFileContainingSymbol(SERVICE)
        self.assertEqual([m.name for m in file.service[0].method],
                         ["Generate", "GetModelInfo"])


class Drain(unittest.TestCase):
    def watch(self, channel):
        """The health of the service, as it is told."""
        seen = []
        def run():
            try:
                for reply in health_pb2_grpc.HealthStub(channel).Watch(
                        health_pb2.HealthCheckRequest(service=SERVICE)):
                    seen.append(reply.status)
            except grpc.RpcError:
                pass
        threading.Thread(target=run, daemon=True).start()
        wait_until(lambda: seen, "the first status")
        return seen

    def test_calls_finish_and_watchers_know(self):
        health = health_pb2.HealthCheckResponse
        with BraidServer("--kv-memory", "256MiB", "--drain-timeout", "240") as server, \
                grpc.insecure_channel(server.grpc) as channel:
            stub = pb_grpc.InferenceStub(channel)
            request = pb.GenerateRequest(text=STORY, max_tokens=300, sampling=pb.Sampling(
                temperature=0, ignore_eos=True))
            seen = self.watch(channel)
            self.assertEqual(seen, [health.SERVING])
            call = stub.Generate(request)
            first = next(call)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: seen == [health.SERVING, health.NOT_SERVING], "drain", 5)
            with self.assertRaises(grpc.RpcError) as caught:
                list(stub.Generate(request))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            replies = [first, *call]
            self.assertEqual(len(ids_of(replies)), 300)
            self.assertEqual(replies[-1].finished.reason, pb.FINISH_REASON_LENGTH)
            # A watcher, which never ends by itself, does not hold it up.
            self.assertEqual(server.process.wait(3), 0)

    def test_when_its_time_is_over_calls_get_an_error(self):
        with BraidServer("--kv-memory", "256MiB", "--drain-timeout", "1") as server, \
                grpc.insecure_channel(server.grpc) as channel:
            call = pb_grpc.InferenceStub(channel).Generate(pb.GenerateRequest(
                text=STORY, max_tokens=8000, sampling=pb.Sampling(ignore_eos=True)))
            next(call)
            self.assertEqual(server.terminate(30), 1)
            with self.assertRaises(grpc.RpcError) as caught:
                list(call)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertIn("shutting down", caught.exception.details())


class ApiKey(unittest.TestCase):
    def test_a_key_is_asked_for(self):
        with BraidServer("--kv-memory", "256MiB", "--api-key", "secret") as server, \
                grpc.insecure_channel(server.grpc) as channel:
            stub = pb_grpc.InferenceStub(channel)
            request = pb.GenerateRequest(text="a", max_tokens=1)
            for metadata in ((), (("authorization", "Bearer wrong"),)):
                with self.assertRaises(grpc.RpcError) as caught:
                    list(stub.Generate(request, metadata=metadata))
                self.assertEqual(caught.exception.code(),
                                 grpc.StatusCode.UNAUTHENTICATED)
            self.assertTrue(list(stub.Generate(
                request, metadata=(("authorization", "Bearer secret"),))))
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())


if __name__ == "__main__":
    unittest.main()
