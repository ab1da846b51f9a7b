"""ccproxy top: one page as text, and live in a terminal that it gives back as it was."""
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import harness
from harness import each_request, environment, run

STATS_KEY = "sk-of-who-may-see-statistics"


def url_of(proxy):
    host, port = proxy.address
    return f"http://{host}:{port}"


class Terminal:
    """A terminal with `ccproxy top` in it."""

    def __init__(self, *args, columns=100, rows=30, **env):
        self.ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.seen = b""
        self.process = subprocess.Popen([harness.BINARY, "top", *args], stdin=theirs, stdout=theirs,
                                        stderr=subprocess.PIPE, env=environment(env), start_new_session=True)

    def resize(self, columns, rows):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, mark):
        """Reads until mark comes; returns what came before, and forgets all of it."""
        end = time.monotonic() + harness.DEADLINE
        while mark not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], max(end - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"no {mark!r} in {self.seen!r}")
            self.seen += os.read(self.ours, 65536)
        before, self.seen = self.seen.split(mark, 1)
        return before + mark

    def page(self):
        """The next whole page, as lines without colours."""
        self.wait(b"\x1b[H")
        text = self.wait(b"\x1b[J").decode()
        return re.split(r"\r+\n", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text))

    def type(self, keys):
        os.write(self.ours, keys)

    def is_as_before(self):
        return termios.tcgetattr(self.theirs) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.ours)
        os.close(self.theirs)


class Case(harness.TestCase):
    def serve(self, **env):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), **env)
        self.assertEqual(proxy.chat(stream=True).status, 200)
        self.assertEqual(proxy.chat(temperature="warm").status, 400)
        harness.until(lambda: proxy.get("/stats", key=None).json()["windows"]["1m"]["tokens"]["output"] == 5,
                      "the answer to be counted")
        return proxy

    def terminal(self, *args, **kwargs):
        terminal = Terminal(*args, **kwargs)
        self.addCleanup(terminal.close)
        return terminal


