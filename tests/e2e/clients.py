"""What the tests of real client libraries share: the libraries, and the product's own simulator.

    openai, langchain, ... --->  ccproxy  --->  ccproxy simulate --control

The libraries are where clients.sh put them; where it could not, their tests are skipped. The simulator
answers by itself; what it should do otherwise is queued beforehand (src/sim/sim_script.h).
"""
import json
import os
import signal
import site
import subprocess
import sys
import unittest
import urllib.request

import harness

LIBRARIES = harness.ROOT / "build" / "clients"
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJg"
         "gg==")  # a PNG of 70 bytes
PIXEL_BYTES = 70


def use_python_libraries():
    """Makes them importable; skips when they are not there for this Python."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = LIBRARIES / "venv" / "lib" / version / "site-packages"
    if not (LIBRARIES / "venv" / "installed").exists() or not path.is_dir():
        raise unittest.SkipTest("first: tests/e2e/clients.sh")
    if str(path) not in sys.path:
        site.addsitedir(str(path))
    for name in list(os.environ):  # settings of the libraries, and proxies
        if name.startswith(("OPENAI_", "LANGCHAIN_", "LANGSMITH_")) or name.lower().endswith("_proxy"):
            del os.environ[name]


class Simulator:
    """A running `ccproxy simulate --control`."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [harness.BINARY, "simulate", "--host", "127.0.0.1", "--port", "0", "--control", *options],
            env=harness.environment({}), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        self.url = None
        for line in self.process.stderr:
            said = json.loads(line)
            if said.get("event") == "ready":
                self.url = "http://" + said["address"]
                break
        if not self.url:
            raise AssertionError("the simulator did not start")
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        with self.opener.open(request, timeout=harness.DEADLINE) as answer:
            return json.load(answer)

    def script(self, *answers):
        self.ask("POST", "/_sim/script", {"answers": answers})

    def forget(self):
        self.ask("DELETE", "/_sim/script")
        self.ask("DELETE", "/_sim/requests")

    @property
    def calls(self):
        """The calls that have come since forget()."""
        return [r for r in self.ask("GET", "/_sim/requests") if r["path"] == "/v1/messages"]

    @property
    def state(self):
        return self.ask("GET", "/_sim/state")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        said = self.process.stderr.read().decode(errors="replace")
        code = self.process.wait(harness.DEADLINE)
        self.process.stderr.close()
        if code != 0 or "Sanitizer" in said or "assertion failed" in said:
            raise AssertionError(f"simulator: exit code {code}; log:\n{said}")


class TestCase(harness.TestCase):
    """A simulator and a proxy for all tests of a class. The proxy does not try again by itself, so that
    what the libraries do can be counted."""

    ENV = {"CCPROXY_RETRIES": "0"}

    @classmethod
    def setUpClass(cls):
        cls.sim = Simulator()
        cls.addClassCleanup(cls.sim.stop)
        cls.server = cls.shared_proxy(cls.sim.url, **cls.ENV)
        cls.origin = f"http://{cls.server.text_address}"
        cls.url = cls.origin + "/v1"

    def setUp(self):
        self.sim.forget()
        self.aborted = self.sim.state["aborted"]

    def assert_cancelled(self):
        """A call has been given up since the test began."""
        harness.until(lambda: self.sim.state["aborted"] > self.aborted, "the upstream call is cancelled")


def failing(status, kind, message="scripted", **headers):
    """A scripted refusal."""
    answer = {"status": status, "body": {"type": "error", "error": {"type": kind, "message": message}}}
    if headers:
        answer["headers"] = {"content-type": "application/json",
                             **{k.replace("_", "-"): str(v) for k, v in headers.items()}}
    return answer


def begun(*more):
    """The events of an answer that says "one two" and has not ended."""
    return [harness.message_start(), harness.text_start(), harness.text_delta("one "),
            harness.text_delta("two"), *more]


def hanging():
    """A stream that stays open in the middle."""
    return {"events": begun(), "keep_open": True}
