"""The OpenAI-compatible paths, as OpenAI's own Python client sees them."""
import json
import unittest
import urllib.error
import urllib.request

import openai

from braid_server import BraidServer

MODEL_NAME = "SmolLM2-135M-Instruct.Q4_1"
SKY = [{"role": "user", "content": "Why is the sky blue?"}]
STORY = "Once upon a time there was a"
END_OF_TURN = 2  # <|im_end|>


class OpenAiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(BraidServer("--kv-memory", "512MiB"))
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="-",
                                   max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server has ended")

    def chat(self, **options):
        return self.client.chat.completions.create(
            **{"model": MODEL_NAME, "messages": SKY, "temperature": 0,
               "max_tokens": 24, **options})

    def complete(self, **options):
        return self.client.completions.create(
            **{"model": MODEL_NAME, "prompt": STORY, "temperature": 0,
               "max_tokens": 24, **options})

    def call(self, path, body=None, headers=None):
        """(status, headers, document)"""
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.server.url + path, data,
            {"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.headers, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.load(error)

    def refused(self, body, path="/v1/chat/completions"):
        status, _, reply = self.call(path, body)
        return status, reply["error"]


class Chat(OpenAiTest):
    def test_plain(self):
        reply = self.chat()
        choice = reply.choices[0]
        self.assertIn("sky", choice.message.content)
        self.assertEqual(choice.message.role, "assistant")
        self.assertIn(choice.finish_reason, ("stop", "length"))
        self.assertEqual(reply.model, MODEL_NAME)
        self.assertEqual(reply.object, "chat.completion")
        self.assertEqual(reply.usage.total_tokens,
                         reply.usage.prompt_tokens + reply.usage.completion_tokens)
        self.assertGreater(reply.usage.prompt_tokens, 10)

    def test_a_stream_says_the_same(self):
        whole = self.chat()
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
        self.assertEqual([r for r in reasons if r], [whole.choices[0].finish_reason])
        # The usage chunk comes last, has no choices, and is the only one.
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual([c.usage is not None for c in chunks],
                         [False] * (len(chunks) - 1) + [True])
        self.assertEqual(chunks[-1].usage.completion_tokens,
                         whole.usage.completion_tokens)
        self.assertEqual(len({c.id for c in chunks}), 1)

    def test_two_choices_are_two_seeds(self):
        def texts(reply):
            return [c.message.content for c in reply.choices]
        both = self.chat(n=2, seed=7, temperature=1.0)
        self.assertEqual([c.index for c in both.choices], [0, 1])
        self.assertNotEqual(*texts(both))
        self.assertEqual(texts(both), texts(self.chat(seed=7, temperature=1.0)) +
                         texts(self.chat(seed=8, temperature=1.0)))
        streamed = ["", ""]
        for chunk in self.chat(n=2, seed=7, temperature=1.0, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
        self.assertEqual(streamed, texts(both))

    def test_no_seed_is_a_new_seed(self):
        texts = {self.chat(temperature=1.5, messages=[
            {"role": "user", "content": "Write a story."}]).choices[0].message.content
            for _ in range(4)}
        self.assertGreater(len(texts), 1)

    def test_logprobs(self):
        reply = self.chat(logprobs=True, top_logprobs=3, max_tokens=8)
        entries = reply.choices[0].logprobs.content
        self.assertEqual(len(entries), reply.usage.completion_tokens)
        for entry in entries:
            self.assertLessEqual(entry.logprob, 0)
            self.assertEqual(len(entry.top_logprobs), 3)
            # Greedy: the token is the most probable one.
            self.assertEqual(entry.top_logprobs[0].token, entry.token)
            self.assertEqual(bytes(entry.bytes).decode(), entry.token)
            order = [top.logprob for top in entry.top_logprobs]
            self.assertEqual(order, sorted(order, reverse=True))
        self.assertEqual("".join(e.token for e in entries),
                         reply.choices[0].message.content)



class Completions(OpenAiTest):
    def test_plain(self):
        text = self.complete(prompt="The capital of France is").choices[0].text
        self.assertTrue(text.startswith(" Paris"), text)

    def test_stop_strings_are_not_in_the_text(self):
        whole = self.complete(max_tokens=40).choices[0]
        self.assertEqual(whole.finish_reason, "length")
        stop = whole.text[20:26]
        before = whole.text[:whole.text.index(stop)]
        for given in (stop, [stop], ["never in it", stop]):
            reply = self.complete(max_tokens=40, stop=given)
            self.assertEqual(reply.choices[0].text, before)
            self.assertEqual(reply.choices[0].finish_reason, "stop")
            self.assertLess(reply.usage.completion_tokens, 40)
        chunks = list(self.complete(max_tokens=40, stop=stop, stream=True))
        self.assertEqual("".join(c.choices[0].text for c in chunks), before)
        kept = self.complete(max_tokens=40, stop=stop,
                             extra_body={"include_stop_str_in_output": True})
        self.assertEqual(kept.choices[0].text, before + stop)

    def test_echo_scores_the_prompt(self):
        reply = self.complete(echo=True, logprobs=2, max_tokens=0)
        scored = reply.choices[0].logprobs
        self.assertEqual(reply.choices[0].text, STORY)
        self.assertEqual("".join(scored.tokens), STORY)
        self.assertIsNone(scored.token_logprobs[0])
        self.assertTrue(all(p < 0 for p in scored.token_logprobs[1:]))
        self.assertEqual(reply.usage.completion_tokens, 0)
        self.assertEqual(len(scored.tokens), reply.usage.prompt_tokens)
        more = self.complete(echo=True, logprobs=2, max_tokens=4)
        self.assertEqual(more.choices[0].logprobs.token_logprobs[1:len(scored.tokens)],
                         scored.token_logprobs[1:])
        self.assertEqual(more.choices[0].text,
                         STORY + self.complete(max_tokens=4).choices[0].text)
        # What was generated scores the same when it is a prompt.
        again = self.complete(prompt=more.choices[0].text, echo=True, logprobs=2,
                              max_tokens=0)
        self.assertEqual(again.choices[0].logprobs.token_logprobs[1:],
                         more.choices[0].logprobs.token_logprobs[1:])

    def test_prompts_as_ids_and_lists(self):
        _, _, tokens = self.call("/tokenize", {"prompt": STORY})
        text = self.complete().choices[0].text
        self.assertEqual(self.complete(prompt=tokens["tokens"]).choices[0].text, text)
        other = "The river"
        both = self.complete(prompt=[STORY, other])
        self.assertEqual([c.text for c in both.choices],
                         [text, self.complete(prompt=other).choices[0].text])
        ids = self.complete(prompt=[tokens["tokens"], tokens["tokens"]])
        self.assertEqual([c.text for c in ids.choices], [text, text])

    def test_seeds(self):
        def text(seed):
            return self.complete(seed=seed, temperature=1.0).choices[0].text
        self.assertEqual(text(1), text(1))
        self.assertNotEqual(text(1), text(2))

    def test_logit_bias(self):
        _, _, tokens = self.call("/tokenize", {"prompt": " moon"})
        self.assertEqual(tokens["count"], 1)
        moons = self.complete(logit_bias={str(tokens["tokens"][0]): 100}, max_tokens=3)
        self.assertEqual(moons.choices[0].text, " moon moon moon")

    def test_end_of_turn(self):
        ends = {str(END_OF_TURN): 100}
        at_once = self.complete(logit_bias=ends)
        self.assertEqual(at_once.choices[0].finish_reason, "stop")
        self.assertEqual(at_once.choices[0].text, "")
        later = self.complete(logit_bias=ends, extra_body={"min_tokens": 5})
        self.assertEqual(later.choices[0].finish_reason, "stop")
        self.assertEqual(later.usage.completion_tokens,
                         at_once.usage.completion_tokens + 5)
        never = self.complete(logit_bias=ends, extra_body={"ignore_eos": True})
        self.assertEqual(never.choices[0].finish_reason, "length")
        self.assertEqual(never.usage.completion_tokens, 24)


class Refusals(OpenAiTest):
    def test_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.chat(model="gpt-7")
        self.assertIn("gpt-7", str(caught.exception))

    def test_wrong_types_name_the_field(self):
        for field, value in (("temperature", "hot"), ("max_tokens", -1), ("n", 0),
                             ("stream", 1), ("stop", 5), ("seed", 1.5), ("top_p", 2),
                             ("logit_bias", [1]), ("messages", "hello"),
                             ("stream_options", {"include_usage": True})):
            status, error = self.refused({"messages": SKY, field: value})
            self.assertEqual((status, error["param"]), (400, field), error)
            self.assertEqual(error["type"], "invalid_request_error")
            self.assertTrue(error["message"])
        status, error = self.refused({"messages": [{"role": "user", "content": 5}]})
        self.assertEqual(status, 400)
        self.assertIn("messages[0].content", error["param"])

    def test_not_json(self):
        for body in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"messages": [}',
                     b"[" * 100_000):
            status, error = self.refused(body)
            self.assertEqual(status, 400, body[:20])
            self.assertTrue(error["message"])

    def test_prompts_that_do_not_fit(self):
        for body, path in (
                ({"messages": [{"role": "user", "content": "x y " * 20000}]},
                 "/v1/chat/completions"),
                ({"messages": SKY, "max_tokens": 9000}, "/v1/chat/completions"),
                ({"prompt": "x y " * 20000}, "/v1/completions"),
                ({"prompt": "x" * 4_000_000}, "/v1/completions"),
                ({"prompt": [1] * 9000}, "/v1/completions")):
            status, error = self.refused(body, path)
            self.assertEqual((status, error["code"]),
                             (400, "context_length_exceeded"), error)

    def test_empty_prompt(self):
        self.assertEqual(self.refused({"prompt": []}, "/v1/completions")[0], 400)
        self.assertEqual(self.refused({"messages": []})[0], 400)

    def test_paths_and_methods(self):
        self.assertEqual(self.call("/v1/nothing")[0], 404)
        status, headers, _ = self.call("/v1/chat/completions")
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        self.assertEqual(self.call("/v1/models/unknown")[0], 404)


class OtherPaths(OpenAiTest):
    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], [MODEL_NAME])
        self.assertEqual(self.client.models.retrieve(MODEL_NAME).owned_by, "braid")

    def test_tokenize_and_back(self):
        for text in ("Hello, world!", "naïve 日本語 🦜\n\t 123", " ", "<|im_start|>x"):
            _, _, tokens = self.call("/tokenize", {"prompt": text})
            self.assertEqual(tokens["count"], len(tokens["tokens"]))
            _, _, back = self.call("/detokenize", {"tokens": tokens["tokens"]})
            self.assertEqual(back["prompt"], text)
        _, _, chat = self.call("/tokenize", {"messages": SKY})
        self.assertEqual(chat["count"], self.chat().usage.prompt_tokens)
        self.assertEqual(self.call("/detokenize", {"tokens": [1 << 40]})[0], 400)

    def test_the_template_makes_a_prompt(self):
        status, _, reply = self.call("/apply-template", {"messages": SKY})
        self.assertEqual(status, 200, reply)
        self.assertTrue(reply["prompt"].endswith(
            "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n"))
        _, _, chat = self.call("/tokenize", {"messages": SKY})
        _, _, text = self.call("/tokenize", {"prompt": reply["prompt"]})
        self.assertEqual(text["tokens"], chat["tokens"])
        # Newer clients call the system so; the default system text gives way.
        _, _, told = self.call("/apply-template", {"messages": [
            {"role": "developer", "content": "Be brief."}] + SKY})
        self.assertTrue(told["prompt"].startswith("<|im_start|>system\nBe brief.<|im_end|>"))
        _, _, info = self.call("/tokenizer_info")
        self.assertEqual((info["vocab_size"], info["eos_token"]), (49152, "<|im_end|>"))
        self.assertIn("<|im_start|>", info["chat_template"])

    def test_probes(self):
        for path in ("/health", "/ready", "/live"):
            status, _, body = self.call(path)
            self.assertEqual((status, path, bool(body["status"])), (200, path, True))
        self.assertRegex(self.call("/version")[2]["version"], r"^\d+\.\d+\.\d+$")

    def test_metrics(self):
        before = self.server.metrics()
        usage = self.complete().usage
        self.server.wait_until_idle()
        after = self.server.metrics()
        for name, added in (("braid_generated_tokens_total", usage.completion_tokens),
                            ("braid_prompt_tokens_total", usage.prompt_tokens),
                            ('braid_requests_total{outcome="length"}', 1)):
            self.assertEqual(after[name] - before[name], added, name)
        for states in self.server.kv_blocks().values():
            self.assertEqual(sum(states.values()), (512 << 20) // (360 << 10))

    def test_request_ids(self):
        _, headers, _ = self.call("/ready", headers={"x-request-id": "mine-1"})
        self.assertEqual(headers["x-request-id"], "mine-1")
        ids = {self.call("/ready")[1]["x-request-id"] for _ in range(3)}
        self.assertEqual(len(ids), 3)


class Flags(unittest.TestCase):
    def test_default_max_tokens(self):
        with BraidServer("--kv-memory", "256MiB",
                         "--default-max-tokens", "20") as server:
            with openai.OpenAI(base_url=server.url + "/v1", api_key="-") as client:
                def length(**options):
                    reply = client.chat.completions.create(
                        model="", messages=SKY, extra_body={"ignore_eos": True},
                        **options)
                    self.assertEqual(reply.choices[0].finish_reason, "length")
                    return reply.usage.completion_tokens
                self.assertEqual(length(), 20)
                self.assertEqual(length(max_tokens=30), 30)
                self.assertEqual(length(max_completion_tokens=3), 3)

    def test_a_key_is_asked_for(self):
        with BraidServer("--api-key", "secret", "--kv-memory", "256MiB") as server:
            for key in ("wrong", "secre", "secret2"):
                with openai.OpenAI(base_url=server.url + "/v1", api_key=key) as client:
                    with self.assertRaises(openai.AuthenticationError):
                        client.models.list()
            with openai.OpenAI(base_url=server.url + "/v1", api_key="secret") as client:
                self.assertEqual(len(list(client.models.list())), 1)
                reply = client.completions.create(model="", prompt="a", max_tokens=1)
                self.assertEqual(reply.usage.completion_tokens, 1)
            server.metrics()  # probes stay open


if __name__ == "__main__":
    unittest.main()
