"""The usage database: what clients were told is what it holds, whatever is killed or full meanwhile."""
import concurrent.futures
import contextlib
import csv
import io
import json
import os
import re
import resource
import select
import signal
import sqlite3
import subprocess
import threading

import harness
from harness import each_request, message_delta, message_start, text_events, until

OTHER_KEY = "sk-other-0123456789abcdef"


def answer_by_prompt(call):
    """Counts of their own for each prompt, which is a number."""
    n = int(call.json()["messages"][0]["content"][0]["text"])
    events = text_events("ok")
    events[0] = message_start(input_tokens=n, cache_read_input_tokens=n % 7,
                              cache_creation_input_tokens=n % 5)
    events[-2] = message_delta(output=2 * n + 1)
    call.answer(events)


class Told:
    """What clients were told, added up."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = self.prompt = self.cached = self.output = 0

    def add(self, usage):
        with self.lock:
            self.requests += 1
            self.prompt += usage["prompt_tokens"]
            self.cached += usage["prompt_tokens_details"]["cached_tokens"]
            self.output += usage["completion_tokens"]

    def __eq__(self, other):
        return self.all() == other.all()

    def all(self):
        return (self.requests, self.prompt, self.cached, self.output)


class Case(harness.TestCase):
    def place(self):
        folder = self.directory()
        folder.chmod(0o777)  # the scribe runs as another user
        return folder

    def recording(self, upstream=None, folder=None, **env):
        folder = folder or self.place()
        self.path = folder / "usage.db"
        if upstream is None:
            upstream = self.upstream(each_request(answer_by_prompt))
        proxy = self.proxy(upstream, **{"CCPROXY_DB": self.path, "CCPROXY_LOG_LEVEL": "DEBUG", **env})
        proxy.wait_log("usage is recorded")
        return proxy

    def query(self, sql):
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def written(self):
        return self.query("SELECT count(*) FROM requests")[0][0]

    def reaches(self, n):
        until(lambda: self.written() >= n, f"{n} requests to be written")

    def scribe(self, proxy, count=1):
        return proxy.wait_log("scribe started", count)["pid"]

    def ask(self, proxy, told, numbers, stream=False):
        with contextlib.closing(proxy.client()) as c:
            for n in numbers:
                extra = {"stream_options": {"include_usage": True}} if stream else {}
                c.chat(str(n), stream=stream, **extra)
                response = c.response()
                self.assertEqual(response.status, 200, (response.body, proxy.raw[-2000:]))
                told.add(response.frames()[-2]["usage"] if stream else response.json()["usage"])

    def load(self, proxy, told, total, each=0, clients=8):
        """Asks from several connections at once, `each` requests on one; returns when all have their
        answers."""
        each = each or (total + clients - 1) // clients
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            jobs = [pool.submit(self.ask, proxy, told, range(i, min(i + each, total)), i // each % 2 == 1)
                    for i in range(0, total, each)]
            for job in jobs:
                job.result()

    def assert_agrees(self, told):
        """Rows and sums are what the clients were told, no more and no less."""
        for table, requests in (("requests", "count(*)"), ("days", "sum(requests)")):
            n, prompt, cached, output = self.query(
                f"SELECT {requests}, sum(input + cache_read + cache_write), sum(cache_read), sum(output)"
                f" FROM {table}")[0]
            self.assertEqual((n, prompt, cached, output), told.all(), table)
        self.assertEqual(self.query("SELECT sum(cost_micro_usd) FROM requests"),
                         self.query("SELECT sum(cost_micro_usd) FROM days"))
        self.assertEqual(self.query("SELECT count(*) - count(DISTINCT id) FROM requests"), [(0,)])


class Recording(Case):
    def test_a_row(self):
        proxy = self.recording()
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", "/v1/chat/completions",
                      {"model": "gpt-4o", "messages": [{"role": "user", "content": "33"}]},
                      {"x-request-id": "mine-1"})
            c.response()
        self.reaches(1)
        row = self.query("SELECT id, client, model, endpoint, status, ending, done, estimated, input,"
                         " cache_read, cache_write, output FROM requests")[0]
        self.assertEqual(row, ("mine-1", "tester", "claude-sonnet-5-5", "/chat/completions", 200, "DONE",
                               1, 0, 33, 5, 3, 67))
        cost = self.query("SELECT cost_micro_usd FROM requests")[0][0]
        self.assertEqual(cost, proxy.ended()["cost_micro_usd"])
        self.assertGreater(cost, 0)

    def test_who_leaves_no_row(self):
        """Strangers, and what is not a call to Claude."""
        proxy = self.recording()
        proxy.get("/health")
        proxy.get("/v1/models")
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", "/v1/chat/completions", {"model": "x"}, key="sk-stranger-0123456")
            self.assertEqual(c.response().status, 401)
        told = Told()
        self.ask(proxy, told, [1])
        self.reaches(1)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_failures_and_broken_answers(self):
        def script(call):
            while True:
                call.read_request()
                if b"refused" not in call.body:
                    break
                call.error(400, "invalid_request_error", "no")
            call.start()
            for event in text_events("word " * 100)[:3]:
                call.event(event)
        proxy = self.recording(self.upstream(script))
        self.assertEqual(proxy.chat("refused").status, 400)
        proxy.chat("broken", stream=True)
        self.reaches(2)
        rows = self.query("SELECT status, done, estimated, input, output > 100, cost_micro_usd > 0"
                          " FROM requests ORDER BY status DESC")
        self.assertEqual(rows, [(400, 0, 0, 0, 0, 0), (200, 0, 1, 10, 1, 1)])
        self.assertEqual(self.query("SELECT sum(requests), sum(failed) FROM days"), [(2, 2)])

    def test_nothing_secret(self):
        canary = "canary-prompt-58008"
        proxy = self.recording(self.upstream(each_request(lambda call: call.answer(text="canary-answer"))))
        proxy.chat(canary)
        self.reaches(1)
        self.assertEqual(proxy.stop(), 0)
        data = b"".join(p.read_bytes() for p in self.path.parent.iterdir())
        self.assertIn(b"tester", data)
        for secret in (canary, "canary-answer", harness.KEY, harness.UPSTREAM_KEY):
            self.assertNotIn(secret.encode(), data)

    def test_off_by_default(self):
        proxy = self.proxy(self.upstream(each_request(answer_by_prompt)), CCPROXY_LOG_LEVEL="DEBUG")
        self.assertEqual(proxy.chat("1").status, 200)
        self.assertNotIn("usage", proxy.get("/health").json()["checks"])
        self.assertEqual(proxy.stop(), 0)
        self.assertFalse(proxy.logs("scribe started"))

    def test_wrong_values(self):
        for value, hint in (("/no/such/place/usage.db", "/no/such/place"), ("/tmp/", "not the path"),
                            ("mysql://x/y", "expected off, the path")):
            done = harness.run(CCPROXY_DB=value)
            self.assertEqual(done.returncode, 1)
            self.assertIn("CCPROXY_DB", done.stderr)
            self.assertIn(hint, done.stderr)

    def test_old_rows_go_and_sums_stay(self):
        proxy = self.recording()
        told = Told()
        self.ask(proxy, told, range(3))
        self.assertEqual(proxy.stop(), 0)
        with contextlib.closing(sqlite3.connect(self.path)) as db, db:
            db.execute("UPDATE requests SET at_us = at_us - 10 * 86400 * 1000000")
        self.proxy(self.upstream(each_request(answer_by_prompt)), CCPROXY_DB=self.path, CCPROXY_DB_DAYS=9)
        until(lambda: self.written() == 0, "old requests to be deleted")
        self.assertEqual(self.query("SELECT sum(requests) FROM days"), [(3,)])


class Killing(Case):
    def test_load_and_sigterm(self):
        proxy = self.recording(CCPROXY_WORKERS=3)
        told = Told()
        self.load(proxy, told, 1500)
        self.assertEqual(proxy.stop(), 0)  # at once: what is not written yet is written now
        self.assertEqual([p.name for p in self.path.parent.iterdir()], ["usage.db"])
        self.assert_agrees(told)

    def test_killed_scribe(self):
        """Killed again and again under load: nothing is missing and nothing is there twice."""
        proxy = self.recording(CCPROXY_WORKERS=2)
        told, over, often = Told(), threading.Event(), threading.Event()

        def kill():
            count = 0
            while not over.is_set():
                count += 1
                if count > 3:
                    often.set()
                pid = self.scribe(proxy, count)
                until(lambda: over.is_set() or self.written() > 20 * count, "some to be written")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return count

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            killer = pool.submit(kill)
            self.load(proxy, told, 2000)
            while not (often.is_set() or killer.done()):
                self.load(proxy, told, 100)
            over.set()
            self.assertGreater(killer.result(), 2)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)
        self.assertGreater(len(proxy.logs("the scribe died")), 2)

    def test_killed_worker(self):
        """What had ended when a worker was killed is written; its open answers are not made up."""
        gate = threading.Event()

        def script(call):
            while True:
                call.read_request()
                if b"held" not in call.body:
                    answer_by_prompt(call)
                    continue
                call.start()
                for event in text_events("half")[:3]:
                    call.event(event)
                while not gate.is_set():
                    if select.select([call.sock], [], [], 0.01)[0]:
                        call.fill()

        self.addCleanup(gate.set)
        proxy = self.recording(self.upstream(script))
        told = Told()
        scribe = self.scribe(proxy)
        os.kill(scribe, signal.SIGSTOP)  # so that everything waits in memory
        self.ask(proxy, told, range(200))
        proxy.ended(200)  # the line of a request is written when it has settled
        held = self.client(proxy)
        held.stream(content="held")
        held.text("half")
        worker = proxy.wait_log("worker started")["pid"]
        self.assertEqual(self.written(), 0)
        os.kill(worker, signal.SIGKILL)
        proxy.wait_log("worker died")
        os.kill(scribe, signal.SIGCONT)
        self.reaches(200)
        self.ask(proxy, told, range(200, 300))
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_killed_scribe_while_it_stands(self):
        proxy = self.recording()
        told = Told()
        scribe = self.scribe(proxy)
        os.kill(scribe, signal.SIGSTOP)
        self.ask(proxy, told, range(50))
        os.kill(scribe, signal.SIGKILL)
        self.reaches(50)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_killed_while_draining(self):
        proxy = self.recording()
        told = Told()
        scribe = self.scribe(proxy)
        os.kill(scribe, signal.SIGSTOP)
        self.ask(proxy, told, range(50))
        proxy.ended(50)
        proxy.kill(signal.SIGTERM)
        until(lambda: proxy.workers() == [scribe], "the worker to leave")
        os.kill(scribe, signal.SIGKILL)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_hanging_scribe(self):
        """One that does not end is killed in the end: what it had not written is lost, and that is said."""
        proxy = self.recording()
        os.kill(self.scribe(proxy), signal.SIGSTOP)
        self.ask(proxy, Told(), range(5))
        self.assertEqual(proxy.stop(), 0)
        self.assertEqual(proxy.wait_log("usage is lost")["requests"], 5)

    def test_killed_master(self):
        """Workers drain, and the scribe stays until the last of them is gone."""
        proxy = self.recording()
        told = Told()
        self.ask(proxy, told, range(50))
        proxy.exit_code = -signal.SIGKILL
        self.assertEqual(proxy.stop(signal.SIGKILL), -signal.SIGKILL)  # nobody holds the log any more
        self.assert_agrees(told)

    def test_reload(self):
        """Old and new workers write to one database; then to another one, then to none."""
        folder = self.place()
        config = folder / "ccproxy.yaml"

        def set_db(value):
            config.write_text(f"db: {value}\n")
        set_db(folder / "usage.db")
        proxy = self.recording(folder=folder, CCPROXY_DB=None, CCPROXY_CONFIG=config, CCPROXY_WORKERS=2)
        told = Told()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            job = pool.submit(self.load, proxy, told, 1000, each=1)
            for i in range(2):
                proxy.kill(signal.SIGHUP)
                proxy.wait_log("reloaded", i + 1)
            job.result()
        self.reaches(1000)
        self.assertEqual(len(proxy.logs("scribe started")), 1)
        set_db(folder / "next.db")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded", 3)
        proxy.wait_log("scribe started", 2)
        self.assert_agrees(told)
        told = Told()
        self.ask(proxy, told, range(5))
        self.path = folder / "next.db"
        until(self.path.exists, "the next database")
        proxy.wait_log("usage is recorded", path=str(self.path))
        self.reaches(5)
        set_db("off")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("reloaded", 4)
        self.ask(proxy, Told(), range(5))
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)


def mounted(folder, size):
    """A file system of its own; only root can have one."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", folder],
                          capture_output=True)
    return done.returncode == 0


