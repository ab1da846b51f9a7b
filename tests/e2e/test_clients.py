"""The official clients, from their packages and unmodified: each program in clients/ is run once against
a proxy with the simulator behind it, and each of its tests is a test here."""
import json
import os
import pathlib
import re
import subprocess
import threading

import harness

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = HERE / "clients"
INSTALLED = HERE.parent.parent / "build" / "clients"


# Clients of their own for those who try what happens at a limit.
LIMITED = {"waits": {"tpm": 6000}, "spent": {"tokens_per_day": 100}}
SETTINGS = {"CCPROXY_CLIENTS": json.dumps(LIMITED),
            "CCPROXY_API_KEYS": ",".join([f"tester:{harness.KEY}", *(f"{name}:sk-{name}-0123456789" for name in LIMITED)])}


class Simulator:
    def __init__(self):
        self.process = subprocess.Popen([harness.BINARY, "simulate", "--control"], text=True,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.url = "http://" + json.loads(self.process.stderr.readline())["address"]
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()


def command(program):
    if program.suffix == ".py":
        return [INSTALLED / "venv/bin/python", program]
    # node looks for packages beside the file that imports them
    there = INSTALLED / "node" / program.name
    for name in (program.name, "common.mjs"):
        (INSTALLED / "node" / name).write_text((PROGRAMS / name).read_text())
    return ["node", there]


class Clients(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        simulator = Simulator()
        cls.addClassCleanup(simulator.close)
        proxy = harness.Proxy(simulator.url, CCPROXY_REFRESH_MODELS="true", **SETTINGS)
        cls.addClassCleanup(cls._stop_class, proxy)
        env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"),
               "CCPROXY_URL": "http://" + proxy.text_address, "CCPROXY_KEY": harness.KEY,
               "SIM_URL": simulator.url, "LANGSMITH_TRACING": "false"}
        done = subprocess.run([str(c) for c in command(cls.program)], env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200)
        cls.output = done.stdout

    @classmethod
    def _stop_class(cls, proxy):
        code = proxy.stop()
        text = proxy.raw.decode(errors="replace")
        if code or "Sanitizer" in text or "assertion failed" in text:
            raise AssertionError(text)

    def check(self, name):
        for line in self.output.splitlines():
            if line == f"ok {name}":
                return
            if line.startswith(f"not ok {name}:"):
                self.fail(line)
        self.fail(f"{name} did not run:\n{self.output}")


def make_class(program):
    names = re.findall(r"^\s*(?:async )?(?:def )?(test_\w+)\(", program.read_text(), re.M)
    tests = {name: (lambda self, name=name: self.check(name)) for name in dict.fromkeys(names)}
    return type(program.stem, (Clients,), {"program": program, **tests})


for path in sorted([*PROGRAMS.glob("*_python.py"), *PROGRAMS.glob("*.mjs")]):
    if path.stem != "common":
        globals()[path.stem] = make_class(path)
del Clients
