"""What the Python programs share: where to connect, scripting the simulator, and running the tests.

Each program is a set of functions named test_*; the output is one line a test, "ok NAME" or
"not ok NAME: why", which test_clients.py reads.
"""
import asyncio
import inspect
import json
import os
import sys
import traceback
import urllib.request

BASE = os.environ["CCPROXY_URL"] + "/v1"
KEY = os.environ["CCPROXY_KEY"]
SIM = os.environ["SIM_URL"]
HTTP2 = "CCPROXY_CLIENT_HTTP2" in os.environ  # is what clients speak
MODEL = "gpt-4o"
HELLO = [{"role": "user", "content": "Hello there, wörld 👋"}]
PNG = ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9Q"
       "DwADhgGAWjR9awAAAABJRU5ErkJggg==")
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"]}}}


def control(method, path, body=None):
    request = urllib.request.Request(SIM + path, method=method,
                                     data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"null")


def script(*answers):
    """The simulator's next answers."""
    control("POST", "/_sim/script", {"answers": list(answers)})


def error(status, kind, message="scripted", **headers):
    answer = {"status": status, "body": json.dumps(
        {"type": "error", "error": {"type": kind, "message": message}})}
    answer["headers"] = {"content-type": "application/json", **headers}
    return answer


START = {"type": "message_start", "message": {
    "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": [],
    "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}}
OPEN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}


def delta(text):
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


BROKEN = {"events": [START, OPEN, delta("half"), {
    "type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}]}
CUT = {"events": [START, OPEN, delta("half")]}
# It takes so many tokens that the limit of "waits", 6000 a minute, is there again after three seconds.
COSTLY = {"events": [START, OPEN, delta("much"), {"type": "content_block_stop", "index": 0},
                     {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 6300}},
                     {"type": "message_stop"}]}
# The first piece has a delta in it; the second would come much later.
HELD = {"events": [START, OPEN] + [delta("half")] * 50, "split": 1000, "delay_ms": 600000}


def requests_seen():
    return control("GET", "/_sim/requests")


def forget():
    control("DELETE", "/_sim/script")
    control("DELETE", "/_sim/requests")


def main(module):
    names = [n for n in vars(module) if n.startswith("test_")]
    failed = False
    for name in names:
        forget()
        try:
            result = getattr(module, name)()
            if inspect.isawaitable(result):
                asyncio.run(result)
            print("ok", name, flush=True)
        except Exception as e:
            failed = True
            where = traceback.extract_tb(sys.exc_info()[2])[-1]
            print(f"not ok {name}: {type(e).__name__} {e} ({where.name}:{where.lineno})".replace(
                "\n", " "), flush=True)
    sys.exit(failed)
