#!/usr/bin/env python3
"""Benchmarks in ratios: ccproxy beside nginx proxy_pass, on the same core, with the same load and the
same upstream, in turns within one run.

    core 0: the contestant (one worker)        core 1: the Claude simulator and the load generator

A spinner of lowest priority keeps each core awake. CPU is what the kernel charged to the contestant's
worker (/proc/PID/schedstat). Absolute times depend on the machine; the ratios are what counts.
"""
import argparse
import collections
import contextlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
KEY = "sk-bench-0123456789"
CORES = {1: "0", 2: "0,1"}  # of a contestant, by its workers
TURNS = 4  # of each contestant in a round
results = []


def pinned(core, *command):
    return ["taskset", "-c", str(core), *map(str, command)]


class Processes:
    """Everything that was started, ended by process id at the end."""

    def __init__(self):
        self.all = []

    def start(self, command, **kwargs):
        p = subprocess.Popen(command, **kwargs)
        self.all.append(p)
        return p

    def end(self, p):
        p.send_signal(signal.SIGTERM)
        p.wait()
        self.all.remove(p)

    def close(self):
        for p in self.all:
            p.terminate()  # nginx would leave its workers behind, were it killed
        for p in self.all:
            p.wait()


def children(pid):
    return [int(x) for x in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def cpu_us(pids):
    return sum(int(open(f"/proc/{pid}/schedstat").read().split()[0]) for pid in pids) / 1000


def rss_kib(pids):
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1])
    return total


class Contestant:
    def __init__(self, name, process, port, request, workers):
        self.name, self.process, self.port, self.tls_port = name, process, port, None
        self.request, self.workers = request, workers


def wait_ready(process):
    for line in process.stderr:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("event") == "ready":
            return record
    sys.exit(f"bench: {process.args} ended before it was ready")


def ports_of(record):
    return [int(address.rsplit(":", 1)[1]) for address in record["address"].split(", ")]


def drain(stream):
    """Whoever reads the logs does so on the load's core: no contestant gives it a turn of its own."""
    subprocess.Popen(pinned(1, "cat"), stdin=stream, stdout=subprocess.DEVNULL)  # ends with the stream


# On, and out of reach.
LIMITS = {"CCPROXY_RATE_LIMIT_RPM": "100000000", "CCPROXY_RATE_LIMIT_TPM": "1000000000000",
          "CCPROXY_CONCURRENT_REQUESTS": "1000000"}


