#!/usr/bin/env python3
"""Plays every golden stream to the official clients and compares what they make of it.

usage: replay.py GOLDEN DIRECTORY CLIENTS      (CLIENTS: where tests/e2e/clients/install.sh put them)

A small server answers with the frames of the case that the request names as its model. Each program in
this directory asks for all cases, once a way of reading, and prints a JSON line for each: text, tool
calls, finish reason, reasoning and usage, or that an error was raised. It must be what the answer in one
piece says that is made of the same events. The last line is
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


def counts(usage):
    return [usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]] if usage else None


def from_frames(frames):
    """What a careful reader makes of the frames."""
    text, reasoning, tools, finish, refusal, usage = "", "", {}, None, "", None
    for frame in frames:
        if not isinstance(frame, dict):
            continue
        if "error" in frame:
            return {"error": True}
        usage = frame.get("usage") or usage
        for choice in frame["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            reasoning += delta.get("reasoning_content") or ""
            refusal += delta.get("refusal") or ""
            for call in delta.get("tool_calls", []):
                function = call.get("function") or {}
                tool = tools.setdefault(call["index"], {"name": "", "arguments": ""})
                tool["name"] += function.get("name") or ""
                tool["arguments"] += function.get("arguments") or ""
            finish = choice["finish_reason"] or finish
    return {"text": text, "reasoning": reasoning, "tools": [tools[i] for i in sorted(tools)],
            "finish": finish, "refusal": refusal, "usage": counts(usage)}


def from_whole(body):
    """The same of the answer in one piece."""
    if "error" in body:
        return {"error": True}
    choice = body["choices"][0]
    message = choice["message"]
    tools = [call.get("function") or {} for call in message.get("tool_calls", [])]
    return {"text": message["content"] or "", "reasoning": message.get("reasoning_content") or "",
            "tools": [{"name": t.get("name", ""), "arguments": t.get("arguments", "")} for t in tools],
            "finish": choice["finish_reason"], "refusal": message["refusal"] or "",
            "usage": counts(body["usage"])}


def cases(program, directory):
    """Name, stream, what its frames say, what the whole answer of the same events says, and whether it
    has what not all clients read. Usage is asked for in all of them."""
    for path in sorted(pathlib.Path(directory).glob("*.json")):
        case = json.loads(path.read_text())
        if case.get("kind") != "stream":
            continue
        case = golden.with_request(case)
        request = {**case["openai_request"], "stream_options": {"include_usage": True}}
        case = {**case, "openai_request": request}
        text = golden.run(program, "stream", case)
        frames = golden.frames_of(text)
        whole = json.loads(golden.run(program, "response", case))
        odd = any(isinstance(f, dict) and any(
            "function_call" in c["delta"] or any(t.get("custom") for t in c["delta"].get("tool_calls", []))
            for c in f.get("choices", [])) for f in frames)
        yield path.stem, text, from_frames(frames), from_whole(whole), odd


def differences(client, want, got):
    """The names of what differs. A client that does not tell reasoning or usage leaves them out."""
    if bool(want.get("error")) != bool(got.get("error")):
        return ["error"]
    if want.get("error"):
        return []
    want = dict(want)
    if client == "ai-sdk":
        want["text"] += want["refusal"]  # it shows a refusal as text
    return [k for k in ("text", "tools", "finish", "reasoning", "usage")
            if (k in got or k not in ("reasoning", "usage")) and got.get(k) != want[k]]


def main(program, directory, clients):
    wanted, odd, streams = {}, set(), {}
    passed = failed = 0
    for name, text, framed, want, is_odd in cases(program, directory):
        wanted[name], streams[name] = want, text
        faults = [] if is_odd else [k for k in {**want, **framed} if framed.get(k) != want.get(k)]
        passed += not faults
        failed += bool(faults)
        for k in faults:
            print(f"frames: {name}: {k} is {framed.get(k)!r}, whole it is {want.get(k)!r}")
        if is_odd:
            odd.add(name)
    server = Server(streams)
    env = {**os.environ, "BASE": f"http://127.0.0.1:{server.server_port}/v1",
           "CASES": json.dumps(list(wanted)), "LANGSMITH_TRACING": "false"}
    there = pathlib.Path(clients) / "node" / "replay.mjs"
    there.write_text((HERE / "replay.mjs").read_text())
    seen = set()
    for command in ([f"{clients}/venv/bin/python", str(HERE / "replay_python.py")], ["node", str(there)]):
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
        for line in done.stdout.splitlines():
            got = json.loads(line)
            client, name = got["client"], got["case"]
            seen.add((client, name))
            if name in odd:  # custom tools and functions, which not all clients read
                continue
            faults = differences(client, wanted[name], got)
            passed += not faults
            failed += bool(faults)
            if faults:
                print(f"{client}: {name}: {faults}: {json.dumps(got)}, not {json.dumps(wanted[name])}")
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
