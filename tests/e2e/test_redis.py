"""Limits that nodes share through a real redis-server: together they admit what one would; without it
they go on, and say so."""
import json
import os
import signal
import subprocess
import threading

import harness
from test_upstream_tls import Authority
from harness import message_delta, message_start, text_delta, text_start

USED = [message_start(input_tokens=100), text_start(), text_delta("a"), harness.block_stop(),
        message_delta(output=50), harness.MESSAGE_STOP]


class Redis:
    def __init__(self, directory, *options):
        self.directory, self.options = directory, options
        self.port = harness.free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--dir", self.directory, "--save", "",
             "--unixsocket", f"{self.directory}/redis.sock", "--unixsocketperm", "777", *self.options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if "Ready to accept connections" in line:
                break
        else:
            raise AssertionError(f"redis-server does not start on port {self.port}")
        threading.Thread(target=self.read_on, args=[self.process.stdout], daemon=True).start()

    @staticmethod
    def read_on(output):
        with output:
            for _ in output:
                pass

    def call(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True,
                              check=True).stdout.strip()

    def stop(self):
        self.process.kill()
        self.process.wait()


class Shared(harness.TestCase):
    def setUp(self):
        directory = self.directory()
        os.chmod(directory, 0o755)
        self.redis = Redis(directory)
        self.addCleanup(self.redis.stop)
        self.up = self.upstream(harness.each_request(lambda call: call.answer(USED)))

    def node(self, **env):
        settings = {"CCPROXY_REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/2",
                    "CCPROXY_REDIS_TIMEOUT": "500ms", **env}
        proxy = self.proxy(self.up, **settings)
        if settings["CCPROXY_REDIS_URL"]:
            proxy.wait_log("redis is there, limits hold across nodes", int(env.get("CCPROXY_WORKERS", 1)))
        return proxy

    def test_together_they_admit_what_one_would(self):
        nodes = [self.node(CCPROXY_RATE_LIMIT_RPM=20, CCPROXY_WORKERS=2) for _ in range(2)]
        status = [nodes[i % 2].chat().status for i in range(30)]
        self.assertEqual(status, [200] * 20 + [429] * 10)
        response = nodes[0].chat()
        self.assert_error(response, 429, "rate_limit_exceeded", "requests")
        self.assertEqual((response.fields["x-ratelimit-limit-requests"],
                          response.fields["x-ratelimit-remaining-requests"]), ("20", "0"))
        self.assertTrue(0 < int(response.fields["retry-after-ms"]) <= 3000)

    def test_a_model_of_its_own(self):
        nodes = [self.node(CCPROXY_MODEL_LIMITS='{"gpt-4o": {"rpm": 3}}') for _ in range(2)]
        self.assertEqual([nodes[i % 2].chat(model="gpt-4o").status for i in range(5)], [200] * 3 + [429] * 2)
        self.assertEqual(nodes[0].chat(model="claude-haiku-4-5").status, 200)

    def test_what_is_left_over_all_nodes_lowers_the_bound(self):
        nodes = [self.node(CCPROXY_RATE_LIMIT_TPM=5000, CCPROXY_RESERVE="lower") for _ in range(2)]
        gate = threading.Event()
        self.up.script = harness.held(gate, USED)
        client = nodes[0].client()
        client.stream(max_tokens=3000)  # open, so that all of it is held
        self.up.script = harness.each_request(lambda call: call.answer(USED))
        response = nodes[1].chat(max_tokens=4000, stream=True)
        sent = json.loads(self.up.requests[-1])["max_tokens"]
        self.assertEqual(response.fields["x-ccproxy-max-tokens"], str(sent))
        self.assertTrue(1900 < sent < 4000, sent)
        gate.set()

    def test_tokens_are_settled_there(self):
        nodes = [self.node(CCPROXY_RATE_LIMIT_TPM=1000) for _ in range(2)]
        left = []
        for i in range(3):
            response = nodes[i % 2].chat(max_tokens=500, stream=True)
            nodes[i % 2].ended(i // 2 + 1)
            left.append(int(response.fields["x-ratelimit-remaining-tokens"]))
        for i, n in enumerate(left):
            self.assertTrue(1000 - 150 * i - 560 < n <= 1000 - 150 * i - 490, left)

    def test_at_a_time_over_nodes(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up = self.upstream(harness.held(gate, USED))
        nodes = [self.node(CCPROXY_CONCURRENT_REQUESTS=2) for _ in range(2)]
        clients = [node.client() for node in nodes]
        for client in clients:
            client.stream()
        self.assertEqual([node.chat().status for node in nodes], [429, 429])
        clients[0].close()
        nodes[0].ended(ending="CLIENT_GONE")
        gate.set()
        self.assertEqual(nodes[1].chat().status, 200)

    def test_without_it_each_node_goes_on(self):
        node = self.node(CCPROXY_RATE_LIMIT_RPM=5)
        self.assertEqual(node.get("/health").json()["checks"]["rate_limiter"], True)
        self.redis.stop()
        node.wait_log("redis is away")
        self.assertEqual([node.chat().status for _ in range(7)], [200] * 5 + [429] * 2)
        health = node.get("/health")
        self.assertEqual((health.status, health.json()["status"], health.json()["checks"]["rate_limiter"]),
                         (200, "degraded", False))
        self.redis.start()
        node.wait_log("redis is there, limits hold across nodes", 2)  # by itself
        self.assertEqual(node.chat().status, 200)
        self.assertEqual(node.get("/health").json()["status"], "healthy")

    def test_closed_and_open(self):
        self.redis.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.redis.process.send_signal, signal.SIGCONT)
        for fallback, status in (("closed", 503), ("open", 200)):
            proxy = self.proxy(self.up, CCPROXY_REDIS_URL=f"redis://127.0.0.1:{self.redis.port}",
                               CCPROXY_REDIS_FALLBACK=fallback, CCPROXY_RATE_LIMIT_RPM=1)
            for _ in range(3):
                self.assertEqual(proxy.chat().status, status)

    def test_each_kind_has_its_own_fallback(self):
        self.redis.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.redis.process.send_signal, signal.SIGCONT)
        url = f"redis://127.0.0.1:{self.redis.port}"
        for fallback, env, status in (
                ("budgets:closed", {"CCPROXY_TOKENS_PER_DAY": 1000}, [503] * 3),
                ("budgets:closed", {}, [200, 200, 429]),
                ("rates:open,budgets:closed", {}, [200] * 3),
                ("closed, rates:local ,concurrency:open", {}, [200, 200, 429])):
            proxy = self.proxy(self.up, CCPROXY_REDIS_URL=url, CCPROXY_REDIS_FALLBACK=fallback,
                               CCPROXY_RATE_LIMIT_RPM=2, **env)
            self.assertEqual([proxy.chat().status for _ in range(3)], status, fallback)

    def test_alone_a_node_has_its_share(self):
        self.redis.stop()
        url = f"redis://127.0.0.1:{self.redis.port}"
        nodes = [self.proxy(self.up, CCPROXY_REDIS_URL=url, CCPROXY_REDIS_NODES=4, CCPROXY_RATE_LIMIT_RPM=12)
                 for _ in range(4)]
        status = [node.chat().status for _ in range(5) for node in nodes]
        self.assertEqual(status, [200] * 12 + [429] * 8)  # together what one would

    def test_flushed_in_between(self):
        node = self.node(CCPROXY_RATE_LIMIT_RPM=3)
        self.assertEqual(node.chat().status, 200)
        self.redis.call("SCRIPT", "FLUSH")
        self.assertEqual(node.chat().status, 200)
        self.redis.call("FLUSHALL")
        self.assertEqual([node.chat().status for _ in range(4)], [200] * 3 + [429])

    def test_over_a_unix_socket_with_a_password(self):
        self.redis.call("CONFIG", "SET", "requirepass", "s3cret/x")
        url = f"unix://:s3cret%2Fx@{self.redis.directory}/redis.sock?db=1"
        node = self.node(CCPROXY_REDIS_URL=url, CCPROXY_RATE_LIMIT_RPM=1)
        self.assertEqual([node.chat().status for _ in range(2)], [200, 429])
        self.assertNotIn(b"s3cret", node.raw)

    def test_over_tls_as_a_user_in_a_database(self):
        """The least that a user must be allowed to do; with a wrong password or authority it is away."""
        ca, other = (Authority(self.directory(), name) for name in ("ca", "other"))
        cert, key = ca.issue("redis", "IP:127.0.0.1")
        port = harness.free_port()
        redis = Redis(self.directory(), "--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key,
                      "--tls-auth-clients", "no")
        self.addCleanup(redis.stop)
        redis.call("ACL", "SETUSER", "gate", "on", ">s3cret", "~{ccproxy}:*", "+evalsha", "+eval", "+time", "+mget",
                   "+set", "+del", "+zadd", "+zrem", "+zcard", "+zremrangebyscore", "+pttl", "+pexpire", "+select",
                   "+client|setname", "+ping")
        env = {"CCPROXY_CA_FILE": ca.pem, "CCPROXY_RATE_LIMIT_RPM": 1}
        nodes = [self.node(CCPROXY_REDIS_URL=f"rediss://gate:s3cret@127.0.0.1:{port}/3", **env) for _ in range(2)]
        self.assertEqual([node.chat().status for node in nodes], [200, 429])
        self.assertNotEqual(redis.call("-n", "3", "KEYS", "{ccproxy}:tester:rpm"), "")
        for url, more in ((f"rediss://gate:wrong@127.0.0.1:{port}", env),
                          (f"rediss://gate:s3cret@127.0.0.1:{port}", {**env, "CCPROXY_CA_FILE": other.pem})):
            node = self.proxy(self.up, CCPROXY_REDIS_URL=url, **more)
            node.wait_log("redis is away")
            self.assertEqual(node.get("/health").json()["checks"]["rate_limiter"], False)
            self.assertEqual([node.chat().status for _ in range(2)], [200, 429])
            self.assertNotIn(b"s3cret", node.raw)

    def test_more_than_there_ever_is(self):
        """As without Redis: what costs more than the limit is admitted when nothing is owed."""
        nodes = [self.node(CCPROXY_RATE_LIMIT_TPM=1000) for _ in range(2)]
        status = [node.chat(max_tokens=4000, stream=True).status for node in nodes]
        nodes[0].ended()
        self.assertEqual(status[0], 200)

    def test_metrics_say_so(self):
        node = self.node(CCPROXY_WORKERS=2)
        def figures():
            page = node.get("/metrics", key=None).body.decode().splitlines()
            names = ("ccproxy_redis_up_workers", "ccproxy_redis_down_workers", "ccproxy_redis_failures_total")
            return [int(line.split(" ")[1]) for name in names for line in page if line.startswith(name + " ")]
        up, down, failures = figures()
        self.assertEqual((up, down), (2, 0))
        self.redis.stop()
        harness.until(lambda: figures() == [0, 2, failures + 2], "both workers to have lost it")
        self.redis.start()
        harness.until(lambda: figures() == [2, 0, failures + 2], "both workers to be back")

    def test_refused_requests_leave_nothing_held(self):
        node = self.node(CCPROXY_CONCURRENT_REQUESTS=1, CCPROXY_NODE_RPM=2)
        self.assertEqual([node.chat().status for _ in range(4)], [200, 200, 429, 429])
        node.ended(4)
        self.assertEqual(node.get("/health").status, 200)  # a turn later everything has been settled
        keys = [k for k in self.redis.call("-n", "2", "KEYS", "*open*").split() if k]
        for key in keys:
            self.assertEqual(self.redis.call("-n", "2", "ZCARD", key), "0")

    def test_configuration(self):
        for env, line in (({"CCPROXY_REDIS_URL": "http://x"}, "CCPROXY_REDIS_URL: "),
                          ({"CCPROXY_REDIS_FALLBACK": "maybe"}, "is not local, open or closed")):
            done = harness.run("check", **env)
            self.assertEqual(done.returncode, 1)
            self.assertIn(line, done.stderr)
