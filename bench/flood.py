#!/usr/bin/env python3
"""An HTTP/2 client that floods a server until its standard input has something: so many connections a second, on each
all that the server takes. It says when it begins, and at the end how many connections and pieces of the flood that were.

    flood.py PORT NAME RATE     NAME: of tests/e2e/http2_floods.py
"""
import contextlib
import json
import pathlib
import select
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from http2 import PREFACE, SETTINGS, frame  # noqa: E402
from http2_floods import FLOODS  # noqa: E402

PIECES = 5000


def waits(seconds):
    """Whether it goes on after that time."""
    return not select.select([sys.stdin], [], [], max(0, seconds))[0]


def pour(port, flood):
    """The bytes that were taken before the server would have no more, or was slow to."""
    taken = 0
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as sock:
        sock.settimeout(0.1)
        with contextlib.suppress(OSError):
            while taken < len(flood):
                taken += sock.send(flood[taken:taken + 65536])
    return taken


def main():
    port, name, rate = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    piece = FLOODS[name][0]
    pieces = [piece(i) for i in range(PIECES)]
    flood = memoryview(PREFACE + frame(SETTINGS) + b"".join(pieces))
    connections = taken = 0
    print("begun", flush=True)
    begin = time.monotonic()
    while waits(begin + connections / rate - time.monotonic()):
        taken += pour(port, flood)
        connections += 1
    print(json.dumps({"connections": connections, "pieces": taken * PIECES // len(flood)}))


if __name__ == "__main__":
    main()