class Bench:
    def __init__(self, args):
        self.args = args
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="ccproxy-bench-"))
        self.procs = Processes()
        for core in (0, 1):
            self.procs.start(pinned(core, "chrt", "-i", "0", "sh", "-c", "while :; do :; done"))

    def close(self):
        self.procs.close()
        shutil.rmtree(self.tmp)

    def simulator(self, *options):
        p = self.procs.start(
            pinned(1, self.args.binary, "simulate", "--port", "0", *options),
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        record = wait_ready(p)
        drain(p.stderr)
        return p, ports_of(record)[0]

    def ccproxy(self, upstream_port, workers=1, **env):
        settings = {
            "PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": "sk-ant-bench",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{upstream_port}",
            "CCPROXY_API_KEYS": f"bench:{KEY}", "CCPROXY_HOST": "127.0.0.1", "CCPROXY_PORT": "0",
            "CCPROXY_WORKERS": str(workers), **LIMITS, **env}
        p = self.procs.start(pinned(CORES[workers], self.args.binary), env=settings, stderr=subprocess.PIPE,
                             stdout=subprocess.DEVNULL)
        record = wait_ready(p)
        drain(p.stderr)
        c = Contestant("ccproxy", p, ports_of(record)[0], None, children(p.pid))
        c.tls_port = ports_of(record)[-1]
        return c

    def certificate(self):
        """A chain and its key, made once."""
        cert, key = self.tmp / "cert.pem", self.tmp / "cert.key"
        if not cert.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                            "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=bench", "-days", "2",
                            "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        return cert, key

    def nginx(self, upstream_port, workers=1, tls=False):
        port, tls_port = free_port(), free_port()
        cert, key = self.certificate() if tls else (None, None)
        (self.tmp / "nginx.pid").unlink(missing_ok=True)
        (self.tmp / "nginx.conf").write_text(NGINX.format(
            port=port, upstream=upstream_port, tmp=self.tmp, workers=workers,
            tls=NGINX_TLS.format(port=tls_port, cert=cert, key=key) if tls else ""))
        p = self.procs.start(pinned(CORES[workers], "nginx", "-p", self.tmp, "-c", self.tmp / "nginx.conf"),
                             stderr=subprocess.DEVNULL)
        while not (self.tmp / "nginx.pid").exists() or len(children(p.pid)) < workers:
            time.sleep(0.01)
        c = Contestant("nginx", p, port, None, children(p.pid))
        c.tls_port = tls_port
        return c

    def request_file(self, name, path, body, fields=()):
        data = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json",
                 f"Authorization: Bearer {KEY}", *fields, f"Content-Length: {len(data)}"]
        file = self.tmp / name
        file.write_bytes("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        return file

    def load(self, port, request, **options):
        command = pinned(1, self.args.load, "--to", f"127.0.0.1:{port}", "--request", request)
        for k, v in options.items():
            command += [f"--{k}", str(v)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(out.splitlines()[-1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


NGINX = """
daemon off; worker_processes {workers}; pid {tmp}/nginx.pid; error_log {tmp}/error.log crit;
events {{ worker_connections 19000; }}
http {{
  access_log off; client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy;
  fastcgi_temp_path {tmp}/f; uwsgi_temp_path {tmp}/u; scgi_temp_path {tmp}/s;
  client_max_body_size 64m; client_body_buffer_size 8m; keepalive_requests 10000000;
  upstream sim {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port} reuseport backlog=16384;
    {tls}
    location / {{ proxy_pass http://sim; proxy_http_version 1.1; proxy_set_header Connection "";
                 proxy_buffering off; proxy_read_timeout 600s; }}
  }}
}}
"""

NGINX_TLS = """
    listen 127.0.0.1:{port} ssl http2 reuseport backlog=16384;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
"""

ANTHROPIC = ("anthropic-version: 2023-06-01",)


def chat(stream, text="Say hello."):
    return {"model": "claude-sonnet-5-5", "stream": stream, "max_tokens": 256,
            "messages": [{"role": "system", "content": "You are brief."},
                         {"role": "user", "content": text}]}


def messages(stream, text="Say hello."):
    return {"model": "claude-sonnet-5-5", "stream": stream, "max_tokens": 256,
            "system": "You are brief.", "messages": [{"role": "user", "content": text}]}


def verdict(name, figure, budget, text):
    ok = figure <= budget
    results.append(ok)
    print(f"  {name}: {text}   budget {budget:g}: {'met' if ok else 'MISSED'}", flush=True)


def in_turns(bench, rounds, contestants, unit, **load):
    """CPU microseconds per unit ('requests' or 'events') of each contestant, round by round. A round is
    of turns so short that a machine that slows down slows all of them."""
    figures = {c.name: [] for c in contestants}
    for c in contestants:
        bench.load(c.port, c.request, **{**load, "requests": max(1, load["requests"] // 5)})
    turn = {**load, "requests": load["requests"] // TURNS}
    for _ in range(rounds):
        spent, done = collections.Counter(), collections.Counter()
        for c in contestants * TURNS:
            before = cpu_us(c.workers)
            result = bench.load(c.port, c.request, **turn)
            if result["errors"]:
                sys.exit(f"bench: {c.name}: {result}")
            spent[c.name] += cpu_us(c.workers) - before
            done[c.name] += result[unit]
        for c in contestants:
            figures[c.name].append(spent[c.name] / done[c.name])
    return figures


def compare(title, figures, budget):
    ours, theirs = figures["ccproxy"], figures["nginx"]
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    ratio = statistics.median(ratios)
    verdict(title, ratio, budget,
            f"ccproxy {statistics.median(ours):.1f} us, nginx {statistics.median(theirs):.1f} us, "
            f"ratio {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def bench_short(bench):
    print("CPU per short non-streamed request (32 connections, keep-alive)")
    sim, port = bench.simulator()
    ours, theirs = bench.ccproxy(port), bench.nginx(port)
    ours.request = bench.request_file("chat", "/v1/chat/completions", chat(False))
    theirs.request = bench.request_file("messages", "/v1/messages", messages(False), ANTHROPIC)
    figures = in_turns(bench, bench.args.rounds, [ours, theirs], "requests",
                       connections=32, requests=bench.args.requests)
    compare("request", figures, 1.0)
    for c in (ours.process, theirs.process, sim):
        bench.procs.end(c)


NO_LIMITS = dict.fromkeys([*LIMITS, "CCPROXY_AUTH_FAILURES", "CCPROXY_CLIENT_BUFFERED"], "0")
ALL_LIMITS = {**LIMITS, "CCPROXY_TOKENS_PER_DAY": "1000000000000", "CCPROXY_USD_PER_DAY": "1000000",
              "CCPROXY_USD_PER_MONTH": "1000000", "CCPROXY_NODE_RPM": "100000000", "CCPROXY_NODE_TPM": "1000000000000",
              "CCPROXY_NODE_CONCURRENT": "1000000", "CCPROXY_QUEUE_TIMEOUT": "1s",
              "CCPROXY_MODEL_LIMITS": json.dumps({"gpt-4o": {"rpm": 10**8, "tpm": 10**12, "concurrent_requests": 10**6}})}


def redis_calls(port):
    """Scripts that a server has run so far."""
    out = subprocess.run(["redis-cli", "-p", str(port), "info", "commandstats"], check=True,
                         capture_output=True, text=True).stdout
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in out.splitlines()
               if line.startswith(("cmdstat_eval:", "cmdstat_evalsha:")))


def bench_admission(bench):
    print("CPU per short non-streamed request with every limit on, over all of them off")
    sim, port = bench.simulator()
    redis_port = free_port()
    redis = bench.procs.start(pinned(1, "redis-server", "--port", redis_port, "--save", "", "--appendonly", "no",
                                     "--bind", "127.0.0.1"), stdout=subprocess.DEVNULL)
    off, here = bench.ccproxy(port, **NO_LIMITS), bench.ccproxy(port, **ALL_LIMITS)
    there = bench.ccproxy(port, **ALL_LIMITS, CCPROXY_REDIS_URL=f"redis://127.0.0.1:{redis_port}",
                          CCPROXY_REDIS_TIMEOUT="1s")
    off.name, here.name, there.name = "off", "local", "redis"
    off.request = here.request = there.request = bench.request_file("chat", "/v1/chat/completions", chat(False))
    figures = in_turns(bench, bench.args.rounds, [off, here, there], "requests",
                       connections=32, requests=bench.args.requests)
    asked = bench.args.requests * bench.args.rounds + bench.args.requests // 5
    for name, budget in (("local", 1.10), ("redis", None)):
        ratios = sorted(b / a for a, b in zip(figures["off"], figures[name]))
        text = (f"off {statistics.median(figures['off']):.1f} us, on {statistics.median(figures[name]):.1f} us, "
                f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        if budget:
            verdict(name, statistics.median(ratios), budget, text)
        else:
            print(f"  {name}: {text}")
    # one admission, which is waited for, and one settling, which is not
    verdict("redis", redis_calls(redis_port) / asked, 2.005,
            f"{redis_calls(redis_port) / asked:.3f} scripts a request, half of them waited for")
    for process in (off.process, here.process, there.process, redis, sim):
        bench.procs.end(process)


def scrape(port, over):
    """Reads /metrics every second, as Prometheus would at its most eager."""
    while not over.wait(1):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            page.read()


# What can be switched off of it; metrics and /stats always count.
UNOBSERVED = {"CCPROXY_LOG_LEVELS": "exchange:error"}


class Collector(http.server.BaseHTTPRequestHandler):
    """Counts spans, by the path they come to, and throws them away."""
    protocol_version = "HTTP/1.1"
    taken = {}

    def do_POST(self):
        spans = self.rfile.read(int(self.headers["content-length"])).count(b'"spanId"')
        self.taken[self.path] = self.taken.get(self.path, 0) + spans
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def observed(bench, unit, contestants, budget, **load):
    """The last of contestants does it all, and is scraped meanwhile; the first does none of it."""
    over = threading.Event()
    reader = threading.Thread(target=scrape, args=(contestants[-1].port, over))
    reader.start()
    figures = in_turns(bench, bench.args.rounds, contestants, unit, **load)
    over.set()
    reader.join()
    for c in contestants[1:]:
        ratios = sorted(b / a for a, b in zip(figures["off"], figures[c.name]))
        text = (f"off {statistics.median(figures['off']):.1f} us, on {statistics.median(figures[c.name]):.1f} us, "
                f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), the scribe's time in it")
        if c.name == "all":
            verdict(c.name, statistics.median(ratios), budget, text)
        else:
            print(f"  {c.name}: {text}")
    for c in contestants:
        bench.procs.end(c.process)


def bench_observability(bench):
    bench.tmp.chmod(0o777)  # the scribe runs as another user
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{collector.server_port}"
    sampled = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    ways = {"off": UNOBSERVED, "log": {},
            "usage": {**UNOBSERVED, "CCPROXY_DB": str(bench.tmp / "one.db")},
            "spans": {**UNOBSERVED, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/each"},
            "spans 10%": {**UNOBSERVED, **sampled},
            "all": {**sampled, "CCPROXY_DB": str(bench.tmp / "all.db")}}

    def contestant(name, port, stream):
        c = bench.ccproxy(port, **ways[name])
        c.name, c.request = name, bench.request_file("chat", "/v1/chat/completions", chat(stream))
        while len(c.workers) < (1 if name in ("off", "log") else 2):  # the scribe starts last
            c.workers = children(c.process.pid)
        return c

    print("CPU per streamed answer of 100 events (256 at a time) with log, usage database, spans and scrapes, over none of them")
    sim, port = bench.simulator("--event-delay", "5ms", "--answer-tokens", "100")
    observed(bench, "requests", [contestant(name, port, True) for name in ("off", "all")], 1.05,
             connections=256, requests=256 * 8)
    bench.procs.end(sim)
    print("The same per short non-streamed request, the least that there is to observe")
    sim, port = bench.simulator()
    observed(bench, "requests", [contestant(name, port, False) for name in ways], 1.05,
             connections=32, requests=bench.args.requests)
    bench.procs.end(sim)
    asked = 2 * (bench.args.rounds * bench.args.requests + bench.args.requests // 5)
    print(f"  spans: the collector has {100 * Collector.taken['/each'] / asked:.0f} % of those of all requests; "
          "the rest found no room, at this rate")
    collector.shutdown()
    collector.server_close()


def bench_events(bench):
    print("CPU per streamed event (64 streams, an event every 5 ms, so that each travels alone)")
    sim, port = bench.simulator("--event-delay", "5ms", "--answer-tokens", "600")
    ours, theirs = bench.ccproxy(port), bench.nginx(port)
    ours.request = bench.request_file("chat", "/v1/chat/completions", chat(True))
    theirs.request = bench.request_file("messages", "/v1/messages", messages(True), ANTHROPIC)
    figures = in_turns(bench, bench.args.rounds, [ours, theirs], "events",
                       connections=64, requests=64 * 4)
    compare("event", figures, 1.0)
    for c in (ours.process, theirs.process, sim):
        bench.procs.end(c)


def bench_latency(bench):
    print("Latency added at moderate load (500 requests a second), over going direct")
    sim, port = bench.simulator()
    ours, theirs = bench.ccproxy(port), bench.nginx(port)
    ours.request = bench.request_file("chat", "/v1/chat/completions", chat(False))
    theirs.request = bench.request_file("messages", "/v1/messages", messages(False), ANTHROPIC)
    added = {"ccproxy": {"p50_us": [], "p99_us": []}, "nginx": {"p50_us": [], "p99_us": []}}
    for _ in range(bench.args.rounds):
        direct = bench.load(port, theirs.request, connections=16, requests=2500, rate=500)
        for c in (ours, theirs):
            through = bench.load(c.port, c.request, connections=16, requests=2500, rate=500)
            for k in through.keys() & added[c.name]:
                added[c.name][k].append(through[k] - direct[k])
    for k, budget in (("p50_us", 60), ("p99_us", 300)):
        figure, other = (statistics.median(added[n][k]) for n in ("ccproxy", "nginx"))
        verdict(k[:3], figure, budget, f"added {figure:.0f} us (nginx adds {other:.0f} us)")
    for c in (ours.process, theirs.process, sim):
        bench.procs.end(c)


def bench_memory(bench):
    print("Memory per open stream (private bytes of the worker)")
    for n, workers in ((1000, 1), (10000, 2)):  # two, since a stream takes two descriptors
        sim, port = bench.simulator("--event-delay", "1s", "--answer-tokens", "60")
        for make in (bench.ccproxy, bench.nginx):
            c = make(port, workers)
            is_ours = c.name == "ccproxy"
            c.request = bench.request_file(
                "hold", "/v1/chat/completions" if is_ours else "/v1/messages",
                chat(True) if is_ours else messages(True), () if is_ours else ANTHROPIC)
            idle = rss_kib(c.workers)
            load = subprocess.Popen(
                pinned(1, bench.args.load, "--to", f"127.0.0.1:{c.port}", "--request", c.request,
                       "--connections", n, "--hold"), stdout=subprocess.PIPE, text=True)
            if load.stdout.readline().strip() != "all open":
                sys.exit(f"bench: {c.name} did not open {n} streams")
            each = (rss_kib(c.workers) - idle) / n
            if is_ours:
                verdict(f"{n} streams", each, 16, f"ccproxy {each:.1f} KiB each, idle {idle} KiB")
            else:
                print(f"  {n} streams: nginx {each:.1f} KiB each, idle {idle} KiB", flush=True)
            load.kill()
            load.wait()
            bench.procs.end(c.process)
        bench.procs.end(sim)


def tls_front(bench, backend):
    """nghttpx on core 1, which ends TLS and HTTP/2 or 1.1, whichever is asked for."""
    cert, key = bench.certificate()
    port = free_port()
    p = bench.procs.start(
        pinned(1, "nghttpx", "--conf=/dev/null", "--workers=1", f"--frontend=127.0.0.1,{port}",
               f"--backend=127.0.0.1,{backend};;proto=http/1.1", "--backlog=16384",
               f"--errorlog-file={bench.tmp}/nghttpx.log", key, cert),
        stderr=subprocess.DEVNULL)
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return p, port, cert
        time.sleep(0.01)


def bench_upstream(bench):
    print("HTTP/1.1 and HTTP/2 to the upstream, over TLS: CPU and memory of the workers per open stream")
    for n, workers in ((1000, 1), (9900, 2)):  # nghttpx holds two descriptors a stream, of 20000
        sim, port = bench.simulator("--event-delay", "1s", "--answer-tokens", "60")
        front, tls_port, cert = tls_front(bench, port)
        for http in ("1.1", "2"):
            c = bench.ccproxy(port, workers, ANTHROPIC_BASE_URL=f"https://127.0.0.1:{tls_port}",
                              CCPROXY_CA_FILE=str(cert), CCPROXY_UPSTREAM_HTTP=http,
                              CCPROXY_CONNECT_TIMEOUT="60s")
            request = bench.request_file("hold", "/v1/chat/completions", chat(True))
            idle, before = rss_kib(c.workers), cpu_us(c.workers)
            load = subprocess.Popen(
                pinned(1, bench.args.load, "--to", f"127.0.0.1:{c.port}", "--request", request,
                       "--connections", n, "--hold"), stdout=subprocess.PIPE, text=True)
            if load.stdout.readline().strip() != "all open":
                sys.exit(f"bench: HTTP/{http} did not open {n} streams")
            opened = cpu_us(c.workers)
            time.sleep(5)
            flowing = (cpu_us(c.workers) - opened) / n / 5
            print(f"  {n} streams, HTTP/{http}: {(opened - before) / n:.0f} us to open, {flowing:.1f} us a second "
                  f"while open, {(rss_kib(c.workers) - idle) / n:.1f} KiB each", flush=True)
            load.kill()
            load.wait()
            bench.procs.end(c.process)
        bench.procs.end(front)
        bench.procs.end(sim)


def h2load(url, body, requests, *options):
    """Runs it on the load's core; every request must succeed."""
    fields = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json",
              "-H", "anthropic-version: 2023-06-01"]
    out = subprocess.run(pinned(1, "h2load", "-n", requests, *options, *fields, "-d", body, url),
                         check=True, capture_output=True, text=True).stdout
    if f"{requests} succeeded" not in out:
        sys.exit(f"bench: {url}: {out}")


def bench_doors(bench):
    print("CPU per short non-streamed request by what carries it (32 at a time), and per TLS handshake with one")
    sim, port = bench.simulator()
    cert, key = bench.certificate()
    ours = bench.ccproxy(port, CCPROXY_LISTEN="127.0.0.1:0,127.0.0.1:0 tls", CCPROXY_TLS_CERT=str(cert),
                         CCPROXY_TLS_KEY=str(key))
    theirs = bench.nginx(port, tls=True)
    n = bench.args.requests
    ways = {"HTTP/1.1": (False, n, "--h1", "-c", 32), "HTTP/1.1 over TLS": (True, n, "--h1", "-c", 32),
            "HTTP/2 over TLS, 32 connections": (True, n, "-c", 32),
            "HTTP/2 over TLS, 1 connection": (True, n, "-c", 1, "-m", 32),
            "handshake": (True, 500, "--h1", "-c", 500)}
    for c, path, body in ((ours, "/v1/chat/completions", chat(False)), (theirs, "/v1/messages", messages(False))):
        c.path, c.body = path, bench.tmp / f"{c.name}.json"
        c.body.write_text(json.dumps(body))
    for name, (tls, requests, *options) in ways.items():
        figures = {"ccproxy": [], "nginx": []}
        for _ in range(bench.args.rounds):
            for c in (ours, theirs):
                url = f"https://127.0.0.1:{c.tls_port}" if tls else f"http://127.0.0.1:{c.port}"
                before = cpu_us(c.workers)
                h2load(url + c.path, c.body, requests, *options)
                figures[c.name].append((cpu_us(c.workers) - before) / requests)
        a, b = (statistics.median(figures[k]) for k in figures)
        print(f"  {name}: ccproxy {a:.1f} us, nginx {b:.1f} us, ratio {a / b:.2f}", flush=True)
    for c in (ours.process, theirs.process, sim):
        bench.procs.end(c)


ATTACKS = 100  # connections a second


@contextlib.contextmanager
def flood(bench, c, name):
    """While it lasts; then figures has what it sent, in a second, and what that cost the worker."""
    figures = {}
    attacker = subprocess.Popen(
        pinned(1, "chrt", "-i", "0", sys.executable, HERE / "flood.py", c.port, name, ATTACKS),  # others' load goes first
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    attacker.stdout.readline()
    begin = time.monotonic()
    yield figures
    done = json.loads(attacker.communicate("over")[0])
    figures.update({k: v / (time.monotonic() - begin) for k, v in done.items()})


def bench_floods(bench):
    print(f"HTTP/2 floods of {ATTACKS} connections a second: latency of others' requests (200 a second) over what it is "
          "before and after, CPU of each connection, growth of the worker")
    sys.path.insert(0, str(HERE.parent / "tests" / "e2e"))
    from http2_floods import FLOODS, RUDE
    sim, port = bench.simulator()
    c = bench.ccproxy(port, CCPROXY_API_KEYS=f"bench:{KEY},rude:{RUDE}")
    c.request = bench.request_file("chat", "/v1/chat/completions", chat(False))
    load = {"connections": 8, "requests": 200, "rate": 200}
    bench.load(c.port, c.request, **load)
    idle_kib, grown_kib, ratios = rss_kib(c.workers), 0, {"p50_us": {}, "p99_us": {}}
    for name in FLOODS:
        rounds, cost = {"p50_us": [], "p99_us": []}, []
        for _ in range(bench.args.rounds):
            cpu = [cpu_us(c.workers)]
            before = bench.load(c.port, c.request, **load)
            cpu.append(cpu_us(c.workers))
            with flood(bench, c, name) as sent:
                during = bench.load(c.port, c.request, **load)
                cpu.append(cpu_us(c.workers))
            after = bench.load(c.port, c.request, **load)
            if before["errors"] + during["errors"] + after["errors"]:
                sys.exit(f"bench: {name}: {before} {during} {after}")
            grown_kib = max(grown_kib, rss_kib(c.workers) - idle_kib)
            cost.append((cpu[2] - 2 * cpu[1] + cpu[0]) / sent["connections"])
            for k, figures in rounds.items():
                figures.append(2 * during[k] / (before[k] + after[k]))
        for k, figures in rounds.items():
            ratios[k][name] = statistics.median(figures)
        print(f"  {name}: p50 {ratios['p50_us'][name]:.2f}, p99 {ratios['p99_us'][name]:.2f} times, "
              f"{sent['pieces']:.0f} pieces a second, {statistics.median(cost):.0f} us a connection", flush=True)
    for k, figures in ratios.items():
        worst = max(figures, key=figures.get)
        verdict(k[:3], statistics.median(figures.values()), 2,
                f"{statistics.median(figures.values()):.2f} times, at worst {figures[worst]:.2f} ({worst})")
    verdict("growth", grown_kib / 1024, 16, f"{grown_kib / 1024:.1f} MiB")
    for process in (c.process, sim):
        bench.procs.end(process)


def bench_translation(bench):
    print("Translation, CPU in one process")
    out = subprocess.run(pinned(0, bench.args.translate), check=True, capture_output=True, text=True)
    for line in out.stdout.splitlines():
        name, figure, budget = line.split("\t")
        verdict(name, float(figure), float(budget), f"{figure} us")


def bench_estimate(bench):
    print("The guess of a prompt's tokens, beside the public tokenizer of Claude 2")
    out = subprocess.run([bench.args.estimate], check=True, capture_output=True, text=True).stdout
    errors = []
    for line in out.splitlines():
        kind, true, guess, learnt = line.split("\t")
        errors.append((abs(int(guess) / int(true) - 1), abs(int(learnt) / int(true) - 1)))
        print(f"  {kind}: {true} tokens, guessed {guess} ({int(guess) / int(true) - 1:+.0%}), "
              f"after twenty answers {learnt} ({int(learnt) / int(true) - 1:+.0%})")
    before, after = (statistics.mean(e) for e in zip(*errors))
    print(f"  mean error {before:.0%}, after twenty answers of the kind {after:.0%}")


def bench_scrape(bench):
    print("A page of 10,000 series, in the worker that writes it for /metrics")
    out = subprocess.run(pinned(0, bench.args.scrape), check=True, capture_output=True, text=True).stdout
    series, whole, longest = map(int, out.split("\t"))
    verdict("page", whole / 1000, 10, f"{series} series in {whole / 1000:.1f} ms")
    verdict("turn", longest / 1000, 1, f"at most {longest} us between two turns of the loop")


def bench_start(bench):
    print("Start")
    times = []
    sim, port = bench.simulator()
    for _ in range(bench.args.rounds):
        begin = time.monotonic()
        c = bench.ccproxy(port)
        times.append((time.monotonic() - begin) * 1000)
        idle = rss_kib(c.workers) / 1024
        bench.procs.end(c.process)
    verdict("ready", statistics.median(times), 50, f"{statistics.median(times):.0f} ms")
    verdict("idle worker", idle, 10, f"{idle:.1f} MiB")
    bench.procs.end(sim)


def bench_soak(bench):
    """Only by name: 10,000 slow streams at once, each followed by another, for --minutes."""
    print(f"Soak: 10,000 slow streams on two cores, {bench.args.minutes} minutes of churn")
    sim, port = bench.simulator("--event-delay", "1s", "--answer-tokens", "40")
    ours = bench.ccproxy(port, 2)
    ours.request = bench.request_file("chat", "/v1/chat/completions", chat(True))
    one = bench.load(ours.port, ours.request, connections=1, requests=1)
    seconds = one["p50_us"] / 1e6
    requests = int(bench.args.minutes * 60 / seconds) * 10000
    load = bench.procs.start(
        pinned(1, bench.args.load, "--to", f"127.0.0.1:{ours.port}", "--request", ours.request,
               "--connections", 10000, "--requests", requests), stdout=subprocess.PIPE, text=True)
    samples = []
    while load.poll() is None:
        time.sleep(min(10, seconds))
        samples.append(rss_kib(ours.workers))
    done = json.loads(load.stdout.read().splitlines()[-1])
    bench.procs.all.remove(load)
    lost = requests * one["events"] - done["events"]
    middle = len(samples) // 2
    early, late = max(samples[2:middle]), max(samples[middle:-2])
    verdict("events lost", lost + done["errors"], 0,
            f"{done['events']} events of {requests} streams, {lost} lost, {done['errors']} errors")
    verdict("growth", late / early, 1.02,
            f"{early} KiB in the first half, {late} KiB in the second")


PARTS = {"short": bench_short, "admission": bench_admission, "observability": bench_observability, "events": bench_events, "latency": bench_latency,
         "memory": bench_memory, "upstream": bench_upstream, "doors": bench_doors, "floods": bench_floods, "translation": bench_translation, "start": bench_start,
         "estimate": bench_estimate, "scrape": bench_scrape}
BY_NAME = {**PARTS, "soak": bench_soak}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *BY_NAME],
                        help="all but soak by default")
    parser.add_argument("--binary", default="build/ccproxy")
    parser.add_argument("--load", default="build/load")
    parser.add_argument("--translate", default="build/translate")
    parser.add_argument("--estimate", default="build/estimate")
    parser.add_argument("--scrape", default="build/scrape")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--minutes", type=int, default=10, help="of the soak")
    args = parser.parse_args()
    bench = Bench(args)
    try:
        for name in args.parts or PARTS:
            BY_NAME[name](bench)
    finally:
        bench.close()
    print(f"budgets: {sum(results)} met, {len(results) - sum(results)} missed")


if __name__ == "__main__":
    main()
