"""Both ends of the proxy, scripted: the real binary between raw clients and raw upstreams.

    Raw client  --->  ccproxy (the built binary)  --->  Upstream (a thread per connection)

Nothing here sleeps to wait for something: every wait blocks on a socket, a pipe or a condition, with a
deadline after which the test fails. Ports are always chosen free: by the system, or by free_port().
"""
import contextlib
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("CCPROXY_BINARY", ROOT / "build" / "ccproxy"))
DEADLINE = float(os.environ.get("CCPROXY_TEST_DEADLINE", "20"))
KEY = "sk-test-0123456789abcdef"
UPSTREAM_KEY = "sk-ant-upstream-secret"


def free_port():
    """A port for a server that cannot choose its own: below those that the system hands out, so that no
    connection of another test can take it in the meantime."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(min(10000, first // 2), first)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port


class Gone(Exception):
    """The peer closed (or reset) the connection."""


class Wire:
    """A socket with a buffer: read exact amounts, up to a mark, or to the end."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def fill(self):
        try:
            more = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError) as e:
            raise Gone("reset") from e
        except ssl.SSLError as e:
            raise Gone("tls") from e
        if not more:
            raise Gone("closed")
        self.data += more

    def until(self, mark):
        while mark not in self.data:
            self.fill()
        head, self.data = self.data.split(mark, 1)
        return head + mark

    def exactly(self, n):
        while len(self.data) < n:
            self.fill()
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def rest(self):
        """Everything until the peer closes; the way it closed is in self.how."""
        self.how = "closed"
        try:
            while True:
                self.fill()
        except Gone as e:
            self.how = str(e)
        taken, self.data = self.data, b""
        return taken

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        try:
            self.sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError) as e:
            raise Gone("reset") from e

    def trickle(self, data):
        """Each byte in a segment of its own, as far as that can be had."""
        for i in range(len(data)):
            self.send(data[i:i + 1])

    def end_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()


def parse_head(raw):
    lines = raw.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines[1:]:
        if line:
            name, value = line.split(":", 1)
            fields.setdefault(name.strip().lower(), value.strip())
    return lines[0], fields


def read_chunked(wire):
    body = b""
    while True:
        size = int(wire.until(b"\r\n").split(b";")[0], 16)
        body += wire.exactly(size)
        wire.exactly(2)
        if size == 0:
            return body


class Response:
    def __init__(self, line, fields, body, complete):
        self.line, self.fields, self.body, self.complete = line, fields, body, complete
        self.status = int(line.split(" ")[1])

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]

    def frames(self):
        """The data of an event stream's frames, parsed; comments left out."""
        out = []
        for block in self.body.decode().split("\n\n"):
            for line in block.split("\n"):
                if line.startswith("data: "):
                    data = line[6:]
                    out.append(data if data == "[DONE]" else json.loads(data))
        return out


class Client(Wire):
    """A raw HTTP/1.1 client."""

    def __init__(self, address, receive_buffer=0):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        if isinstance(address, str):
            family = socket.AF_UNIX
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(DEADLINE)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(address)
        super().__init__(sock)

    def request(self, method, path, body=None, fields=(), key=KEY):
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
        if key:
            head += f"Authorization: Bearer {key}\r\n"
        if body is not None:
            if not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            body = body.encode() if isinstance(body, str) else body
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        for name, value in dict(fields).items():
            head += f"{name}: {value}\r\n"
        self.send(head.encode() + b"\r\n" + (body or b""))

    def head(self):
        return parse_head(self.until(b"\r\n\r\n"))

    def response(self, is_head=False):
        line, fields = self.head()
        while line.split(" ")[1].startswith("1"):
            line, fields = self.head()
        complete = True
        if is_head or line.split(" ")[1] in ("204", "304"):
            body = b""
        elif fields.get("transfer-encoding") == "chunked":
            body = b""
            try:
                while True:
                    size = int(self.until(b"\r\n"), 16)
                    body += self.exactly(size)
                    self.exactly(2)
                    if size == 0:
                        break
            except Gone:
                body, complete = body + self.data, False
        elif "content-length" in fields:
            body = self.exactly(int(fields["content-length"]))
        else:
            body = self.rest()
        return Response(line, fields, body, complete)

    def chat(self, content="hello", stream=False, model="claude-sonnet-5-5", **extra):
        body = {"model": model, "messages": [{"role": "user", "content": content}], **extra}
        if stream:
            body["stream"] = True
        self.request("POST", "/v1/chat/completions", body)

    def stream(self, **kwargs):
        """Asks for a stream and reads the head of the answer."""
        self.chat(stream=True, **kwargs)
        line, fields = self.head()
        if " 200 " not in line:
            raise AssertionError(f"no stream: {line} {self.data!r}")
        return fields

    def text(self, wanted):
        """Reads frames until their text contains wanted; returns all of it."""
        seen = b""
        while wanted.encode() not in seen:
            piece = self.frame()
            if not piece:
                raise AssertionError(f"the stream ended without {wanted!r}: {seen!r}")
            seen += piece
        return seen.decode()

    def frame(self):
        """The next chunk of a chunked answer whose head has been read; b"" at its end."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size)
        self.exactly(2)
        return data


def trickle_tls(client, context, path):
    """Asks for a path over TLS, every byte of it, handshake included, in a segment of its own; what is
    answered."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(into, out, server_hostname="localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.trickle(out.read())
            into.write(client.sock.recv(65536))
    tls.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    client.trickle(out.read())
    into.write(client.rest())
    return tls.read()


