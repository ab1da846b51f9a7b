"""The usage database on a real PostgreSQL server: what holds of a file holds of it, and it may die, hang,
lose the answer to a commit, and serve several gateways at once."""
import concurrent.futures
import contextlib
import glob
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading

import harness
import test_usage
from harness import each_request, free_port, until
from test_usage import Told, answer_by_prompt

PASSWORD = "hunter2-not-to-be-seen"
BIN = (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""])[-1]
ANSWER_S = 20


def identity():
    """A server refuses to run as root."""
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


class Server:
    def __init__(self, folder):
        self.folder, self.names = folder, itertools.count()
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        self.port = free_port()
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        self.run("initdb", "-D", folder / "data", "-U", "ccproxy", "-A", "scram-sha-256", "-E", "UTF8",
                 "--pwfile", folder / "password", "--no-sync", "--locale", "C.UTF-8")
        self.start()

    def run(self, program, *args):
        subprocess.run([f"{BIN}/{program}", *args], check=True, cwd=self.folder, capture_output=True,
                       **identity())

    def start(self):
        self.process = subprocess.Popen(
            [f"{BIN}/postgres", "-D", self.folder / "data", "-k", self.folder, "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB"],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=open(self.folder / "log", "ab"), **identity())
        until(lambda: self.is_there(), "the server")

    def is_there(self):
        return self.psql("postgres", "SELECT 1", check=False) == [(1,)]

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        self.process.wait()

    def crash(self):
        """The postmaster and all that serve are gone at once, as after a loss of power."""
        self.stop(signal.SIGQUIT)

    def url(self, name, port=None, password=PASSWORD, more=""):
        return f"postgresql://ccproxy:{password}@127.0.0.1:{port or self.port}/{name}{more}"

    def psql(self, name, sql, check=True):
        done = subprocess.run([f"{BIN}/psql", "-XqAt", "-F", "\t", "-h", str(self.folder), "-p", str(self.port),
                               "-U", "ccproxy", "-c", sql, name], capture_output=True, text=True, check=False,
                              env={**os.environ, "PGPASSWORD": PASSWORD})
        if check and done.returncode:
            raise AssertionError(done.stderr)
        return [tuple(int(v) if v.lstrip("-").isdigit() else v for v in line.split("\t"))
                for line in done.stdout.splitlines()]

    def database(self):
        name = f"usage{next(self.names)}"
        self.psql("postgres", f"CREATE DATABASE {name}")
        return name


class OnServer(test_usage.Case):
    """Cases of test_usage, with a database of its own on the class's server for each test."""

    @classmethod
    def setUpClass(cls):
        if not BIN:
            raise AssertionError("there is no PostgreSQL: tools/install-packages.sh test")
        case = cls("directory")
        cls.addClassCleanup(case.doCleanups)
        cls.server = Server(case.directory())
        cls.addClassCleanup(lambda: cls.server.stop())
        super().setUpClass()

    def use(self, port=None, more=""):
        self.name = self.server.database()
        self.path = self.server.url(self.name, port, more=more)

    def node(self, **env):
        return self.proxy(self.upstream(each_request(answer_by_prompt)),
                          **{"CCPROXY_DB": self.path, "CCPROXY_LOG_LEVEL": "DEBUG", **env})

    def recording(self, upstream=None, **env):
        self.use()
        proxy = self.proxy(upstream or self.upstream(each_request(answer_by_prompt)),
                           **{"CCPROXY_DB": self.path, "CCPROXY_LOG_LEVEL": "DEBUG", **env})
        proxy.wait_log("usage is recorded")
        return proxy

    def query(self, sql):
        return self.server.psql(self.name, sql)

    def state(self, proxy):
        return proxy.get("/health").json()["checks"]["usage"]

    def waiting(self, proxy):
        page = proxy.get("/metrics", key=None).body.decode()
        return int(re.search(r"(?m)^ccproxy_usage_waiting_records (\d+)$", page).group(1))


