"""Best-of-n on the default model, over HTTP and gRPC: the answer is that of a
request of its own with the seed of the candidate it tells of."""
import json
import threading
import unittest

import grpc

import grpc_test
from braid_server import BraidServer
from terms_test import post

PROMPT = "Once upon a time there was a"


def setUpModule():
    global pb, pb_grpc
    pb, pb_grpc = grpc_test.load_stubs()


class BestOf(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(BraidServer("--kv-memory", "512MiB"))
        cls.channel = cls.enterClassContext(grpc.insecure_channel(cls.server.grpc))
        cls.stub = pb_grpc.InferenceStub(cls.channel)

    def complete(self, **fields):
        status, _, body = post(self.server.url, {"prompt": PROMPT, "max_tokens": 32, **fields})
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def test_http(self):
        alone = [self.complete(seed=seed)["choices"][0] for seed in range(40, 44)]
        self.assertEqual(len({choice["text"] for choice in alone}), 4)
        # Which candidates are complete in time depends on the machine; what each of
        # them says does not.
        for _ in range(3):
            answer = self.complete(seed=40, best_of=4)
            usage = answer["usage"]["best_of"]
            self.assertEqual(usage["asked"], 4)
            self.assertIn(usage["complete"], range(1, 5))
            told = [one for one in usage["self_certainty"] if one is not None]
            self.assertEqual((len(usage["self_certainty"]), len(told)), (4, usage["complete"]))
            self.assertEqual(usage["self_certainty"][usage["chosen"]], max(told))
            chosen = alone[usage["chosen"]]
            self.assertEqual(answer["choices"][0]["text"], chosen["text"])
            self.assertEqual(answer["choices"][0]["finish_reason"], chosen["finish_reason"])

    def test_grpc(self):
        def generate(seed, **fields):
            request = pb.GenerateRequest(text=PROMPT, max_tokens=32,
                                         sampling=pb.Sampling(seed=seed), **fields)
            return list(self.stub.Generate(request, timeout=60))
        replies = generate(70, best_of=3, top_logprobs=1)
        self.assertEqual(len(replies), 1, "told as a whole")
        finished = replies[0].finished
        self.assertEqual(finished.best_of.asked, 3)
        self.assertGreaterEqual(finished.best_of.complete, 1)
        candidates = finished.best_of.candidates
        told = [one.self_certainty for one in candidates if one.HasField("self_certainty")]
        self.assertEqual((len(candidates), len(told)), (3, finished.best_of.complete))
        self.assertEqual(candidates[finished.best_of.chosen].self_certainty, max(told))
        self.assertGreater(max(told), 0)
        alone = generate(70 + finished.best_of.chosen, top_logprobs=1)
        self.assertEqual(replies[0].text, grpc_test.text_of(alone))
        self.assertEqual(finished.output_tokens, alone[-1].finished.output_tokens)
        self.assertEqual(list(replies[0].tokens), [t for reply in alone for t in reply.tokens])
        for wrong in ({"best_of": 9},
                      {"best_of": 2, "sampling": pb.Sampling(temperature=0)}):
            with self.assertRaises(grpc.RpcError) as caught:
                list(self.stub.Generate(pb.GenerateRequest(text=PROMPT, **wrong), timeout=60))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn("best_of", caught.exception.details())

    def test_crowd(self):
        """Answers of others are what they are alone, and so is the best one's."""
        alone = {seed: self.complete(seed=seed)["choices"][0]["text"] for seed in range(100, 108)}
        answers = {}
        def ask(seed, **fields):
            answers[seed, bool(fields)] = self.complete(seed=seed, **fields)
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(100, 108)]
        threads += [threading.Thread(target=ask, args=(seed,), kwargs={"best_of": 3})
                    for seed in (100, 103)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for (seed, best_of), answer in answers.items():
            chosen = answer["usage"]["best_of"]["chosen"] if best_of else 0
            self.assertEqual(answer["choices"][0]["text"], alone[seed + chosen])
        self.server.wait_until_idle()
        metrics = self.server.metrics()
        started = metrics['braid_best_of_candidates_total{outcome="started"}']
        self.assertEqual(started,
                         metrics['braid_best_of_candidates_total{outcome="completed"}']
                         + metrics['braid_best_of_candidates_total{outcome="dropped"}'])


if __name__ == "__main__":
    unittest.main(verbosity=2)
