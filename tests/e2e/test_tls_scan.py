"""What testssl.sh and sslscan find: nothing.

testssl.sh runs those of its sections that judge: protocols, suites, key exchange, preferences, the certificate,
headers and the known attacks. What is left out only lists, again and slower: each of 370 suites by itself, and what some fifty
clients would choose. The authority is given to it, so the chain is judged too. A public one would also name where its
certificates are revoked, so this one does. DNS is left alone: a name of a test has no CAA record.
"""
import json
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

import harness
from test_upstream_tls import Authority

# testssl.sh misses the GOST engine of its own OpenSSL; and it hangs up right behind a handshake of TLS 1.3, so by chance it has
# no ticket yet and says that it could not look: test_tls.Sessions does.
NOT_THE_SERVERS = {"engine_problem", "sessionresumption_ticket", "sessionresumption_ID"}
AEAD = r"ECDHE-(ECDSA|RSA)-(AES128-GCM-SHA256|AES256-GCM-SHA384|CHACHA20-POLY1305)"
OF_1_3 = r"TLS_(AES_128_GCM_SHA256|AES_256_GCM_SHA384|CHACHA20_POLY1305_SHA256)"


class Case(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = tempfile.mkdtemp(prefix="ccproxy-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.files)
        cls.ca = Authority(cls.files, "ours")
        pairs = [cls.ca.issue(f"local-{rsa}", "DNS:localhost,IP:127.0.0.1", days="90", rsa=rsa,
                              extensions=["crlDistributionPoints=URI:http://crl.test/ours.crl"])
                 for rsa in (False, True)]
        cls.proxy = cls.shared_proxy(None, CCPROXY_TLS_PROFILE=cls.profile, CCPROXY_TLS_CERT=",".join(p[0] for p in pairs),
                                     CCPROXY_TLS_KEY=",".join(p[1] for p in pairs))
        cls.target = f"localhost:{cls.proxy.address[1]}"

    def scan(self):
        """What sslscan says, as its XML."""
        xml_file = f"{self.files}/sslscan.xml"
        done = subprocess.run(["sslscan", "--show-sigs", f"--xml={xml_file}", "--no-colour", self.target], text=True,
                              capture_output=True, timeout=harness.DEADLINE, check=True)
        test = xml.etree.ElementTree.parse(xml_file).find("ssltest")
        self.assertIn("Server supports TLS Fallback SCSV", done.stdout)
        return test

    def check_sslscan(self, versions, suites):
        test = self.scan()
        spoken = {f"{p.get('type').upper()}v{p.get('version')}" for p in test.iter("protocol") if p.get("enabled") == "1"}
        self.assertEqual(spoken, versions)
        ciphers = list(test.iter("cipher"))
        self.assertGreaterEqual(len(ciphers), 3)
        for cipher in ciphers:
            self.assertRegex(cipher.get("cipher"), f"^({suites})$")
            self.assertIn(cipher.get("strength"), ("strong", "acceptable"))
        self.assertEqual({p.get("vulnerable") for p in test.iter("heartbleed")}, {"0"})
        self.assertEqual([p.get("supported") for p in test.iter("renegotiation")], ["0"])
        groups = {g.get("name") for g in test.iter("group")}
        self.assertLessEqual({re.sub(r" .*", "", g) for g in groups}, {"x25519", "secp256r1", "secp384r1"})

    def check_testssl(self):
        found = f"{self.files}/testssl.json"
        subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", found, "--add-ca",
                        self.ca.pem, "-n", "none", "-p", "-s", "-f", "-P", "-S", "-h", "-U", self.target],
                       stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=250, check=False)
        with open(found) as f:
            findings = json.load(f)
        self.assertGreater(len(findings), 80)  # it has looked, and to the end
        self.assertIn("scanTime", [f["id"] for f in findings])
        self.assertEqual([f for f in findings if f["severity"] not in ("OK", "INFO") and f["id"] not in NOT_THE_SERVERS],
                         [])
        said = {f["id"]: f["finding"] for f in findings}
        self.assertEqual(said["heartbleed"].split(",")[0], "not vulnerable")
        return said


class Intermediate(Case):
    profile = "intermediate"

    def test_sslscan(self):
        self.check_sslscan({"TLSv1.2", "TLSv1.3"}, f"{AEAD}|{OF_1_3}")

    def test_testssl(self):
        self.assertIn("offered", self.check_testssl()["TLS1_2"])


class Modern(Case):
    profile = "modern"

    def test_sslscan(self):
        self.check_sslscan({"TLSv1.3"}, OF_1_3)

    def test_testssl(self):
        self.assertEqual(self.check_testssl()["TLS1_2"], "not offered")