class Recording(OnServer, test_usage.Recording):
    # Of files alone.
    test_nothing_secret = test_off_by_default = test_wrong_values = test_old_rows_go_and_sums_stay = None

    def test_failures_and_broken_answers(self):
        """The columns of truth are numbers here, too."""
        def script(call):
            call.read_request()
            call.error(400, "invalid_request_error", "no")
        proxy = self.recording(self.upstream(script))
        self.assertEqual(proxy.chat("refused").status, 400)
        self.reaches(1)
        self.assertEqual(self.query("SELECT status, done, estimated FROM requests"), [(400, 0, 0)])
        self.assertEqual(self.query("SELECT requests, failed FROM days"), [(1, 1)])

    def test_old_rows_go(self):
        proxy = self.recording()
        self.ask(proxy, Told(), range(3))
        self.assertEqual(proxy.stop(), 0)
        self.query("UPDATE requests SET at_us = at_us - 10 * 86400 * 1000000::bigint")
        self.node(CCPROXY_DB_DAYS=9)
        until(lambda: self.written() == 0, "old requests to be deleted")
        self.assertEqual(self.query("SELECT sum(requests) FROM days"), [(3,)])

    def test_a_role_that_may_make_nothing(self):
        """Once the tables are there, rights to their rows are enough."""
        proxy = self.recording()
        self.assertEqual(proxy.stop(), 0)
        self.query("CREATE ROLE writer LOGIN PASSWORD 'w'; REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
                   "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer")
        proxy = self.node(CCPROXY_DB=self.path.replace(f"ccproxy:{PASSWORD}", "writer:w"))
        self.ask(proxy, Told(), range(3))
        self.reaches(3)

    def test_newer_tables(self):
        proxy = self.recording()
        self.assertEqual(proxy.stop(), 0)
        self.query("UPDATE ccproxy_version SET version = 99")
        line = self.node().wait_log("usage cannot be recorded")
        self.assertIn("newer", line["error"])
        done = harness.run("usage", CCPROXY_DB=self.path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("99", done.stderr)


class Killing(OnServer, test_usage.Killing):
    test_load_and_sigterm = test_reload = None  # of files

    def test_reload(self):
        """From a file to a server and to none, without a restart."""
        self.use()
        url, folder = self.path, self.place()
        config = folder / "ccproxy.yaml"
        config.write_text(f"db: {folder / 'usage.db'}\n")
        proxy = self.node(CCPROXY_CONFIG=config, CCPROXY_DB=None)
        proxy.wait_log("usage is recorded")
        config.write_text(f"db: {url}\n")
        proxy.kill(signal.SIGHUP)
        proxy.wait_log("usage is recorded", 2)
        told = Told()
        self.ask(proxy, told, range(5))
        self.reaches(5)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)


class Command(OnServer, test_usage.Command):
    """`ccproxy usage` prints the same of a server."""


class Away(OnServer):
    def test_killed_and_restarted_under_load(self):
        proxy = self.recording(CCPROXY_WORKERS=2)
        told = Told()
        for i in range(2):
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                job = pool.submit(self.load, proxy, told, 1000)
                self.reaches(1000 * i + 100)
                self.server.crash()
                try:
                    job.result()  # the database is away, and every request is served
                    self.ask(proxy, told, [7])
                    line = proxy.wait_log("usage cannot be recorded", i + 1)
                    self.assertNotIn(PASSWORD, str(line))
                    self.assertFalse(self.state(proxy))
                    until(lambda: self.waiting(proxy) > 0, "the records that wait to be counted")
                finally:
                    self.server.start()
                proxy.wait_log("usage is recorded", i + 2)
                self.assertTrue(self.state(proxy))
        self.reaches(2002)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)
        self.assertEqual(len(proxy.logs("scribe started")), 1)

    def test_not_there_yet(self):
        self.use()
        self.server.stop()
        proxy = self.node()
        proxy.wait_log("usage cannot be recorded")
        told = Told()
        self.ask(proxy, told, range(20))
        until(lambda: self.waiting(proxy) == 20, "the records that wait to be counted")
        self.server.start()
        proxy.wait_log("usage is recorded")
        self.reaches(20)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_hanging(self):
        """A server that stands still is given up, and the gateway stops in time even so."""
        wire = Wire(self.server.port)
        self.addCleanup(wire.close)
        self.use(wire.port)
        proxy = self.node()
        proxy.wait_log("usage is recorded")
        told = Told()
        wire.flows.clear()
        self.ask(proxy, told, range(5))
        line = proxy.wait_log("usage cannot be recorded")
        self.assertEqual(line["error"], "the server does not answer")
        self.assertEqual(proxy.get("/health").json()["status"], "degraded")
        wire.flows.set()
        proxy.wait_log("usage is recorded", 2)
        self.reaches(5)
        self.assert_agrees(told)
        wire.flows.clear()
        self.ask(proxy, told, [1])
        self.assertEqual(proxy.stop(), 0)


class Wire:
    """Stands between a gateway and the server; on_query gets what the gateway sends, and may keep it."""

    def __init__(self, to):
        self.to, self.flows, self.on_query = to, threading.Event(), lambda data, client, server: data
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.to))
                for args in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.pump, args=args, daemon=True).start()

    def pump(self, source, sink, is_query):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.flows.wait()
                if is_query:
                    data = self.on_query(data, source, sink)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.flows.set()
        self.listener.close()


class LostCommit(OnServer):
    def lose(self, on_commit):
        """Calls on_commit once, in the place of forwarding a commit that has rows in it."""
        wire = Wire(self.server.port)
        self.addCleanup(wire.close)
        self.use(wire.port)
        proxy = self.node()
        proxy.wait_log("usage is recorded")
        lost = threading.Event()

        def on_query(data, client, server):
            if b"COMMIT" not in data or lost.is_set():
                return data
            lost.set()
            return on_commit(data, client, server)

        wire.on_query = on_query
        told = Told()
        self.ask(proxy, told, range(30))
        self.assertTrue(lost.wait(ANSWER_S))
        proxy.wait_log("usage cannot be recorded")
        self.ask(proxy, told, range(30, 60))
        self.reaches(60)
        proxy.wait_log("usage is recorded", 2)
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_done_and_not_told(self):
        def cut(data, client, server):
            client.shutdown(socket.SHUT_RDWR)
            return data
        self.lose(cut)

    def test_done_after_the_next_has_begun(self):
        """The commit is on its way while the scribe, connected anew, asks how far it had come."""
        def late(data, client, server):
            client.shutdown(socket.SHUT_RDWR)
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: self.query(waits)[0][0] > 0, "the next batch to wait for this one")
            return data
        self.lose(late)

    def test_never_done(self):
        def drop(data, client, server):
            client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_RDWR)
            return b""
        self.lose(drop)


