"""The page's script against a real server, in Node.js with stand-ins for the
browser (page_driver.js): what it asks, and what it shows of the answers."""
import json
import pathlib
import subprocess
import unittest
import urllib.request

from braid_server import ROOT, BraidServer

DRIVER = pathlib.Path(__file__).with_name("page_driver.js")
ADAPTER = ROOT / "model/adapters/SmolLM2-135M-Instruct.parscale.safetensors"
PROMPT = "Why is the sky blue?"


class Page:
    """with Page(server) as page: page.do(set={...}, click="send")"""

    def __init__(self, server):
        self.url = server.url

    def __enter__(self):
        self.node = subprocess.Popen(["node", DRIVER, self.url], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def do(self, **command):
        """What the page shows after it: {id: {text, parts, hidden, disabled, value}}"""
        self.node.stdin.write(json.dumps(command) + "\n")
        self.node.stdin.flush()
        return json.loads(self.node.stdout.readline())

    def send(self, **fields):
        return self.do(set={"prompt": PROMPT, "tokens": "12", "more": '{"seed": 5}',
                            **{name.replace("_", "-"): value for name, value in fields.items()}},
                       click="send")

    def __exit__(self, *_):
        self.node.stdin.close()
        self.node.stdout.close()
        self.node.wait(30)


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(
            BraidServer("--kv-memory", "512MiB", "--parscale", str(ADAPTER)))

    def setUp(self):
        self.page = self.enterContext(Page(self.server))
        self.page.do(looks=2)

    def chat(self, **fields):
        body = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 12,
                "temperature": 0.7, "seed": 5, **fields}
        request = urllib.request.Request(
            self.server.url + "/v1/chat/completions", json.dumps(body).encode(),
            {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["choices"][0]["message"]["content"]

    def test_shows_the_node(self):
        self.page.send()
        shown = self.page.do(looks=2)
        self.assertEqual(shown["model"]["text"], "SmolLM2-135M-Instruct.Q4_1")
        self.assertEqual(shown["state"]["text"], "ready · 0 queued, 0 decoding")
        self.assertTrue(shown["key-field"]["hidden"])
        self.assertRegex(shown["rows-now"]["text"],
                         r"^requests \d+/s fixed streams \d+/s streams \d+/s candidates \d+/s "
                         r"catching up \d+/s idle \d+/s now 0 requests, 0 more streams$")
        header, *devices = shown["devices"]["parts"]
        self.assertEqual(header["text"], "devicerolestatestepsstep error")
        self.assertEqual(len(devices), 2)
        self.assertRegex(shown["why"]["text"], r"\d s")
        for name, element in shown.items():
            self.assertNotRegex(element["text"], r"undefined|NaN|null|\[object", name)

    def test_an_answer_by_one_stream(self):
        shown = self.page.send(mode="off")
        self.assertEqual(shown["answer"]["text"], self.chat())
        self.assertEqual({part["class"] for part in shown["answer"]["parts"]}, {"p1"})
        self.assertRegex(shown["answer-facts"]["text"],
                         r"^first token \d+ ms · 12 tokens · \d+ tokens/s$")
        self.assertEqual((shown["send"]["disabled"], shown["stop"]["disabled"]), (False, True))

    def test_tokens_have_the_colour_of_their_streams(self):
        shown = self.page.send(mode="fixed", streams="3")
        self.assertEqual(shown["answer"]["text"],
                         self.chat(parscale={"mode": "fixed", "max": 3}))
        self.assertEqual({part["class"] for part in shown["answer"]["parts"]}, {"p3"})
        self.assertRegex(shown["answer-facts"]["text"], r"3\.00 streams on average · streams:")

    def test_the_best_of_several(self):
        shown = self.page.send(best_of="3")
        self.assertEqual([shown[name]["disabled"] for name in ("mode", "streams")], [True, True])
        facts = shown["answer-facts"]
        self.assertRegex(facts["text"], r"3 candidates, [1-3] complete")
        self.assertEqual(len(facts["parts"]), 3)
        best = [i for i, part in enumerate(facts["parts"]) if part["class"] == "candidate best"]
        self.assertEqual(len(best), 1)
        self.assertEqual(shown["answer"]["text"], self.chat(seed=5 + best[0]))

    def test_what_is_wrong_is_said(self):
        for fields, message in (
                ({"temperature": "9"}, "temperature: must be between 0 and 2, not 9"),
                ({"temperature": "0.7", "more": "{"}, "More fields: "),
                ({"more": '{"stop": 5}'}, "stop: must be"),
                ({"best_of": "9", "more": ""}, "best_of: must be between")):
            shown = self.page.send(**fields)
            self.assertEqual([part["class"] for part in shown["answer"]["parts"]], ["error"])
            self.assertIn(message, shown["answer"]["text"])
            self.assertFalse(shown["send"]["disabled"])
        shown = self.page.send(best_of="1", more='{"max_token": 3, "seed": 5}')
        self.assertIn(" · without effect: max_token", shown["answer-facts"]["text"])

    def test_a_failure_in_mid_answer_is_said(self):
        shown = self.page.send(tokens="4000", more='{"timeout_ms": 700, "ignore_eos": true}')
        self.assertEqual(shown["answer"]["parts"][-1]["class"], "error")
        self.assertFalse(shown["send"]["disabled"])


class KeyTest(unittest.TestCase):
    def test_a_key_is_asked_for_and_used(self):
        with BraidServer("--kv-memory", "256MiB", "--api-key", "secret") as server, \
             Page(server) as page:
            shown = page.do(looks=2)
            self.assertFalse(shown["key-field"]["hidden"])
            self.assertRegex(shown["state"]["text"], "API key")
            shown = page.do(set={"key": "secret"}, looks=3)
            self.assertRegex(shown["state"]["text"], "^ready")
            # Without weights of streams there is nothing to choose.
            self.assertEqual([part["text"] for part in shown["mode"]["parts"]], ["off"])
            self.assertEqual(shown["mode"]["value"], "off")
            self.assertTrue(page.send()["answer"]["text"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