class FullDisk(Case):
    def small(self):
        folder = self.directory() / "disk"
        folder.mkdir()
        if not mounted(folder, "512k"):
            self.skipTest("no right to mount")
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=True)
        return folder

    def state(self, proxy):
        answer = proxy.get("/health")
        self.assertEqual(answer.status, 200)
        return answer.json()["status"], answer.json()["checks"]["usage"]

    def ended(self, proxy):
        page = proxy.get("/metrics", key=None).body.decode()
        return sum(int(n) for n in re.findall(r"(?m)^ccproxy_client_requests_total{.*} (\d+)$", page))

    def test_survived_said_made_up_for(self):
        folder = self.small()
        proxy = self.recording(folder=folder)
        told = Told()
        self.ask(proxy, told, range(10))
        self.reaches(10)
        self.assertEqual(self.state(proxy), ("healthy", True))
        with open(folder / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        self.load(proxy, told, 1500)  # more than the little that is still left
        line = proxy.wait_log("usage cannot be recorded")
        self.assertIn("full", line["error"])
        self.assertGreater(line["waiting"], 0)
        self.assertEqual(self.state(proxy), ("degraded", False))
        self.assertLess(self.written(), 1510)
        (folder / "filler").unlink()
        proxy.wait_log("usage is recorded", 2)
        self.reaches(1510)
        self.assertEqual(self.state(proxy), ("healthy", True))
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)
        self.assertEqual(len(proxy.logs("usage cannot be recorded")), 1)

    def test_limit_on_files(self):
        """The same where a limit of the process stands in for the disk."""
        proxy = self.recording()
        scribe = self.scribe(proxy)
        told = Told()
        self.ask(proxy, told, range(10))
        self.reaches(10)
        most = self.path.with_name("usage.db-wal").stat().st_size
        try:
            before = resource.prlimit(scribe, resource.RLIMIT_FSIZE)
        except PermissionError:
            self.skipTest("no right over a process of another user")
        resource.prlimit(scribe, resource.RLIMIT_FSIZE, (most, before[1]))
        self.load(proxy, told, 200)
        proxy.wait_log("usage cannot be recorded")
        self.assertEqual(self.state(proxy), ("degraded", False))
        self.assertEqual(self.written(), 10)
        resource.prlimit(scribe, resource.RLIMIT_FSIZE, before)
        proxy.wait_log("usage is recorded", 2)
        self.reaches(210)
        self.assertEqual(len(proxy.logs("scribe started")), 1)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_more_than_memory_holds(self):
        """Beyond what the journal holds, requests are served and counted as dropped."""
        proxy = self.recording()
        scribe = self.scribe(proxy)
        os.kill(scribe, signal.SIGSTOP)
        told = Told()
        self.load(proxy, told, 4096 + 50)
        until(lambda: self.ended(proxy) >= 4096 + 50, "all requests to end")
        os.kill(scribe, signal.SIGKILL)
        self.reaches(4096)
        self.assertEqual(self.written(), 4096)
        self.ask(proxy, told, [1])
        self.reaches(4097)
        self.assertEqual(proxy.stop(), 0)
        self.assertEqual(proxy.logs("usage is dropped")[-1]["dropped"], 50)

    def test_no_database_yet(self):
        """A database that cannot be opened stops nothing, and is taken when it can be."""
        folder = self.place()
        self.path = folder / "usage.db"
        self.path.write_text("this is not a database " * 100)
        proxy = self.proxy(self.upstream(each_request(answer_by_prompt)), CCPROXY_DB=self.path)
        proxy.wait_log("usage cannot be recorded")
        told = Told()
        self.ask(proxy, told, range(5))
        self.path.unlink()
        proxy.wait_log("usage is recorded")
        self.reaches(5)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)


