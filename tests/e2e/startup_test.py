"""What `braid serve` says before it serves: flags, their order, and refusals,
each of which is exit code 2 with one line that names what to do."""
import pathlib
import shutil
import socket
import struct
import tempfile
import unittest

from braid_server import MODEL, BraidServer, run_braid

FREE = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")


def gguf(architecture):
    """A GGUF file with nothing in it but its architecture."""
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()
    return (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("general.architecture") +
            struct.pack("<I", 8) + text(architecture) + bytes(64))


class Refusals(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def refused(self, *args, says, env=None):
        code, out, err = run_braid("serve", *args, env=env)
        self.assertEqual((code, out), (2, ""), (args, err))
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("braid: "), err)
        for words in says:
            self.assertIn(words, err)

    def test_flags(self):
        for args, says in (
                (["--bogus"], ["--bogus", "--help"]),
                (["extra"], ["extra", "--help"]),
                (["--api-key"], ["--api-key"]),
                (["--http", "8000"], ["--http", "HOST:PORT"]),
                (["--http", "localhost:99999"], ["--http", "HOST:PORT"]),
                (["--grpc", "x"], ["--grpc", "HOST:PORT"]),
                (["--max-body-bytes", "0"], ["--max-body-bytes"]),
                (["--max-body-bytes", "big"], ["--max-body-bytes", "512MiB"]),
                (["--max-connections", "0"], ["--max-connections", "1"]),
                (["--drain-timeout", "-1"], ["--drain-timeout"]),
                (["--devices", "gpu"], ["--devices", "prefill=cpu:0"]),
                (["--devices", "cpu:4095"], ["--devices", "4095"]),
                (["--split", "maybe"], ["--split", "auto"]),
                (["--cpu-isa", "z80"], ["--cpu-isa", "avx2"]),
                (["--kv-transport", "pigeon"], ["--kv-transport", "loopback"]),
                (["--kv-memory", "lots"], ["--kv-memory", "2GiB"]),
                (["--max-context", "0"], ["--max-context"]),
                (["--max-context", "9000"], ["--max-context", "8192"]),
                (["--default-max-tokens", "0"], ["--default-max-tokens"]),
                (["--max-running", "0"], ["--max-running"]),
                (["--max-queued", "x"], ["--max-queued"]),
                (["--prefill-chunk", "513"], ["--prefill-chunk", "512"])):
            self.refused(*args, says=says)
        self.refused("--config", "/nowhere", says=["/nowhere"])
        self.refused(says=["--split"], env={"BRAID_SPLIT": "maybe"})

    def test_config_files(self):
        for text, says in (("splitt=on\n", ["splitt"]), ("split=maybe\n", ["split"])):
            config = self.folder / "config"
            config.write_text(text)
            self.refused("--config", str(config), says=says)

    def test_memory(self):
        self.refused(*FREE, "--kv-memory", "1KiB", says=["--kv-memory to at least"])
        self.refused(*FREE, "--kv-memory", "1000TiB",
                     says=["1000 TiB", "lower --kv-memory"])
        self.refused(*FREE, "--kv-memory", "8MiB", "--max-context", "8192",
                     says=["--max-context", "--kv-memory"])

    def test_models(self):
        def refused(path, *says):
            self.refused(*FREE, "--model", str(path), says=["--model", *says])
        refused("/nowhere.gguf", "No such file")
        refused(self.folder, "config.json")
        self.refused(says=["deploy/quickstart.sh"],
                     env={"XDG_CACHE_HOME": str(self.folder)})
        cut = self.folder / "cut.gguf"
        shutil.copyfile(MODEL, cut)
        for size in (MODEL.stat().st_size - 1, 1_000_000, 100, 0):
            with open(cut, "r+b") as file:
                file.truncate(size)
            refused(cut, "deploy/quickstart.sh fetches one")
        other = self.folder / "other.gguf"
        other.write_bytes(gguf("mamba"))
        refused(other, "mamba", "llama")
        noise = self.folder / "noise.gguf"
        noise.write_bytes(bytes(range(256)) * 40)
        refused(noise, "GGUF")

    def test_ports_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.refused("--http", address, "--grpc", "127.0.0.1:0",
                         says=["--http " + address, "in use"])
            self.refused("--http", "127.0.0.1:0", "--grpc", address,
                         says=["--grpc " + address, "in use"])
        with BraidServer("--kv-memory", "256MiB") as server:
            http = server.url.removeprefix("http://")
            self.refused("--http", http, "--grpc", "127.0.0.1:0",
                         says=["--http " + http, "in use"])
            self.refused("--http", "127.0.0.1:0", "--grpc", server.grpc,
                         says=["--grpc " + server.grpc, "in use"])
        # From the documentation's block of addresses: of no machine.
        self.refused("--http", "192.0.2.1:80", says=["--http 192.0.2.1:80"])
        self.refused("--http", "127.0.0.1:0", "--grpc", "192.0.2.1:80",
                     says=["--grpc 192.0.2.1:80"])
        self.refused("--http", "no-such-host.invalid:80", says=["--http"])


class Values(unittest.TestCase):
    def printed(self, *args, env=None):
        code, out, err = run_braid("serve", "--print-config", *args, env=env)
        self.assertEqual((code, err), (0, ""))
        return out

    def test_a_flag_beats_the_environment_which_beats_the_file(self):
        with tempfile.NamedTemporaryFile("w") as config:
            config.write('split="on"\nmax-queued=11\nprefill-chunk=64\n')
            config.flush()
            out = self.printed("--split", "off", "--config", config.name,
                               env={"BRAID_SPLIT": "auto", "BRAID_MAX_QUEUED": "22"})
            self.assertIn('split="off"\n', out)
            self.assertIn("max-queued=22\n", out)
            self.assertIn("prefill-chunk=64\n", out)
            self.assertIn("prefill-chunk=64\n",
                          self.printed(env={"BRAID_CONFIG": config.name}))

    def test_what_is_printed_is_a_config_file(self):
        flags = ("--kv-memory", "1GiB", "--split", "on", "--kv-transport", "copy",
                 "--no-prefix-cache", "--no-lend-cores", "--http", "[::1]:9000",
                 "--max-context", "4096", "--drain-timeout", "7", "--model-name",
                 'a "name"', "--default-max-tokens", "5", "--max-running", "3")
        out = self.printed(*flags)
        for line in ("no-prefix-cache=true", 'http="[::1]:9000"', "max-context=4096",
                     "default-max-tokens=5"):
            self.assertIn(line + "\n", out)
        with tempfile.NamedTemporaryFile("w") as config:
            config.write(out)
            config.flush()
            self.assertEqual(self.printed("--config", config.name), out)

    def test_a_key_is_not_shown(self):
        self.assertNotIn("secret", self.printed("--api-key", "secret"))

    def test_help(self):
        code, out, err = run_braid("serve", "--help")
        self.assertEqual((code, err), (0, ""))
        for group in ("Model:", "Endpoints:", "Devices:", "KV cache:", "Scheduling:",
                      "Configuration:", "BRAID_KV_MEMORY", "Exit codes:"):
            self.assertIn(group, out)
        # Every value that is printed has its flag.
        for line in self.printed("--kv-memory", "1GiB").splitlines():
            self.assertIn("--" + line.split("=")[0], out)
        self.assertEqual(run_braid("--help")[0], 0)
        self.assertEqual(run_braid()[0], 2)
        self.assertEqual(run_braid("dance")[0], 2)
        self.assertRegex(run_braid("--version")[1], r"^braid \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    unittest.main()
