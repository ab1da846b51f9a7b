#!/usr/bin/env python3
"""Plays every golden stream to the official clients and compares what they make of it.

usage: replay.py GOLDEN DIRECTORY CLIENTS      (CLIENTS: where tests/e2e/clients/install.sh put them)

A small server answers with the frames of the case that the request names as its model. Each program in
this directory asks for all cases, once a way of reading, and prints a JSON line for each: the text, the
tool calls, the finish reason, or that an error was raised. The last line is
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


def expected(frames):
    """What a careful reader makes of the frames."""
    text, tools, finish, refusal = "", {}, None, ""
    for frame in frames:
        if not isinstance(frame, dict):
            continue
        if "error" in frame:
            return {"error": True}
        for choice in frame["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            refusal += delta.get("refusal") or ""
            for call in delta.get("tool_calls", []):
                function = call.get("function") or {}
                tool = tools.setdefault(call["index"], {"name": "", "arguments": ""})
                tool["name"] += function.get("name") or ""
                tool["arguments"] += function.get("arguments") or ""
            finish = choice["finish_reason"] or finish
    return {"text": text, "tools": [tools[i] for i in sorted(tools)], "finish": finish,
            "refusal": refusal}


def cases(program, directory):
    for path in sorted(pathlib.Path(directory).glob("*.json")):
        case = json.loads(path.read_text())
        if case.get("kind") != "stream":
            continue
        text = golden.run(program, "stream", golden.with_request(case))
        frames = golden.frames_of(text)
        odd = any(isinstance(f, dict) and any(
            "function_call" in c["delta"] or any(t.get("custom") for t in c["delta"].get("tool_calls", []))
            for c in f.get("choices", [])) for f in frames)
        yield path.stem, text, expected(frames), odd


def same(client, want, got):
    if want.get("error"):
        return bool(got.get("error"))
    if got.get("error"):
        return False
    text = want["text"]
    if client == "ai-sdk":
        text += want["refusal"]  # it shows a refusal as text
    tools = [{**t, "arguments": t["arguments"]} for t in want["tools"]]
    return got["text"] == text and got["tools"] == tools and got["finish"] == want["finish"]


def main(program, directory, clients):
    wanted, odd, streams = {}, set(), {}
    for name, text, want, is_odd in cases(program, directory):
        wanted[name], streams[name] = want, text
        if is_odd:
            odd.add(name)
    server = Server(streams)
    env = {**os.environ, "BASE": f"http://127.0.0.1:{server.server_port}/v1",
           "CASES": json.dumps(list(wanted)), "LANGSMITH_TRACING": "false"}
    there = pathlib.Path(clients) / "node" / "replay.mjs"
    there.write_text((HERE / "replay.mjs").read_text())
    passed = failed = 0
    seen = set()
    for command in ([f"{clients}/venv/bin/python", str(HERE / "replay_python.py")], ["node", str(there)]):
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
        for line in done.stdout.splitlines():
            got = json.loads(line)
            client, name = got["client"], got["case"]
            seen.add((client, name))
            if name in odd:  # custom tools and functions, which not all clients read
                continue
            if same(client, wanted[name], got):
                passed += 1
            else:
                failed += 1
                print(f"{client}: {name}: {json.dumps(got)}, not {json.dumps(wanted[name])}")
    for client in ("openai-python", "langchain-python", "openai-node", "openai-node-raw", "ai-sdk",
                   "langchain-node"):
        lost = [n for n in wanted if (client, n) not in seen]
        if lost:
            failed += len(lost)
            print(f"{client} did not finish: {lost}")
    print(f"replay: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