class Command(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls("fill")
        cls.addClassCleanup(case.doCleanups)
        case.fill()
        cls.db = case.path

    def fill(self):
        proxy = self.recording(CCPROXY_API_KEYS=f"tester:{harness.KEY},other:{OTHER_KEY}")
        self.ask(proxy, Told(), range(1, 21))
        with contextlib.closing(proxy.client()) as c:
            c.request("POST", "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": [
                {"role": "user", "content": "500"}]}, key=OTHER_KEY)
            assert c.response().status == 200
        self.reaches(21)

    def usage(self, *args, **env):
        done = harness.run("usage", *args, **{"CCPROXY_DB": self.db, **env})
        self.assertEqual((done.returncode, done.stderr), (0, ""), args)
        return done.stdout

    def json(self, *args):
        return json.loads(self.usage("--json", *args))

    def test_json(self):
        rows = self.json("--by", "client")
        self.assertEqual([r["client"] for r in rows], ["other", "tester"])
        self.assertEqual([r["requests"] for r in rows], [1, 20])
        self.assertEqual(rows[1]["input_tokens"], sum(range(1, 21)))
        self.assertEqual(rows[1]["cache_read_tokens"], sum(n % 7 for n in range(1, 21)))
        self.assertEqual(rows[0]["output_tokens"], 1001)
        self.assertNotIn("day", rows[0])
        models = self.json("--by", "model,client")
        self.assertEqual({(r["model"].split("-")[1], r["client"]) for r in models},
                         {("sonnet", "tester"), ("haiku", "other")})
        self.assertEqual(sum(r["cost_micro_usd"] for r in models), sum(r["cost_micro_usd"] for r in rows))

    def test_choosing(self):
        self.assertEqual([r["requests"] for r in self.json("--client", "tester")], [20])
        self.assertEqual([r["requests"] for r in self.json("--model", "claude-sonnet-5-5")], [20])
        self.assertEqual(self.json("--until", "2001-01-01"), [])
        self.assertEqual(sum(r["requests"] for r in self.json("--since", "1d", "--until", "0d")), 21)
        self.assertEqual(self.json("--client", "x' OR 1=1 --"), [])

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(self.usage("--csv", "--by", "day,client"), newline="")))
        self.assertEqual([(r["client"], int(r["requests"])) for r in rows], [("other", 1), ("tester", 20)])
        self.assertRegex(rows[0]["day"], r"^\d{4}-\d\d-\d\d$")

    def test_table(self):
        text = self.usage("--by", "client", LANG="C.UTF-8").splitlines()
        self.assertEqual(text[0].split(), ["client", "requests", "failed", "input", "cached", "output",
                                           "cost"])
        self.assertEqual(text[1].split()[:3], ["other", "1", "0"])
        self.assertEqual(text[-1].split()[-1], "total")
        bars = [line.count("█") for line in text[1:3]]
        self.assertEqual(len(text), 4)
        self.assertGreater(max(bars), 9)
        costs = [float(line.split()[6].lstrip("$")) for line in text[1:3]]
        self.assertEqual(bars.index(max(bars)), costs.index(max(costs)))
        plain = self.usage("--by", "client", LANG="C")
        self.assertTrue(plain.isascii())
        self.assertIn("####", plain)

    def test_wrong_calls(self):
        for args, hint in ((("--by", "weather"), "--by"), (("--since", "yesterday"), "--since"),
                           (("--until", "2026-02-30"), "--until"), (("--db", "/no/such.db"), "/no/such.db")):
            done = harness.run("usage", *args, CCPROXY_DB=self.db)
            self.assertEqual((done.returncode, done.stdout), (1, ""), args)
            self.assertIn(hint, done.stderr)
        done = harness.run("usage")
        self.assertEqual(done.returncode, 1)
        self.assertIn("CCPROXY_DB", done.stderr)
