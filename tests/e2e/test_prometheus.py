"""The shipped Prometheus configuration and alerts: checked by promtool, and run by a real Prometheus that scrapes two
nodes under load."""
import hashlib
import json
import pathlib
import re
import subprocess
import threading
import urllib.parse
import urllib.request

import harness
from harness import free_port, until

DEPLOY = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "prometheus"
KEY_OF_OPS = "key-of-operators-0123456789"


def promtool(*args):
    done = subprocess.run(["promtool", *map(str, args)], cwd=DEPLOY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.returncode, done.stdout


class Files(harness.TestCase):
    def test_checked(self):
        for args in (("check", "config", "--syntax-only", "prometheus.yml"), ("check", "rules", "alerts.yml"),
                     ("test", "rules", "alerts_test.yml")):
            code, text = promtool(*args)
            self.assertEqual(code, 0, text)

    def test_every_alert_is_tested_and_described(self):
        alerts = re.findall(r"alert: (\w+)", (DEPLOY / "alerts.yml").read_text())
        tested = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", (DEPLOY / "alerts_test.yml").read_text()))
        manual = (DEPLOY.parent.parent / "docs" / "operations.md").read_text()
        self.assertEqual(set(alerts), tested)
        for alert in alerts:
            self.assertIn(f"`{alert}`", manual)

    def test_every_metric_exists(self):
        page = self.proxy(None).get("/metrics", key=None).body.decode()
        names = set(re.findall(r"^# TYPE (\w+)", page, re.M))
        used = {re.sub(r"_(bucket|sum|count)$", "", name)
                for name in re.findall(r"\bccproxy_\w+", (DEPLOY / "alerts.yml").read_text())}
        self.assertEqual(used - names, set())


class Prometheus:
    """The shipped files, hurried: seconds where they say minutes."""

    def __init__(self, directory, targets):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = (DEPLOY / "prometheus.yml").read_text()
        config = re.sub(r"15s", "200ms", config)
        config = re.sub(r"targets: .*", f"targets: {json.dumps(targets)}", config)
        config = config.replace("/etc/prometheus/ccproxy.key", str(directory / "key"))
        alerts = re.sub(r"\[\d+m\]", "[3s]", (DEPLOY / "alerts.yml").read_text())
        alerts = re.sub(r"for: \d+m", "for: 400ms", alerts)
        (directory / "prometheus.yml").write_text(config)
        (directory / "alerts.yml").write_text(alerts)
        (directory / "key").write_text(KEY_OF_OPS)
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(self, path, **query):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value(self, expression):
        data = self.get("query", query=expression)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None

    def firing(self):
        data = self.get("alerts")
        return {a["labels"]["alertname"] for a in (data or {"alerts": []})["alerts"] if a["state"] == "firing"}

    def stop(self):
        self.process.kill()
        self.process.wait()


class Live(harness.TestCase):
    def test_two_nodes_under_load(self):
        failing, over = threading.Event(), threading.Event()
        lock, seen = threading.Lock(), {200: 0, 503: 0}

        def script(call):
            while True:
                call.read_request()
                if failing.is_set():
                    call.error(529, "overloaded_error", "no")
                else:
                    call.answer()

        def ask():
            while not over.is_set():
                for node in nodes:
                    status = node.chat().status
                    with lock:
                        seen[status] += 1
                over.wait(0.02)

        env = {"CCPROXY_RETRIES": 0, "CCPROXY_CLIENTS": json.dumps({"ops": {
            "hash": "sha256:" + hashlib.sha256(KEY_OF_OPS.encode()).hexdigest(), "rights": ["metrics"]}})}
        nodes = [self.proxy(self.upstream(script), **env) for _ in range(2)]
        prometheus = Prometheus(self.directory(), [node.text_address for node in nodes])
        self.addCleanup(prometheus.stop)
        until(lambda: prometheus.value('sum(up{job="ccproxy"})') == 2, "both nodes to be scraped")
        worker = threading.Thread(target=ask)
        worker.start()
        try:
            until(lambda: (prometheus.value("sum(ccproxy_requests_total)") or 0) > 20, "some traffic")
            self.assertEqual(prometheus.firing(), set())
            failing.set()
            until(lambda: {"HighErrorRate", "UpstreamOverloaded"} <= prometheus.firing(), "the alerts to fire")
            failing.clear()
            until(lambda: not prometheus.firing(), "the alerts to clear")
        finally:
            over.set()
            worker.join()
        for status, n in seen.items():
            until(lambda: prometheus.value(f'sum(ccproxy_requests_total{{endpoint="/chat/completions",status="{status}"}})')
                  == n, f"what clients saw of {status}: {n}")
        nodes[1].stop()
        until(lambda: prometheus.firing() == {"NodeDown"}, "a node that is gone to be told of")
