"""From the first signal to the exit code: drains, and what clients see of them."""
import http.client
import json
import signal
import socket
import threading
import time
import unittest
import urllib.error
import urllib.request

from braid_server import BraidServer, wait_until

SMALL = ("--kv-memory", "256MiB")
PATIENCE = 240  # seconds, on a machine that others use


def post(server, body, path="/v1/chat/completions"):
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=PATIENCE)


def status_of(server, path, body=None):
    try:
        if body is not None:
            with post(server, body, path) as reply:
                return reply.status
        with urllib.request.urlopen(server.url + path, timeout=PATIENCE) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def long_answer(tokens, **more):
    return {"messages": [{"role": "user", "content": "Count to a thousand."}],
            "max_tokens": tokens, "ignore_eos": True, "temperature": 0, **more}


class Reader(threading.Thread):
    """Reads one streamed answer to its end: events, or the error that cut it."""

    def __init__(self, server, body):
        super().__init__()
        self.reply = post(server, {**body, "stream": True})
        self.events, self.broken = [], None
        self.start()
        wait_until(lambda: len(self.events) > 2, "the first tokens")

    def run(self):
        try:
            with self.reply:
                for line in self.reply:
                    if line.startswith(b"data: "):
                        self.events.append(line[6:].decode().strip())
        except Exception as error:  # pylint: disable=broad-except
            self.broken = error

    def text(self):
        return "".join(json.loads(e)["choices"][0]["delta"].get("content") or ""
                       for e in self.events[:-1])


class Drain(unittest.TestCase):
    def test_running_answers_finish_and_new_ones_are_refused(self):
        body = long_answer(300)
        with BraidServer(*SMALL, "--drain-timeout", str(PATIENCE)) as server:
            with post(server, body) as reply:
                whole = json.load(reply)["choices"][0]["message"]["content"]
            readers = [Reader(server, body), Reader(server, body)]
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: status_of(server, "/ready") == 503, "draining", 5)
            self.assertEqual(status_of(server, "/live"), 200)
            self.assertEqual(status_of(server, "/v1/completions", {"prompt": "a"}), 503)
            self.assertEqual(
                status_of(server, "/v1/completions", {"prompt": "a", "stream": True}), 503)
            self.assertTrue(all(r.is_alive() for r in readers), "too short a test")
            for reader in readers:
                reader.join(PATIENCE)
                self.assertIsNone(reader.broken)
                self.assertEqual(reader.events[-1], "[DONE]")
                self.assertEqual(reader.text(), whole)
            self.assertEqual(server.process.wait(PATIENCE), 0)
            self.assertIn("draining", server.rest_of_output())

    def test_idle_connections_do_not_hold_it_up(self):
        with BraidServer(*SMALL) as server:
            host, port = server.url.removeprefix("http://").split(":")
            # Answered once, so the server knows of it: one that it has not accepted
            # would be reset instead of closed.
            idle = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
            idle.request("GET", "/live")
            idle.getresponse().read()
            with socket.create_connection((host, int(port))) as half:
                half.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n")
                begun = time.monotonic()
                self.assertEqual(server.terminate(30), 0)
                self.assertLess(time.monotonic() - begun, 8)
                self.assertEqual(idle.sock.recv(1), b"")
            idle.close()

    def test_when_its_time_is_over_clients_get_an_error(self):
        with BraidServer(*SMALL, "--drain-timeout", "1") as server:
            reader = Reader(server, long_answer(8000))
            plain = threading.Thread(target=self.plain_is_refused, args=(server,))
            self.plain_status = None
            plain.start()
            wait_until(lambda: server.metrics()["braid_received_requests_total"] == 2,
                       "the second request")
            begun = time.monotonic()
            self.assertEqual(server.terminate(30), 1)
            self.assertLess(time.monotonic() - begun, 15)
            reader.join(10)
            plain.join(10)
            self.assertIsNone(reader.broken)  # the connection was closed properly
            error = json.loads(reader.events[-1])["error"]
            self.assertIn("shutting down", error["message"])
            self.assertEqual(error["type"], "unavailable_error")
            self.assertEqual(self.plain_status, 503)
            self.assertIn("--drain-timeout", server.rest_of_output())

    def plain_is_refused(self, server):
        self.plain_status = status_of(server, "/v1/chat/completions", long_answer(3000))

    def test_a_second_signal_ends_it_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with BraidServer(*SMALL) as server:
                Reader(server, long_answer(8000))
                server.process.send_signal(signal.SIGTERM)
                wait_until(lambda: status_of(server, "/ready") == 503, "draining", 5)
                server.process.send_signal(number)
                begun = time.monotonic()
                self.assertEqual(server.process.wait(10), 128 + number)
                self.assertLess(time.monotonic() - begun, 2)

    def test_interrupt_drains_too(self):
        with BraidServer(*SMALL) as server:
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.process.wait(30), 0)

    def test_a_port_is_free_again_at_once(self):
        with BraidServer(*SMALL) as first:
            with post(first, long_answer(4)) as reply:
                reply.read()
            http = first.url.removeprefix("http://")
            first.process.kill()  # in mid-life: its sockets linger
            first.process.wait()
            with BraidServer(*SMALL, "--http", http) as second:
                self.assertEqual(second.url, first.url)


if __name__ == "__main__":
    unittest.main()
