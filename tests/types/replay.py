#!/usr/bin/env python3
"""Plays every golden stream to the official clients and compares what they make of it.

usage: replay.py GOLDEN CLIENTS DIRECTORY...     (CLIENTS: where tests/e2e/clients/install.sh put them)

A small server answers with the frames of the case that the request names as its model. Each program in
this directory asks for all cases, once a way of reading, and prints a JSON line for each: text, tool
calls, finish reason, and what else that client tells (reasoning, usage, refusal, sources), or that an error
was raised. It must be what the answer in one piece says that is made of the same events. The last line is
"replay: N passed, N failed".
"""
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
LEGACY = ("openai-python", "langchain-python", "openai-node", "ai-sdk", "langchain-node")
CLIENTS = (*LEGACY, "openai-node-raw")
KNOW_NO_CUSTOM_TOOLS = ("ai-sdk", "langchain-python")
READ_ALL_CALLS = ("frames", "openai-python", "openai-node", "openai-node-raw")
sys.path.insert(0, str(HERE.parent / "golden"))
import run as golden  # noqa: E402


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, streams):
        super().__init__(("127.0.0.1", 0), Handler)
        self.streams = streams
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = self.server.streams[body["model"]].encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def counts(usage):
    return [usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]] if usage else None


def sources(annotations):
    return [[a["url_citation"][k] for k in ("url", "start_index", "end_index")] for a in annotations or []]


def add_call(tools, index, call):
    """A piece of a call: of a function, of a custom tool, or of the legacy form."""
    what = call.get("function") or call.get("custom") or call
    tool = tools.setdefault(index, {"name": "", "arguments": ""})
    tool["name"] += what.get("name") or ""
    tool["arguments"] += what.get("arguments") or what.get("input") or ""


def from_frames(frames):
    """What a careful reader makes of the frames."""
    got = {"text": "", "reasoning": "", "refusal": "", "sources": [], "finish": None, "usage": None}
    tools = {}
    for frame in frames:
        if not isinstance(frame, dict):
            continue
        if "error" in frame:
            return {"error": True}
        got["usage"] = counts(frame.get("usage")) or got["usage"]
        for choice in frame["choices"]:
            delta = choice.get("delta", {})
            got["text"] += choice.get("text") or delta.get("content") or ""
            got["reasoning"] += delta.get("reasoning_content") or ""
            got["refusal"] += delta.get("refusal") or ""
            got["sources"] += sources(delta.get("annotations"))
            for call in delta.get("tool_calls", []):
                add_call(tools, call["index"], call)
            if delta.get("function_call"):
                add_call(tools, 0, delta["function_call"])
            got["finish"] = choice["finish_reason"] or got["finish"]
    return {**got, "tools": [tools[i] for i in sorted(tools)]}


def from_whole(body):
    """The same of the answer in one piece."""
    if "error" in body:
        return {"error": True}
    choice = body["choices"][0]
    message = choice.get("message", {})
    calls = message.get("tool_calls", []) or [c for c in [message.get("function_call")] if c]
    tools = {}
    for i, call in enumerate(calls):
        add_call(tools, i, call)
    return {"text": choice.get("text") or message.get("content") or "",
            "reasoning": message.get("reasoning_content") or "",
            "refusal": message.get("refusal") or "", "sources": sources(message.get("annotations")),
            "tools": list(tools.values()), "finish": choice["finish_reason"], "usage": counts(body["usage"])}


class Case:
    def __init__(self, program, path, case):
        self.name = f"{path.parent.name}/{path.stem}"
        self.legacy = case.get("dialect") == "completions"
        case = golden.with_request(case)
        request = {**case["openai_request"], "stream_options": {"include_usage": True}}
        case = {**case, "openai_request": request}
        self.text = golden.run(program, "stream", case)
        self.frames = golden.frames_of(self.text)
        self.want = from_whole(json.loads(golden.run(program, "response", case)))
        self.custom, self.function = '"type":"custom"' in self.text, '"function_call":{' in self.text

    def differences(self, client, got):
        """The names of what differs. What a client does not tell it leaves out."""
        if self.custom and client in KNOW_NO_CUSTOM_TOOLS:
            return []  # they raise; a client gets such calls only if it declared such a tool
        want = dict(self.want)
        if bool(want.get("error")) != bool(got.get("error")):
            return ["error"]
        if want.get("error"):
            return []
        if client == "ai-sdk":
            want["text"] += want["refusal"]  # it shows a refusal as text
        if (self.custom or self.function) and client not in READ_ALL_CALLS:
            del want["tools"]
        return [k for k in want if (k in got or k in ("text", "tools", "finish")) and got.get(k) != want[k]]


def cases(program, directories):
    for path in (p for d in directories for p in sorted(pathlib.Path(d).glob("*.json"))):
        case = json.loads(path.read_text())
        if case.get("kind") == "stream":
            yield Case(program, path, case)


def answers(clients, wanted, port):
    """What each program makes of each case."""
    env = {**os.environ, "BASE": f"http://127.0.0.1:{port}/v1", "LANGSMITH_TRACING": "false",
           "CASES": json.dumps([{"name": c.name, "legacy": c.legacy} for c in wanted.values()])}
    there = pathlib.Path(clients) / "node" / "replay.mjs"
    there.write_text((HERE / "replay.mjs").read_text())
    for command in ([f"{clients}/venv/bin/python", str(HERE / "replay_python.py")], ["node", str(there)]):
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
        yield from map(json.loads, done.stdout.splitlines())


def main(program, clients, *directories):
    wanted = {c.name: c for c in cases(program, directories)}
    passed, faults = 0, []

    def count(client, case, got):
        nonlocal passed
        differs = case.differences(client, got)
        if differs:
            faults.append(f"{client}: {case.name}: {differs}: {json.dumps(got)}, not {json.dumps(case.want)}")
        else:
            passed += 1

    for case in wanted.values():
        count("frames", case, from_frames(case.frames))
    server = Server({name: c.text for name, c in wanted.items()})
    seen = set()
    for got in answers(clients, wanted, server.server_port):
        seen.add((got["client"], got["case"]))
        count(got["client"], wanted[got["case"]], got)
    for case in wanted.values():
        faults += [f"{client} did not finish {case.name}" for client in (LEGACY if case.legacy else CLIENTS)
                   if (client, case.name) not in seen]
    print("\n".join([*faults, f"replay: {passed} passed, {len(faults)} failed"]))
    return 1 if faults or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
