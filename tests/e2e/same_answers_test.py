"""However a request is served, its answer is the same: split or not, either KV
transport, streamed or whole, alone or among others."""
import concurrent.futures
import json
import unittest
import urllib.request

from braid_server import BraidServer

PROMPTS = ["Once upon a time", "The capital of France is", "def add(a, b):\n",
           "List three colours. " * 40]


def bodies():
    for i, prompt in enumerate(PROMPTS):
        for temperature in (0, 0.9):
            yield {"prompt": prompt, "temperature": temperature, "seed": i,
                   "max_tokens": 12, "logprobs": 2}


def answer(server, body):
    request = urllib.request.Request(server.url + "/v1/completions",
                                     json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)["choices"]


class SameAnswers(unittest.TestCase):
    def test_everywhere(self):
        expected = None
        for flags in (("--split", "off"), ("--split", "off", "--no-prefix-cache"),
                      ("--split", "auto"), ("--split", "on"),
                      ("--split", "on", "--kv-transport", "copy"),
                      ("--split", "on", "--no-lend-cores", "--prefill-chunk", "48")):
            with self.subTest(flags=flags), \
                    BraidServer("--kv-memory", "512MiB", *flags) as server, \
                    concurrent.futures.ThreadPoolExecutor(8) as pool:
                alone = [answer(server, body) for body in bodies()]
                expected = expected or alone
                self.assertEqual(alone, expected)
                crowd = list(pool.map(lambda body: answer(server, body), bodies()))
                self.assertEqual(crowd, expected)
                split = server.metrics()['braid_request_paths_total{path="split"}']
                if flags[1] == "on":
                    self.assertEqual(split, 2 * len(expected))
                if flags[1] == "off":
                    self.assertEqual(split, 0)
                server.wait_until_idle()


if __name__ == "__main__":
    unittest.main()
