"""Two and four whole gateways on one real redis-server, under load, while it is killed, paused and flushed:
together they admit what one would, nothing hangs, and it heals by itself."""
import concurrent.futures
import contextlib
import math
import random
import signal
import threading
import time

import harness
from harness import until
from test_redis import USED, Redis

LIMIT = 60


class Nodes(harness.TestCase):
    def setUp(self):
        directory = self.directory()
        directory.chmod(0o755)
        self.redis = Redis(directory)
        self.addCleanup(self.redis.stop)
        self.up = self.upstream(harness.each_request(lambda call: call.answer(USED)))

    def start(self, n, **env):
        settings = {"CCPROXY_REDIS_URL": f"redis://127.0.0.1:{self.redis.port}", "CCPROXY_REDIS_TIMEOUT": "200ms",
                    "CCPROXY_REDIS_NODES": n, "CCPROXY_RATE_LIMIT_RPM": LIMIT, "CCPROXY_CONCURRENT_REQUESTS": 1000,
                    "CCPROXY_WORKERS": 2, **env}
        nodes = [self.proxy(self.up, **settings) for _ in range(n)]
        self.connected(nodes)
        return nodes

    def connected(self, nodes):
        """Every worker is, if it ever noticed that it was not."""
        for node in nodes:
            until(lambda: f"\nccproxy_redis_up_workers {len(node.workers())}\n"
                  in node.get("/metrics", key=None).body.decode(), "all workers to reach Redis")

    def load(self, nodes, n):
        """n requests over all nodes at once; returns how many were admitted, and how long it took."""
        def ask(i):
            return nodes[i % len(nodes)].chat().status

        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(ask, range(n)))
        self.assertEqual(set(statuses) - {200, 429}, set())
        return statuses.count(200), time.monotonic() - begin

    def admits_what_one_would(self, nodes):
        self.redis.call("FLUSHALL")  # nothing is owed
        admitted, took = self.load(nodes, 2 * LIMIT)
        self.assertGreaterEqual(admitted, LIMIT)
        self.assertLessEqual(admitted, LIMIT + math.ceil(LIMIT * took / 60))

    def nothing_held(self, nodes):
        for node in nodes:
            node.get("/health")  # a turn later everything has been settled
        def empty():
            keys = [key for key in self.redis.call("KEYS", "*open*").split() if key]
            return all(self.redis.call("ZCARD", key) == "0" for key in keys)
        until(empty, "all leases to be given back")

    def degraded(self, nodes):
        for node in nodes:
            node.wait_log("redis is away")
            health = node.get("/health").json()
            self.assertEqual((health["status"], health["checks"]["rate_limiter"]), ("degraded", False))

    def survives(self, n, break_it, mend_it):
        nodes = self.start(n)
        self.admits_what_one_would(nodes)
        break_it()
        # each goes on by itself, with its share; the workers that have not noticed yet ask once in vain
        admitted, took = self.load(nodes, 2 * LIMIT)
        self.assertGreaterEqual(admitted, LIMIT)
        self.assertLessEqual(admitted, LIMIT + math.ceil(LIMIT * took / 60) + n)
        self.degraded(nodes)
        mend_it()
        self.connected(nodes)
        self.admits_what_one_would(nodes)
        for node in nodes:
            self.assertEqual(node.get("/health").json()["status"], "healthy")
        self.nothing_held(nodes)

    def stopped(self):
        self.redis.process.send_signal(signal.SIGSTOP)

    def continued(self):
        self.redis.process.send_signal(signal.SIGCONT)

    def test_killed_two(self):
        self.survives(2, self.redis.stop, self.redis.start)

    def test_killed_four(self):
        self.survives(4, self.redis.stop, self.redis.start)

    def test_paused_two(self):
        self.addCleanup(self.continued)
        self.survives(2, self.stopped, self.continued)

    def test_paused_four(self):
        self.addCleanup(self.continued)
        self.survives(4, self.stopped, self.continued)

    def test_flushed_under_load(self):
        """What was counted is gone, and the scripts: nothing fails, and it counts on at once."""
        nodes = self.start(4, CCPROXY_REDIS_TIMEOUT="1s")  # nobody is to go on alone
        over = threading.Event()

        def flush():
            n = 0
            while not over.is_set():
                self.redis.call("FLUSHALL")
                self.redis.call("SCRIPT", "FLUSH")
                n += 1
            return n

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            flushing = pool.submit(flush)
            self.load(nodes, 4 * LIMIT)
            over.set()
            self.assertGreater(flushing.result(), 0)
        self.admits_what_one_would(nodes)
        self.nothing_held(nodes)
        for node in nodes:
            self.assertEqual(node.logs("redis is away"), [])

    def test_random_cancels_leave_nothing_held(self):
        """Clients leave in every phase, some wait for a place, and Redis stands still now and then."""
        def script(call):
            while True:
                call.read_request()
                call.start()
                for i, event in enumerate(USED):
                    if i == random.randrange(10):
                        call.close()
                        return
                    call.event(event)
                call.end()

        self.up = self.upstream(script)
        nodes = self.start(2, CCPROXY_CONCURRENT_REQUESTS=4, CCPROXY_QUEUE_TIMEOUT="20ms", CCPROXY_RATE_LIMIT_RPM=0,
                           CCPROXY_RATE_LIMIT_TPM=10**9, CCPROXY_TOKENS_PER_DAY=10**9, CCPROXY_USD_PER_DAY=1000,
                           CCPROXY_REDIS_TIMEOUT="1s", CCPROXY_RETRIES=0)

        def leave(i):
            client = self.client(nodes[i % 2])
            client.chat(stream=bool(i & 2), content=str(i))
            with contextlib.suppress(harness.Gone, ConnectionError):
                is_stream = i % 5 > 0 and " 200 " in client.head()[0] and i & 2
                for _ in range(i % 5 - 1 if is_stream else 0):
                    if not client.frame():
                        break
            client.reset() if i & 4 else client.close()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(leave, range(200)))
            for node in nodes:
                node.ended(100, path="/v1/chat/completions")
                self.assertEqual(node.logs("redis is away"), [])
            self.nothing_held(nodes)
            self.charged(nodes, "day-tokens", "prompt_tokens", "output_tokens")
            self.charged(nodes, "day-usd", "cost_micro_usd")
            for i in range(4, 8):
                list(pool.map(leave, range(i * 50, i * 50 + 40)))
                self.stopped()
                list(pool.map(leave, range(i * 50 + 40, i * 50 + 50)))
                self.continued()
        for node in nodes:
            node.ended(200, path="/v1/chat/completions")
        self.connected(nodes)
        self.nothing_held(nodes)

    def charged(self, nodes, budget, *fields):
        """What Redis says was used is what the logs say, to the last."""
        took = sum(line.get(field, 0) for node in nodes for line in node.logs("request") for field in fields)
        self.assertGreater(took, 0)
        until(lambda: self.redis.call("GET", "{ccproxy}:tester:" + budget).split(" ")[0] == str(took),
              f"{budget} to be charged {took}")

    def test_waiting_over_nodes(self):
        """Who waits at one node gets the place that becomes free at another."""
        let_go = threading.Semaphore(0)
        self.addCleanup(let_go.release, 100)

        def script(call):
            while True:
                call.read_request()
                call.start()
                call.event(USED[0])
                let_go.acquire(timeout=harness.DEADLINE)
                for event in USED[1:]:
                    call.event(event)
                call.end()

        self.up = self.upstream(script)
        nodes = self.start(2, CCPROXY_CONCURRENT_REQUESTS=1, CCPROXY_QUEUE_TIMEOUT="60s", CCPROXY_WORKERS=1)
        held, waits, leaves = [nodes[i].client() for i in (0, 1, 1)]
        held.stream()
        self.up.wait_requests(1)
        waits.chat(stream=True)
        leaves.chat(stream=True)
        until(lambda: "ccproxy_queued_requests 2\n" in nodes[1].get("/metrics", key=None).body.decode(), "both to wait")
        leaves.close()
        nodes[1].ended(ending="CLIENT_GONE")
        self.assertEqual(len(self.up.requests), 1)
        let_go.release(2)
        held.text("[DONE]")
        self.assertEqual(waits.response().status, 200)
        self.nothing_held(nodes)