class Nodes(OnServer):
    def test_two_at_once(self):
        """Both make the tables, both add to one row of the day; nothing is missing or there twice."""
        self.use()
        nodes = [self.node(CCPROXY_WORKERS=2) for _ in range(2)]
        told = Told()
        for proxy in nodes:
            proxy.wait_log("usage is recorded")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(self.load, proxy, told, 1000) for proxy in nodes]
            os.kill(self.scribe(nodes[0]), signal.SIGKILL)
            for job in jobs:
                job.result()
        self.reaches(2000)
        for proxy in nodes:
            self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)
        self.assertEqual(self.query("SELECT count(*), sum(requests) FROM days"), [(1, 2000)])
        self.assertEqual(self.query("SELECT count(DISTINCT server) FROM positions"), [(2,)])


class Secrets(OnServer):
    def test_password_in_no_output(self):
        proxy = self.recording()
        shown = proxy.wait_log("usage is recorded")["path"]
        self.assertEqual(shown, f"postgresql://ccproxy@127.0.0.1:{self.server.port}/{self.name}")
        wrong = self.node(CCPROXY_DB=self.server.url(self.name, password="wrong-" + PASSWORD))
        self.assertIn("authentication failed", wrong.wait_log("usage cannot be recorded")["error"])
        for node in (proxy, wrong):
            self.assertNotIn(PASSWORD, node.get("/metrics", key=None).body.decode())
            self.assertEqual(node.stop(), 0)
            self.assertFalse([line for line in node.lines if PASSWORD in str(line)])
        done = harness.run("usage", CCPROXY_DB=self.server.url("nowhere"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("nowhere", done.stderr)
        self.assertNotIn(PASSWORD, done.stderr)

    def test_broken_addresses(self):
        for url in (f"postgres://u:{PASSWORD}@x@host/db", f"postgres://u:{PASSWORD}/x@host/db",
                    f"postgres://u:1/{PASSWORD}@host/db", f"postgres://host:{PASSWORD}/db",
                    f"postgres://u:{PASSWORD} x@host/db", f"postgresql://u:{PASSWORD}?@host", f"postgres:/u:{PASSWORD}@host/db"):
            for args in ((), ("check",), ("usage",)):
                done = harness.run(*args, CCPROXY_DB=url)
                self.assertEqual(done.returncode, 1, url)
                self.assertTrue(done.stderr)
                self.assertNotIn(PASSWORD, done.stdout + done.stderr, (url, args))

    def test_check_hides_addresses_alone(self):
        for value, shown in ((self.server.url("x"), "(hidden)"), ("/tmp/usage.db", "/tmp/usage.db")):
            done = harness.run("check", CCPROXY_DB=value)
            self.assertEqual(re.findall(r"(?m)^CCPROXY_DB +(\S+)", done.stdout), [shown])
            self.assertNotIn(PASSWORD, done.stdout + done.stderr)


class Tls(OnServer):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        data = cls.server.folder / "data"
        for name in ("server", "other"):
            cls.server_certificate(data, name)
        cls.server.stop()
        with open(data / "postgresql.auto.conf", "a", encoding="utf-8") as f:
            f.write("ssl = on\n")
        (data / "pg_hba.conf").write_text("local all all scram-sha-256\n"
                                          "hostssl all all 127.0.0.1/32 scram-sha-256\n")
        cls.server.start()

    @classmethod
    def server_certificate(cls, data, name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", data / f"{name}.key", "-out", data / f"{name}.crt"],
                       check=True, capture_output=True, **identity())
        (data / f"{name}.key").chmod(0o600)
        shutil.copy(data / f"{name}.crt", data.parent)
        (data.parent / f"{name}.crt").chmod(0o644)

    def test_sslmode(self):
        self.use(more=f"?sslmode=verify-full&sslrootcert={self.server.folder}/server.crt")
        proxy = self.node()
        proxy.wait_log("usage is recorded")
        told = Told()
        self.ask(proxy, told, range(10))
        self.reaches(10)
        self.assertEqual(self.query("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                                    " WHERE ssl AND application_name = 'ccproxy'"), [(1,)])
        self.assertEqual(proxy.stop(), 0)
        self.assert_agrees(told)

    def test_wrong_certificate_and_no_tls(self):
        for more, why in ((f"?sslmode=verify-full&sslrootcert={self.server.folder}/other.crt", "certificate"),
                          ("?sslmode=disable", "no encryption")):
            self.use(more=more)
            line = self.node().wait_log("usage cannot be recorded")
            self.assertIn(why, line["error"])