class Call(Wire):
    """One connection from the proxy to the scripted upstream."""

    def read_request(self):
        line, fields = parse_head(self.until(b"\r\n\r\n"))
        if fields.get("transfer-encoding") == "chunked":
            body = read_chunked(self)
        else:
            body = self.exactly(int(fields.get("content-length", 0)))
        self.line, self.fields, self.body = line, fields, body
        self.on_request(self)
        return line, fields, body

    @staticmethod
    def on_request(call):
        """Replaced by the Upstream that counts."""

    def json(self):
        return json.loads(self.body)

    def head(self, status=200, reason="OK", then=b"", **fields):
        fields.setdefault("content_type", "text/event-stream; charset=utf-8")
        lines = [f"HTTP/1.1 {status} {reason}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in fields.items() if v is not None]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + then)

    def start(self, **fields):
        self.head(**{"transfer_encoding": "chunked", "request_id": "req_upstream_1", **fields})

    def chunk(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self):
        self.send(b"0\r\n\r\n")

    def event(self, data):
        self.chunk(sse(data))

    def answer(self, events=None, text="Hello!", **fields):
        """A whole, well-behaved streamed answer, in one piece."""
        pieces = [sse(e).encode() for e in (events if events is not None else text_events(text))]
        body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces)
        self.start(then=body + b"0\r\n\r\n", **fields)

    def error(self, status, kind, message, **fields):
        body = json.dumps({"type": "error", "error": {"type": kind, "message": message},
                           "request_id": "req_upstream_1"})
        self.head(status, "Error", then=body.encode(), content_length=len(body),
                  **{"content_type": "application/json", **fields})

    def wait_closed(self):
        """Blocks until the proxy closes; returns what it still sent."""
        return self.rest()


def sse(data):
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def message_start(model="claude-sonnet-5-5", **usage):
    return {"type": "message_start",
            "message": {"id": "msg_01Test", "type": "message", "role": "assistant", "model": model,
                        "content": [], "stop_reason": None, "stop_sequence": None,
                        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 0,
                                  "cache_read_input_tokens": 0, "output_tokens": 1, **usage}}}


def text_start(index=0):
    return {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}


def text_delta(text, index=0):
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def block_stop(index=0):
    return {"type": "content_block_stop", "index": index}


def message_delta(stop="end_turn", output=5, **usage):
    return {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": output, **usage}}


MESSAGE_STOP = {"type": "message_stop"}
PING = {"type": "ping"}


def text_events(*texts):
    return [message_start(), text_start(), *[text_delta(t) for t in texts], block_stop(),
            message_delta(), MESSAGE_STOP]


class Upstream:
    """A server whose behaviour is a function of the connection: script(call), run per connection.

    A script that raises Gone has met the end of the proxy's connection; anything else it raises is kept
    and fails the test when the Upstream is closed.
    """

    def __init__(self, script, address="127.0.0.1", port=0, tls=None, name=None, send_buffer=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        is_path = "/" in address
        self.listener = socket.socket(socket.AF_UNIX if is_path else family, socket.SOCK_STREAM)
        if send_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.listener.bind(address if is_path else (address, port))
        self.listener.listen(256)
        if is_path:
            os.chmod(address, 0o777)
        self.port = port if is_path else self.listener.getsockname()[1]
        self.tls = tls
        host = name or (f"[{address}]" if ":" in address else address)
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self.script = script
        self.calls = []
        self.requests = []  # bodies, in the order in which they were whole
        self.errors = []
        self.handshakes = []  # whether each was a resumption, or the error
        self.changed = threading.Condition()
        self.threads = []
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            call = Call(sock)
            call.on_request = self._count
            with self.changed:
                self.calls.append(call)
                call.number = len(self.calls)
                self.changed.notify_all()
            thread = threading.Thread(target=self._run, args=(call,), daemon=True)
            thread.start()
            self.threads.append(thread)  # close() joins those that have started

    def _count(self, call):
        with self.changed:
            self.requests.append(call.body)
            self.changed.notify_all()

    def _handshake(self, call):
        try:
            call.sock = self.tls.wrap_socket(call.sock, server_side=True)
        except OSError as e:
            self.handshakes.append(e)
            raise Gone("handshake") from e
        self.handshakes.append(call.sock.session_reused)

    def _run(self, call):
        try:
            if self.tls:
                self._handshake(call)
            self.script(call)
        except Gone:
            pass
        except OSError as e:
            self.errors.append(e)
        except Exception as e:  # reported by close()
            self.errors.append(e)
        finally:
            call.close()
            with self.changed:
                self.changed.notify_all()

    def wait_calls(self, n):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.calls) >= n, DEADLINE):
                raise AssertionError(f"only {len(self.calls)} of {n} upstream connections came")

    def wait_requests(self, n):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= n, DEADLINE):
                raise AssertionError(f"only {len(self.requests)} of {n} upstream requests came")

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for call in self.calls:
            with contextlib.suppress(OSError):
                call.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(DEADLINE)
        unexpected = [e for e in self.errors if not isinstance(e, OSError)]
        if unexpected:
            raise unexpected[0]


