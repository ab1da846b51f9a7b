#!/usr/bin/env python3
"""Runs golden cases through the golden program and compares what comes out.

usage: run.py [--update] PROGRAM DIRECTORY...

See README.md for the format of a case and the rules of comparison. The last line is
"golden: N passed, N failed"; the exit status is 1 when something failed.
--update writes what the program now prints into the cases that fail: read the diff before you keep it.
"""
import concurrent.futures
import difflib
import json
import pathlib
import subprocess
import sys

EXTENSIONS = {"stop_reason", "stop_details", "service_tier", "system_fingerprint", "thinking_blocks",
              "citations", "cache_creation_input_tokens", "cache_read_input_tokens", "server_tool_use"}


def is_extra_allowed(key, value, path):
    if key in EXTENSIONS:
        return True
    if path and path[-1].endswith("_details") and value == 0:
        return True
    return key == "usage" and value is None


class Comparison:
    """Compares what came with what was expected; collects the places where they differ."""

    def __init__(self, extra=False):
        self.extra = extra
        self.same = {}
        self.faults = []

    def fault(self, path, text):
        self.faults.append(f"{'.'.join(path) or 'top'}: {text}")

    def matcher(self, want, got, path):
        """True when want is a matcher (and was dealt with)."""
        if not isinstance(want, dict) or len(want) != 1:
            return False
        (kind, arg), = want.items()
        if kind == "$any":
            ok = True
        elif kind == "$int":
            ok = isinstance(got, int) and not isinstance(got, bool)
        elif kind == "$prefix":
            ok = isinstance(got, str) and got.startswith(arg)
        elif kind == "$contains":
            ok = isinstance(got, str) and all(a in got for a in arg)
        elif kind == "$same":
            ok = got is not None and self.same.setdefault(arg, got) == got
        elif kind == "$json":
            try:
                self.compare(arg, json.loads(got), path + ["$json"])
                return True
            except (TypeError, ValueError):
                ok = False
        else:
            return False
        if not ok:
            self.fault(path, f"wanted {json.dumps(want)}, got {json.dumps(got)}")
        return True

    def compare(self, want, got, path=()):
        path = list(path)
        if self.matcher(want, got, path):
            return
        if isinstance(want, dict) and isinstance(got, dict):
            self.compare_objects(want, got, path)
        elif isinstance(want, list) and isinstance(got, list):
            if len(want) != len(got):
                self.fault(path, f"wanted {len(want)} elements, got {len(got)}: {json.dumps(got)}")
            for i, (w, g) in enumerate(zip(want, got)):
                self.compare(w, g, path + [str(i)])
        elif isinstance(want, bool) != isinstance(got, bool) or want != got:
            self.fault(path, f"wanted {json.dumps(want)}, got {json.dumps(got)}")

    def compare_objects(self, want, got, path):
        for key, value in want.items():
            if key in got:
                self.compare(value, got[key], path + [key])
            else:
                self.fault(path + [key], "missing")
        for key, value in got.items():
            if key not in want and not self.extra and not is_extra_allowed(key, value, path):
                self.fault(path + [key], f"unexpected: {json.dumps(value)}")


