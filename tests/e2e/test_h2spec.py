"""h2spec, unmodified and in strict mode: every case of it, without TLS and over it."""
import pathlib
import subprocess
import unittest
import xml.etree.ElementTree

import harness
from harness import DEADLINE, each_request
from test_upstream_tls import Authority

H2SPEC = pathlib.Path(__file__).parents[2] / "build" / "clients" / "h2spec"
CASES = 146  # of 2.2.0


@unittest.skipUnless(H2SPEC.exists(), "tests/e2e/clients/install.sh could not get it")
class Strict(harness.TestCase):
    def check(self, *options, **settings):
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer())), **settings)
        report = self.directory() / "report.xml"
        host, port = proxy.address
        done = subprocess.run([H2SPEC, "--strict", "--host", host, "--port", str(port), "--path", "/livez",
                               "--timeout", str(int(DEADLINE)), "--junit-report", report, *options],
                              capture_output=True, text=True)
        cases = [(suite.get("package"), case) for suite in xml.etree.ElementTree.parse(report).getroot()
                 for case in suite.iter("testcase")]
        bad = [f"{package}: {case.get('classname')}: {''.join(case.itertext())}" for package, case in cases if len(case)]
        self.assertEqual((bad, len(cases), done.returncode), ([], CASES, 0), done.stderr)
        self.assertEqual(proxy.stop(), 0)

    def test_without_tls(self):
        self.check()

    def test_over_tls(self):
        cert, key = Authority(self.directory(), "ours").issue("local", "IP:127.0.0.1")
        self.check("--tls", "--insecure", CCPROXY_TLS_CERT=cert, CCPROXY_TLS_KEY=key)