def held(gate, events):
    """A script that sends the first event, and the others when gate is set."""
    def script(call):
        call.read_request()
        call.start()
        call.event(events[0])
        gate.wait(DEADLINE)
        for event in events[1:]:
            call.event(event)
        call.end()
    return script


def each_request(answer):
    """A script that answers every request on the connection with answer(call)."""

    def script(call):
        while True:
            call.read_request()
            answer(call)

    return script


UNLIMITED = {"CCPROXY_RATE_LIMIT_RPM": "0", "CCPROXY_RATE_LIMIT_TPM": "0",
             "CCPROXY_CONCURRENT_REQUESTS": "0", "CCPROXY_AUTH_FAILURES": "0"}


def environment(env, upstream=None):
    """What a ccproxy is started with: the tests' settings, changed by env; None takes one away."""
    settings = {
        "ANTHROPIC_API_KEY": UPSTREAM_KEY,
        "CCPROXY_API_KEYS": f"tester:{KEY}",
        "CCPROXY_HOST": "127.0.0.1",
        "CCPROXY_PORT": "0",
        "CCPROXY_WORKERS": "1",
        "CCPROXY_REFRESH_MODELS": "false",
        **UNLIMITED,
    }
    if upstream is not None:
        settings["ANTHROPIC_BASE_URL"] = upstream if isinstance(upstream, str) else upstream.url
    settings.update(env)
    kept = {k: v for k, v in os.environ.items()
            if k in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")}
    return {**kept, **{k: str(v) for k, v in settings.items() if v is not None}}


def run(*args, **env):
    """Runs ccproxy to its end."""
    return subprocess.run([BINARY, *args], env=environment(env), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=DEADLINE, check=False)


class Proxy:
    """A running ccproxy. Its log lines are collected; wait_log blocks until one fits."""

    def __init__(self, upstream=None, descriptors=0, **env):
        command = ["bash", "-c", f'ulimit -n {descriptors} && exec "$0"', BINARY]
        self.lines = []
        self.raw = b""
        self.printed = b""
        self.changed = threading.Condition()
        self.exit_code = 0  # what a test expects
        self.process = subprocess.Popen(command if descriptors else [BINARY],
                                        env=environment(env, upstream),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        # a reader that falls behind loses lines, and tests count them
        fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, 1 << 20)
        self.readers = [threading.Thread(target=f, daemon=True) for f in (self._read, self._print)]
        for reader in self.readers:
            reader.start()
        try:
            ready = self.wait_log("ready")
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise
        self.text_address = ready["address"].split(", ")[0]
        self.addresses = [self._parse_address(a) for a in ready["address"].split(", ")]
        self.address = self.addresses[0]

    @staticmethod
    def _parse_address(text):
        if text.startswith("unix:"):
            return text[5:]
        host, port = text.rsplit(":", 1)
        return (host.strip("[]"), int(port))

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.raw += line
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.lines.append({"event": "unparsed", "text": line.decode(errors="replace")})
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _print(self):
        for line in self.process.stdout:
            with self.changed:
                self.printed += line
                self.changed.notify_all()

    def logs(self, event, **fields):
        return [x for x in self.lines
                if x.get("event") == event and all(x.get(k) == v for k, v in fields.items())]

    def wait_log(self, event, count=1, **fields):
        with self.changed:
            def there():
                return len(self.logs(event, **fields)) >= count or (
                    self.process.poll() is not None and not self.readers[0].is_alive())
            self.changed.wait_for(there, DEADLINE)
            found = self.logs(event, **fields)
        if len(found) < count:
            raise AssertionError(f"no log line {event!r} with {fields}; log:\n{self.raw.decode()}")
        return found[count - 1]

    def ended(self, count=1, **fields):
        """The log line of the count-th request that ended."""
        return self.wait_log("request", count, **fields)

    def client(self, **kwargs):
        return Client(self.address, **kwargs)

    def get(self, path, at=0, **kwargs):
        with contextlib.closing(Client(self.addresses[at])) as c:
            c.request("GET", path, **kwargs)
            return c.response()

    def chat(self, *args, **kwargs):
        with contextlib.closing(self.client()) as c:
            c.chat(*args, **kwargs)
            return c.response()

    def kill(self, number):
        os.kill(self.process.pid, number)

    def workers(self):
        """Process ids of the workers, as the system knows them."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path) as f:
            return [int(pid) for pid in f.read().split()]

    def worker_of(self, client):
        """The process that holds the other end of a client's connection."""
        inode = peer_inode(client.sock)
        for pid in self.workers():
            if f"socket:[{inode}]" in descriptors(pid):
                return pid
        raise AssertionError("no worker has that connection")

    def stop(self, number=signal.SIGTERM):
        """Ends it and returns its exit code; what it wrote has been read to the end."""
        if self.process.poll() is None:
            self.kill(number)
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"ccproxy did not stop; log:\n{self.raw.decode()}") from None
        for reader in self.readers:
            reader.join(DEADLINE)
        self.process.stderr.close()
        self.process.stdout.close()
        return code