def run(program, command, case):
    done = subprocess.run([program, command], input=json.dumps(case).encode(), capture_output=True,
                          timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


def without_spaces(text):
    """JSON text without the white space between its tokens."""
    out, inside, escaped = [], False, False
    for ch in text:
        if inside or ch not in " \t\r\n":
            out.append(ch)
        if escaped:
            escaped = False
        elif inside and ch == "\\":
            escaped = True
        elif ch == '"':
            inside = not inside
    return "".join(out)


def check_request(program, case, comparison):
    text = run(program, "request", case)
    got = json.loads(text)
    if not got["ok"]:
        comparison.fault([], f"refused: {json.dumps(got['body'])}")
        return {}
    body = dict(got["body"])
    body.pop("stream", None)
    comparison.compare(case["expected_anthropic_request"], body)
    dropped = sorted(filter(None, got["dropped"].split(", ")))
    comparison.compare(sorted(case.get("expected_dropped", [])), dropped, ["dropped"])
    if "expected_betas" in case:
        comparison.compare(case["expected_betas"], got["betas"], ["betas"])
    for part in case.get("raw_must_contain", []):
        if without_spaces(part) not in without_spaces(text):
            comparison.fault(["raw"], f"does not contain {part}")
    for sent, theirs in case.get("name_map", {}).items():
        if got["names"].get(sent) != theirs:
            comparison.fault(["name_map"], f"{sent} should lead to {theirs}")
    return {"expected_anthropic_request": body, "expected_dropped": dropped}


def check_request_error(program, case, comparison):
    got = json.loads(run(program, "request", case))
    if got["ok"]:
        comparison.fault([], f"accepted: {json.dumps(got['body'])}")
        return {}
    comparison.compare(case["expected_status"], got["status"], ["status"])
    comparison.compare(case["expected_openai_error"], got["body"])
    return {"expected_status": got["status"], "expected_openai_error": got["body"]}


def with_request(case):
    """A case that shows an answer only gets the smallest request that fits its context."""
    if "openai_request" in case:
        return case
    context = case.get("context", {})
    request = {"model": "claude-opus-5", "messages": [{"role": "user", "content": "x"}]}
    if case.get("include_usage"):
        request["stream_options"] = {"include_usage": True}
    if context.get("legacy_functions"):
        request["functions"] = [{"name": "f"}]
    names = context.get("name_map", case.get("name_map", {}))
    tools = [{"type": "function", "function": {"name": n}} for n in names.values()]
    tools += [{"type": "custom", "custom": {"name": n}} for n in context.get("custom_tools", [])]
    if tools:
        request["tools"] = tools
    for key in ("response_format", "service_tier", "reasoning"):
        if key in context:
            request[key] = context[key]
    return dict(case, openai_request=request)


def block_events(index, block):
    kind = block.get("type")
    start, deltas = dict(block), []
    if kind == "text":
        start = {"type": "text", "text": ""}
        deltas = [{"type": "citations_delta", "citation": c} for c in block.get("citations") or []]
        deltas.append({"type": "text_delta", "text": block["text"]})
    elif kind == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        if block["thinking"]:
            deltas.append({"type": "thinking_delta", "thinking": block["thinking"]})
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind == "tool_use":
        start["input"] = {}
        if block["input"]:
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    yield {"type": "content_block_start", "index": index, "content_block": start}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def events_of(message):
    """The stream that would have carried a whole message."""
    start = dict(message, content=[], stop_reason=None, stop_sequence=None)
    events = [{"type": "message_start", "message": start}]
    for index, block in enumerate(message["content"]):
        events += block_events(index, block)
    delta = {k: message.get(k) for k in ("stop_reason", "stop_sequence", "stop_details")}
    events.append({"type": "message_delta", "delta": delta, "usage": message["usage"]})
    return events + [{"type": "message_stop"}]


def check_absent(case, text, comparison):
    for part in case.get("raw_must_not_contain", []):
        if part in text:
            comparison.fault(["raw"], f"contains {part}")


def check_response(program, case, comparison):
    case = with_request(case)
    text = run(program, "response", case)
    check_absent(case, text, comparison)
    got = json.loads(text)
    comparison.compare(case["expected_openai_response"], got)
    if "anthropic_response" in case:  # it must make no difference how the message came
        events = events_of(case.pop("anthropic_response"))
        got = json.loads(run(program, "response", dict(case, anthropic_events=events)))
        comparison.compare(case["expected_openai_response"], got)
    return {"expected_openai_response": got}


def frames_of(text):
    frames = []
    for block in filter(None, text.split("\n\n")):
        if block.startswith("data: ") and block != "data: [DONE]":
            frames.append(json.loads(block[6:]))
        else:
            frames.append(block.removeprefix("data: "))
    return frames


def text_holder(frame):
    """The object in a frame that carries text and nothing else, and the member that is the text."""
    if not isinstance(frame, dict) or len(frame.get("choices") or []) != 1:
        return None, None
    choice = frame["choices"][0]
    if "text" in choice:
        return (choice, "text") if choice.get("finish_reason") is None else (None, None)
    delta = choice.get("delta", {})
    plain = set(delta) == {"content"} and isinstance(delta["content"], str)
    return (delta, "content") if plain else (None, None)


def text_of(frame):
    """The text of a frame that carries nothing else, or None."""
    holder, key = text_holder(frame)
    return holder and holder[key]


def join_text(frames):
    """Neighbouring text deltas may be split in any way: one frame for each run of them."""
    joined = []
    for frame in frames:
        if joined and text_of(frame) is not None and text_of(joined[-1]) is not None:
            joined[-1] = json.loads(json.dumps(joined[-1]))
            holder, key = text_holder(joined[-1])
            holder[key] += text_of(frame)
        else:
            joined.append(frame)
    return joined


def check_stream(program, case, comparison):
    case = with_request(case)
    text = run(program, "stream", case)
    check_absent(case, text, comparison)
    frames = frames_of(text)
    comparison.compare(join_text(case["expected_openai_frames"]), join_text(frames))
    return {"expected_openai_frames": frames}


CHECKS = {"request": check_request, "request_error": check_request_error,
          "response": check_response, "stream": check_stream}


def run_case(program, path, update):
    """None: not a case of a kind known here. Else the list of faults."""
    case = json.loads(path.read_text())
    check = CHECKS.get(case.get("kind"))
    if not check:
        return None
    comparison = Comparison(extra=bool(case.get("allow_extra_keys")))
    try:
        now = check(program, case, comparison)
    except (RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired) as e:
        return [f"did not run: {e!r}"]
    if comparison.faults and update and now:
        old = path.read_text()
        case.update(now)
        new = json.dumps(case, indent=1, ensure_ascii=False) + "\n"
        path.write_text(new)
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                                   str(path), str(path)))
    return comparison.faults


def main(args):
    update = "--update" in args
    args = [a for a in args if a != "--update"]
    if len(args) < 2:
        sys.exit(__doc__)
    program, directories = args[0], args[1:]
    paths = [p for d in directories for p in sorted(pathlib.Path(d).rglob("*.json"))
             if not p.name.startswith("_")]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda p: run_case(program, p, update), paths))
    passed = failed = 0
    for path, faults in zip(paths, results):
        if faults is None:
            continue
        passed += not faults
        failed += bool(faults)
        for fault in faults:
            print(f"{path.name}: {fault}")
    print(f"golden: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
