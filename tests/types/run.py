#!/usr/bin/env python3
"""Holds what ccproxy writes against the types of the official clients.

usage: run.py GOLDEN DIRECTORY...     (with the Python that has the client packages)

Every golden case is run; then
  what goes to clients    must be a ChatCompletion, ChatCompletionChunk, Completion or ErrorObject of
                          openai-python, strictly: required members, types, enumerations; members
                          beyond those are the extensions listed here
  what goes upstream      must be MessageCreateParams of anthropic-python, with no other member at any
                          depth; with a beta, of its beta namespace
The last line is "types: N passed, N failed".
"""
import collections.abc
import json
import pathlib
import sys

import pydantic
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_params
from openai.types import Completion, shared
from openai.types.chat import ChatCompletion, ChatCompletionChunk

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "golden"))
import run as golden  # noqa: E402

EXTENSIONS = {"reasoning_content", "reasoning_details", "cache_read_input_tokens",
              "cache_creation_input_tokens", "server_tool_use", "annotations", "citations", "service_tier",
              "stop_details", "stop_reason"}
# The newest types have no sampling, which older models still take; block_binding is a beta's.
UPSTREAM_EXTENSIONS = {"$.temperature", "$.top_p", "$.top_k", "$.thinking.block_binding"}
UPSTREAM = pydantic.TypeAdapter(message_create_params.MessageCreateParams)
BETA = pydantic.TypeAdapter(beta_params.MessageCreateParams)


def extras(value, path="$"):
    """Members that the type does not know, outside of the extensions."""
    if isinstance(value, pydantic.BaseModel):
        for name, inner in (value.model_extra or {}).items():
            if name not in EXTENSIONS:
                yield f"{path}.{name}"
        for name in value.model_fields_set & set(type(value).model_fields):
            yield from extras(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from extras(inner, f"{path}[{i}]")


def check_client(kind, body):
    found = list(extras(kind.model_validate(body, strict=True)))
    if found:
        raise ValueError(f"unknown members: {', '.join(found)}")


def plain(value):
    """Lazy iterators of a validated value made lists."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (str, bytes)) or not isinstance(value, collections.abc.Iterable):
        return value
    return [plain(v) for v in value]


def missing(want, got, path="$"):
    """What validation has left out of the body: members that the type does not have."""
    if isinstance(want, dict) and isinstance(got, dict):
        for k, v in want.items():
            if k not in got:
                yield f"{path}.{k}"
            else:
                yield from missing(v, got[k], f"{path}.{k}")
    elif isinstance(want, list) and isinstance(got, list):
        for i, (a, b) in enumerate(zip(want, got)):
            yield from missing(a, b, f"{path}[{i}]")


def check_upstream(kind, body):
    lacking = missing(body, plain(kind.validate_python(body)))
    found = [path for path in lacking if path not in UPSTREAM_EXTENSIONS]
    if found:
        raise ValueError(f"unknown members: {', '.join(found)}")


def bodies(program, case):
    """Each body that the case makes ccproxy write, with the check for it."""
    legacy = case.get("dialect") == "completions"
    kind = case["kind"]
    if kind == "request":
        got = json.loads(golden.run(program, "request", case))
        yield lambda b: check_upstream(BETA if got["betas"] else UPSTREAM, b), got["body"]
    elif kind == "error":  # test_errors.py holds the gateway to it
        yield check_error, filled(case["expected_openai_error"])
    elif kind == "request_error":
        yield check_error, json.loads(golden.run(program, "request", case))["body"]
    elif kind == "response":
        whole = Completion if legacy else ChatCompletion
        text = golden.run(program, "response", golden.with_request(case))
        yield lambda b: check_client(whole, b), json.loads(text)
    elif kind == "stream":
        for frame in golden.frames_of(golden.run(program, "stream", golden.with_request(case))):
            if not isinstance(frame, dict):
                continue
            if "error" in frame:
                yield check_error, frame
            else:
                yield lambda b: check_client(Completion if legacy else ChatCompletionChunk, chunk(b, legacy)), frame


def chunk(body, legacy):
    """What the types of chunks lack: Completion does not tell chunks apart, and finish_reason may be null in
    one; openai-python knows no custom tools there, which openai-node does, as functions with an input."""
    body = json.loads(json.dumps(body))
    for choice in body["choices"]:
        if legacy:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        for call in choice.get("delta", {}).get("tool_calls", []):
            if "custom" in call:
                custom = call.pop("custom")
                call["function"] = {**custom, "arguments": custom["input"]}
                del call["function"]["input"]
                call.pop("type", None)
    return body


def filled(value):
    """What is expected, with a text in place of each matcher."""
    if not isinstance(value, dict):
        return value
    return "x" if any(k.startswith("$") for k in value) else {k: filled(v) for k, v in value.items()}


def check_error(body):
    if set(body) != {"error"}:
        raise ValueError("an error stands alone")
    shared.ErrorObject.model_validate(body["error"], strict=True)


def main(args):
    program, directories = args[0], args[1:]
    passed = failed = 0
    for path in (p for d in directories for p in sorted(pathlib.Path(d).rglob("*.json"))):
        case = json.loads(path.read_text())
        if case.get("kind") not in (*golden.CHECKS, "error"):
            continue
        try:
            for check, body in bodies(program, case):
                check(body)
            passed += 1
        except (ValueError, KeyError, RuntimeError) as e:
            failed += 1
            print(f"{path.name}: {e}")
    print(f"types: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
