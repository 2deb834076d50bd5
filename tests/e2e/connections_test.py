"""Clients that misbehave below HTTP's meaning: too large, too slow, gone."""
import json
import socket
import time
import unittest

from braid_server import BraidServer, wait_until

MIB = 1 << 20


class ConnectionsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(BraidServer("--kv-memory", "256MiB"))
        cls.address = ("127.0.0.1", int(cls.server.url.rsplit(":", 1)[1]))

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server has ended")
        self.assertEqual(self.ask(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"), 200)

    def connect(self):
        connection = socket.create_connection(self.address, timeout=60)
        self.addCleanup(connection.close)
        return connection

    def ask(self, request):
        with socket.create_connection(self.address, timeout=60) as connection:
            connection.sendall(request)
            return self.status(connection)

    @staticmethod
    def status(connection):
        line = connection.makefile("rb").readline()
        return int(line.split()[1]) if line else None

    @staticmethod
    def request(body, **headers):
        data = json.dumps(body).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return (f"POST /v1/completions HTTP/1.1\r\nHost: x\r\n{lines}"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                .encode() + data)


class Large(ConnectionsTest):
    HEAD = (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\n")

    def test_a_large_body_is_refused_before_it_is_sent(self):
        connection = self.connect()
        connection.sendall(self.HEAD + b"Content-Length: 100000000\r\n\r\n{")
        self.assertEqual(self.status(connection), 413)

    def test_a_large_body_is_not_kept(self):
        for framing in (b"Content-Length: 100000000\r\n\r\n",
                        b"Transfer-Encoding: chunked\r\n\r\n"):
            before = self.server.rss_bytes()
            connection = self.connect()
            connection.sendall(self.HEAD + framing)
            piece = b"x" * MIB
            if b"chunked" in framing:
                piece = b"100000\r\n" + piece + b"\r\n"
            try:
                for _ in range(100):
                    connection.sendall(piece)
            except ConnectionError:
                pass  # It need not listen to the end.
            self.assertEqual(self.status(connection), 413)
            # At most --max-body-bytes, 8 MiB, with room to grow a buffer.
            self.assertLess(self.server.rss_bytes() - before, 24 * MIB)

    def test_large_headers(self):
        for header in (b"X-Large: " + b"x" * (64 << 10), b"X-Y: z\r\n" * 10_000,
                       b"x" * (64 << 10)):
            self.assertIn(self.ask(b"GET /ready HTTP/1.1\r\nHost: x\r\n" + header +
                                   b"\r\n\r\n"), (431, 400))
        self.assertEqual(self.ask(b"GET /ready HTTP/1.1\r\nX-Large: " +
                                  b"x" * (64 << 10) + b"\r\n\r\n"), 431)
        self.assertIn(self.ask(b"GET /" + b"x" * (64 << 10) + b" HTTP/1.1\r\n\r\n"),
                      (414, 431))

    def test_no_http_at_all(self):
        for noise in (b"\x16\x03\x01\x02\x00\x01" * 9, b"\r\n" * 9 + b"hello\r\n\r\n",
                      b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100,
                      self.HEAD + b"Content-Length: -1\r\n\r\n",
                      self.HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
                      self.HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"):
            self.assertEqual(self.ask(noise), 400, noise[:40])


class Slow(ConnectionsTest):
    def test_half_open_connections_do_not_disturb(self):
        begun = time.monotonic()
        halves = [self.connect() for _ in range(50)]
        for i, connection in enumerate(halves):
            connection.sendall((b"", b"P", b"POST /v1/completions HTTP/1.1\r\nHo")[i % 3])
        self.assertEqual(self.ask(self.request({"prompt": "a", "max_tokens": 2})), 200)
        self.assertLess(time.monotonic() - begun, 5)
        # A header that never ends is given up: 408, and the connection's end.
        reader = halves[2].makefile("rb")
        self.assertIn(b" 408 ", reader.readline())
        self.assertIn(b"did not arrive in time", reader.read())
        self.assertLess(time.monotonic() - begun, 20)

    def test_a_byte_at_a_time(self):
        connection = self.connect()
        for byte in self.request({"prompt": "a", "max_tokens": 2}):
            connection.sendall(bytes([byte]))
        self.assertEqual(self.status(connection), 200)

    def test_pipelined_requests_are_answered_in_order(self):
        connection = self.connect()
        connection.sendall(self.request({"prompt": "a", "max_tokens": 4}) +
                           b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = connection.makefile("rb").read()
        self.assertLess(answers.index(b"text_completion"), answers.index(b'"live"'))

    def test_a_stream_nobody_reads_holds_up_nobody(self):
        connection = self.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(self.request(
            {"prompt": "a", "max_tokens": 3000, "stream": True, "ignore_eos": True}))
        self.assertEqual(self.ask(self.request({"prompt": "b", "max_tokens": 8})), 200)
        connection.close()
        self.server.wait_until_idle()


class Gone(ConnectionsTest):
    def cancelled(self):
        return self.server.metrics()['braid_requests_total{outcome="cancelled"}']

    def leave(self, body, tokens_first):
        before = self.cancelled()
        connection = self.connect()
        connection.sendall(self.request({"prompt": "Once upon", "max_tokens": 5000,
                                         "ignore_eos": True, **body}))
        if tokens_first:
            self.assertIn(b" 200 ", connection.recv(64))
        else:
            wait_until(lambda: self.server.metrics()
                       ['braid_requests{state="decoding"}'] >= 1, "decoding")
        connection.close()
        wait_until(lambda: self.cancelled() == before + body.get("n", 1), "cancelled", 5)
        pools = self.server.wait_until_idle()
        for states in pools.values():
            self.assertEqual(states["free"] + states["cached"], sum(states.values()))

    def test_in_mid_stream(self):
        self.leave({"stream": True}, tokens_first=True)

    def test_waiting_for_a_plain_answer(self):
        self.leave({}, tokens_first=False)

    def test_with_several_choices(self):
        self.leave({"stream": True, "n": 2}, tokens_first=True)

    def test_a_timeout_of_its_own(self):
        request = self.request({"prompt": "a", "max_tokens": 5000, "ignore_eos": True},
                               **{"x-request-timeout-ms": 300})
        self.assertEqual(self.ask(request), 504)
        self.server.wait_until_idle()


class Crowded(unittest.TestCase):
    def test_more_than_the_queue_holds_is_429(self):
        with BraidServer("--kv-memory", "256MiB", "--max-running", "1",
                         "--max-queued", "2") as server:
            address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
            body = {"prompt": "a", "max_tokens": 3000, "ignore_eos": True, "stream": True}
            held = []
            for taken in range(1, 4):  # one runs, two wait
                held.append(socket.create_connection(address, timeout=60))
                held[-1].sendall(ConnectionsTest.request(body))
                wait_until(lambda t=taken: server.metrics()
                           ["braid_received_requests_total"] == t, "arrival")
                if taken == 1:
                    wait_until(lambda: server.metrics()
                               ['braid_requests{state="decoding"}'] == 1, "admission")
            with socket.create_connection(address, timeout=60) as refused:
                refused.sendall(ConnectionsTest.request(body, Connection="close"))
                answer = refused.makefile("rb").read()
            self.assertIn(b" 429 ", answer.split(b"\r\n")[0])
            self.assertIn(b"\r\nretry-after: ", answer.lower())
            for connection in held:
                connection.close()
            server.wait_until_idle()

    def test_more_connections_than_allowed_are_closed(self):
        with BraidServer("--kv-memory", "256MiB", "--max-connections", "4") as server:
            address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
            many = [socket.create_connection(address, timeout=60) for _ in range(20)]
            for connection in many:
                connection.settimeout(0.05)
            def closed():
                count = 0
                for connection in many:
                    try:
                        count += connection.recv(1) == b""
                    except TimeoutError:
                        pass
                    except ConnectionError:
                        count += 1
                return count >= 14
            wait_until(closed, "refusal of what is too much")
            for connection in many:
                connection.close()
            def room_again():
                try:
                    return server.metrics()
                except OSError:
                    return None
            wait_until(room_again, "room again")


if __name__ == "__main__":
    unittest.main()