class Once(Case):
    def test_a_page(self):
        proxy = self.serve()
        done = run("top", "--once", "--url", url_of(proxy))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for pattern in (r"^ccproxy \d+\.\d+\.\d+  healthy  up \d+ s  1 workers  http://127.0.0.1:\d+  last minute",
                        r"^requests +[\d.]+ /s .* 0 in progress, 0 streams$",
                        r"^output tokens +[\d.]+ /s .* 0 waiting, \d+ connections$",
                        r"^errors +caller 1   policy 0   upstream 0   gateway 0   limits hit 0",
                        r"^answers +p50 \d+ ms ", r"^upstream +connections 0 busy, \d idle   keys 1 of 1$",
                        r"^tester +2 +50.0% +\d+ ms +10 +5 +<?\$0\.\d+ +-$",
                        r"^claude-sonnet-5-5 +1 +- ",
                        r"^caller_invalid_request +1$"):
            self.assertRegex(done.stdout, re.compile(pattern, re.M))
        self.assertNotIn("\x1b", done.stdout)

    def test_where_the_configuration_says(self):
        path = self.directory() / "socket"
        proxy = self.proxy(CCPROXY_HOST=f"unix:{path}")
        done = run("top", CCPROXY_HOST=f"unix:{path}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(f"unix:{path}", done.stdout)
        self.assertEqual(proxy.get("/livez").status, 200)

    def test_a_key(self):
        digest = hashlib.sha256(STATS_KEY.encode()).hexdigest()
        clients = json.dumps({"watcher": {"hash": f"sha256:{digest}", "rights": ["stats"]}})
        proxy = self.proxy(CCPROXY_CLIENTS=clients)
        for key, code, words in ((STATS_KEY, 0, ""), ("wrong-key-of-nobody", 1, "wants a key"),
                                 (harness.KEY, 1, "lacks the right stats")):
            done = run("top", "--once", "--url", url_of(proxy), CCPROXY_TOP_KEY=key)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(words, done.stderr)
            self.assertNotIn(key, done.stdout + done.stderr)

    def test_no_server(self):
        with contextlib.closing(self.upstream(lambda call: call.head(then=b"{}", content_length=2))) as odd:
            done = run("top", "--once", "--url", odd.url)
            self.assertEqual(done.returncode, 0, done.stderr)  # an object, with nothing in it
        done = run("top", "--once", "--url", odd.url)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^ccproxy: http://127.0.0.1:\d+: connection refused\n$")
        self.assertEqual(run("top", "--once", "--url", "gopher://x").returncode, 1)

    def test_words_of_a_stranger(self):
        """A server that is none of ours can put nothing but text into the terminal."""
        body = json.dumps({"version": "1\u001b[2J\u0007\u009b5m", "windows": {"1m": {"clients": [
            {"client": "\r\n\u001b]0;x\u0007", "requests": 1e300, "tokens": [], "cost_usd": "no"}]}}},
                          ensure_ascii=False).encode()
        for text in (body, json.dumps(json.loads(body)).encode()):
            odd = self.upstream(lambda call, text=text: (call.read_request(),
                                                         call.head(then=text, content_length=len(text))))
            done = run("top", "--once", "--url", odd.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("]0;x", done.stdout)
            self.assertFalse(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout), repr(done.stdout))


class Live(Case):
    def test_it_refreshes_and_quits(self):
        proxy = self.serve()
        terminal = self.terminal("--url", url_of(proxy))
        self.assertIn("last minute", terminal.page()[0])
        self.assertFalse(terminal.is_as_before())
        self.assertEqual(proxy.chat(temperature="warm").status, 400)
        harness.until(lambda: "caller 2 " in "".join(terminal.page()), "the second error on the page")
        terminal.type(b"w")
        self.assertIn("last 5 minutes", terminal.page()[0])
        terminal.type(b"q")
        terminal.wait(b"\x1b[?1049l")
        self.assertEqual(terminal.process.wait(harness.DEADLINE), 0)
        self.assertTrue(terminal.is_as_before())
        self.assertEqual(terminal.process.stderr.read(), b"")

    def test_it_fits(self):
        proxy = self.serve()
        terminal = self.terminal("--url", url_of(proxy), columns=60, rows=9)
        page = terminal.page()
        self.assertEqual(len(page), 9)
        self.assertEqual(max(map(len, page)), 60, page)
        terminal.resize(130, 40)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        harness.until(lambda: any("caller_invalid_request" in line for line in terminal.page()), "more rows")

    def test_a_server_that_goes_and_comes(self):
        upstream = self.upstream(each_request(lambda call: call.answer()))
        path = self.directory() / "socket"
        proxy = harness.Proxy(upstream, CCPROXY_HOST=f"unix:{path}")
        terminal = self.terminal("--url", f"unix:{path}")
        try:
            self.assertIn("ccproxy", terminal.page()[0])
        finally:
            self.assertEqual(proxy.stop(), 0)
        harness.until(lambda: "unix:" in terminal.page()[0], "the trouble")
        self.proxy(upstream, CCPROXY_HOST=f"unix:{path}")
        harness.until(lambda: terminal.page()[0].startswith("ccproxy "), "the server again")

    def test_the_terminal_is_given_back(self):
        proxy = self.serve()
        for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0),
                             (signal.SIGABRT, -signal.SIGABRT), (signal.SIGSEGV, -signal.SIGSEGV)):
            terminal = self.terminal("--url", url_of(proxy))
            terminal.page()
            os.kill(terminal.process.pid, number)
            terminal.wait(b"\x1b[?1049l")
            self.assertEqual(terminal.process.wait(harness.DEADLINE), code, number)
            self.assertTrue(terminal.is_as_before(), number)

    def test_set_aside(self):
        proxy = self.serve()
        terminal = self.terminal("--url", url_of(proxy))
        terminal.page()
        os.kill(terminal.process.pid, signal.SIGTSTP)
        terminal.wait(b"\x1b[?1049l")
        _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        self.assertTrue(terminal.is_as_before())
        os.kill(terminal.process.pid, signal.SIGCONT)
        self.assertIn("ccproxy", terminal.page()[0])
        self.assertFalse(terminal.is_as_before())
