"""The shipped Grafana dashboards: what Grafana wants of their structure, and that every expression in them has
data in a Prometheus that scrapes two nodes to which everything happens that they show."""
import concurrent.futures
import contextlib
import hashlib
import importlib.util
import json
import math
import pathlib
import re
import tempfile
import threading

import harness
from harness import KEY, until
from test_prometheus import KEY_OF_OPS, Prometheus
from test_upstream_tls import Authority

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
KEY_OF_FEW, KEY_OF_ONE = "sk-of-a-client-with-a-limit", "sk-of-a-client-that-waits"


def generator():
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "tools" / "dashboards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expressions():
    """Of all panels, without the zeros that stand in for counters that have not counted yet."""
    for path in FILES:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"].replace(" or vector(0)", "")


class Files(harness.TestCase):
    def test_up_to_date(self):
        with tempfile.TemporaryDirectory() as directory:
            generator().main(directory)
            made = {path.name: path.read_text() for path in pathlib.Path(directory).iterdir()}
        self.assertEqual({path.name: path.read_text() for path in FILES}, made)

    def test_structure(self):
        boards = [json.loads(path.read_text()) for path in FILES]
        self.assertEqual(len({board["uid"] for board in boards}), 5)
        for board in boards:
            panels, cells = board["panels"], set()
            self.assertGreaterEqual(board["schemaVersion"], 36)
            self.assertEqual([v["name"] for v in board["templating"]["list"]], ["datasource", "instance"])
            self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
            for panel in panels:
                self.assertTrue(panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"])
                at = panel["gridPos"]
                self.assertLessEqual(at["x"] + at["w"], 24)
                mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertFalse(cells & mine, f"{board['title']}: {panel['title']} covers another panel")
                cells |= mine
                self.assertEqual(len({t["refId"] for t in panel["targets"]}), len(panel["targets"]))
                for target in panel["targets"]:
                    self.assertEqual(target["datasource"], {"type": "prometheus", "uid": "${datasource}"})
                    self.assertNotRegex(target["expr"], r'ccproxy_\w+\b(?!\{instance=~"\$instance")')


class Live(harness.TestCase):
    """Everything that the dashboards show happens, again and again."""

    def node(self):
        """A node, and two semaphores: a held request has arrived upstream; it may be answered."""
        arrived, release = threading.Semaphore(0), threading.Semaphore(0)

        def script(call):
            while True:
                call.read_request()
                if b"overloaded" in call.body:
                    call.error(529, "overloaded_error", "no")
                elif b"endless" in call.body:
                    call.wait_closed()
                elif b"held" in call.body:
                    arrived.release()
                    release.acquire(timeout=harness.DEADLINE)
                    call.answer()
                else:
                    call.start()
                    for event in (harness.message_start(cache_read_input_tokens=5000), harness.text_start(),
                                  harness.text_delta("a"), harness.text_delta("b"), harness.block_stop(),
                                  harness.message_delta(), harness.MESSAGE_STOP):
                        call.event(event)
                    call.end()

        clients = {"ops": {"hash": "sha256:" + hashlib.sha256(KEY_OF_OPS.encode()).hexdigest(), "rights": ["metrics"]},
                   "few": {"rpm": 1}, "one": {"concurrent_requests": 1, "tokens_per_day": 1000000}}
        cert, key = Authority(self.directory(), "ours").issue("node", "DNS:node.test")
        return self.proxy(self.upstream(script), CCPROXY_RETRIES=1, CCPROXY_TOTAL_TIMEOUT="2s", CCPROXY_QUEUE_TIMEOUT="1s",
                          CCPROXY_LISTEN="127.0.0.1:0", CCPROXY_TLS_CERT=cert, CCPROXY_TLS_KEY=key,
                          CCPROXY_API_KEYS=f"tester:{KEY},few:{KEY_OF_FEW},one:{KEY_OF_ONE}",
                          CCPROXY_CLIENTS=json.dumps(clients)), arrived, release

    @staticmethod
    def everything(node, arrived, release):
        """What happens to a node."""
        def ask(client, key, prompt):
            client.request("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": [
                {"role": "user", "content": prompt}]}, key=key)

        def limited():
            with contextlib.closing(node.client()) as client:
                ask(client, KEY_OF_FEW, "hello")
                client.response()

        def waits():
            """Requests that wait, and that have waited."""
            page = node.get("/metrics", key=None).body.decode()
            return sum(int(n) for n in re.findall(r"(?m)^ccproxy_queue(?:d_requests|_wait_seconds_count) (\d+)$", page))

        def one_waits():
            before = waits()
            with contextlib.closing(node.client()) as first, contextlib.closing(node.client()) as second:
                ask(first, KEY_OF_ONE, "held")
                arrived.acquire(timeout=harness.DEADLINE)
                ask(second, KEY_OF_ONE, "hello")
                until(lambda: waits() > before, "the second to wait")
                release.release()
                first.response()
                second.response()

        return [lambda: node.chat(stream=True), lambda: node.chat("overloaded"), lambda: node.chat("endless"),
                lambda: node.chat(temperature="warm"), lambda: node.get("/v1/models", key="wrong"),
                limited, one_waits]

    def has_data(self, prometheus, expression):
        for variable, value in (("$__rate_interval", "10s"), ("$__range", "1m"), ("$instance", "127.0.0.1:.*")):
            expression = expression.replace(variable, value)
        data = prometheus.get("query", query=expression)
        return data and any(math.isfinite(float(sample["value"][1])) for sample in data["result"])

    def test_every_expression_has_data(self):
        over, nodes = threading.Event(), [self.node() for _ in range(2)]
        prometheus = Prometheus(self.directory(), [node.text_address for node, *_ in nodes])
        self.addCleanup(prometheus.stop)

        def again(what):
            while not over.wait(0.05):
                what()

        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            busy = [pool.submit(again, what) for node in nodes for what in self.everything(*node)]
            try:
                for panel, expression in expressions():
                    until(lambda e=expression: self.has_data(prometheus, e), f"data of {panel}: {expression}")
            finally:
                over.set()
            for work in busy:
                work.result()