def descriptors(pid):
    """What a process has open, as the names of /proc."""
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return names


def peer_inode(sock):
    """The inode of the other end of an IPv4 connection on this machine."""
    ours, theirs = sock.getsockname()[1], sock.getpeername()[1]
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            words = line.split()
            ports = [int(words[i].split(":")[1], 16) for i in (1, 2)]
            if ports == [theirs, ours] and words[9] != "0":
                return int(words[9])
    raise AssertionError("the other end is not on this machine")


def is_sanitized():
    with open(BINARY, "rb") as f:
        return b"__asan_init" in f.read()


def memory_kb(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(what + ":"):
                return int(line.split()[1])
    raise AssertionError(f"process {pid} has no {what}")


class TestCase(unittest.TestCase):
    """Starts upstreams and proxies and ends them, whatever happens; a crash or a sanitizer's word in
    the log fails the test."""

    def upstream(self, script, **kwargs):
        upstream = Upstream(script, **kwargs)
        self.addCleanup(upstream.close)
        return upstream

    def proxy(self, upstream=None, **kwargs):
        proxy = Proxy(upstream, **kwargs)
        self.addCleanup(self._stop, proxy)
        return proxy

    @classmethod
    def shared_upstream(cls, script, **kwargs):
        """The same for all tests of a class; from setUpClass."""
        upstream = Upstream(script, **kwargs)
        cls.addClassCleanup(upstream.close)
        return upstream

    @classmethod
    def shared_proxy(cls, upstream=None, **env):
        proxy = Proxy(upstream, **env)
        cls.addClassCleanup(cls._stop, proxy)
        return proxy

    @staticmethod
    def _stop(proxy):
        code = proxy.stop()
        # A sanitizer's report, or an assertion of ours, whatever became of the process.
        text = proxy.raw.decode(errors="replace")
        for word in ("Sanitizer", "assertion failed", "runtime error"):
            if word in text:
                raise AssertionError(text)
        if code != proxy.exit_code:
            raise AssertionError(f"exit code {code}; log:\n{text}")

    def directory(self):
        path = tempfile.mkdtemp(prefix="ccproxy-e2e-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        os.chmod(path, 0o755)  # workers run as another user
        return pathlib.Path(path)

    def assert_error(self, response, status, code=None, kind=None):
        """The answer is an error in OpenAI's shape; returns its message."""
        self.assertEqual(response.status, status, response.body)
        self.assertEqual(response.fields.get("content-type"), "application/json")
        self.assertEqual(sorted(response.error), ["code", "message", "param", "type"])
        self.assertTrue(response.error["message"])
        if code is not None:
            self.assertEqual(response.error["code"], code)
        if kind is not None:
            self.assertEqual(response.error["type"], kind)
        return response.error["message"]

    def client(self, proxy, **kwargs):
        client = proxy.client(**kwargs)
        self.addCleanup(client.close)
        return client


def until(predicate, what):
    """Polls the system's state (there is nothing to block on), with the deadline."""
    end = time.monotonic() + DEADLINE
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.01)
