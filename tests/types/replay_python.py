"""openai-python and LangChain, reading the streams that replay.py serves."""
import json
import os

import openai
from langchain_openai import ChatOpenAI, OpenAI

BASE = os.environ["BASE"]


def say(client, case, **what):
    print(json.dumps({"client": client, "case": case, **what}), flush=True)


def counts(usage):
    return usage and [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def sources(annotations):
    return [[a["url_citation"][k] for k in ("url", "start_index", "end_index")] for a in annotations or []]


def add_call(tools, index, call):
    what = getattr(call, "function", None) or getattr(call, "custom", None) or call
    what = what if isinstance(what, dict) else what.model_dump()
    tool = tools.setdefault(index, {"name": "", "arguments": ""})
    tool["name"] += what.get("name") or ""
    tool["arguments"] += what.get("arguments") or what.get("input") or ""


def read_openai(case):
    got = {"text": "", "reasoning": "", "refusal": "", "sources": [], "finish": None, "usage": None}
    tools = {}
    for chunk in openai.OpenAI(base_url=BASE, api_key="x", max_retries=0).chat.completions.create(
            model=case, stream=True, messages=[{"role": "user", "content": "x"}]):
        got["usage"] = counts(chunk.usage) or got["usage"]
        for choice in chunk.choices:
            delta = choice.delta
            got["text"] += delta.content or ""
            got["refusal"] += delta.refusal or ""
            got["reasoning"] += getattr(delta, "reasoning_content", None) or ""
            got["sources"] += sources(getattr(delta, "annotations", None))
            for call in delta.tool_calls or []:
                add_call(tools, call.index, call)
            if delta.function_call:
                add_call(tools, 0, delta.function_call)
            got["finish"] = choice.finish_reason or got["finish"]
    return {**got, "tools": [tools[i] for i in sorted(tools)]}


def read_openai_legacy(case):
    text, finish, usage = "", None, None
    for chunk in openai.OpenAI(base_url=BASE, api_key="x", max_retries=0).completions.create(
            model=case, stream=True, prompt="x"):
        usage = counts(chunk.usage) or usage
        for choice in chunk.choices:
            text += choice.text
            finish = choice.finish_reason or finish
    return {"text": text, "finish": finish, "usage": usage, "tools": []}


def read_langchain(case):
    model = ChatOpenAI(model=case, base_url=BASE, api_key="x", max_retries=0, stream_usage=True)
    whole = None
    for chunk in model.stream("x"):
        whole = chunk if whole is None else whole + chunk
    tools = [{"name": c["name"], "arguments": c["args"]} for c in whole.tool_call_chunks]
    usage = whole.usage_metadata
    return {"text": whole.content, "tools": tools,
            "usage": usage and [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]],
            "finish": whole.response_metadata.get("finish_reason")}


def read_langchain_legacy(case):
    model = OpenAI(model=case, base_url=BASE, api_key="x", max_retries=0)
    whole = None
    for generated in model._stream("x"):  # stream() gives the text alone
        whole = generated if whole is None else whole + generated
    return {"text": whole.text, "tools": [], "finish": (whole.generation_info or {}).get("finish_reason")}


READERS = {False: {"openai-python": read_openai, "langchain-python": read_langchain},
           True: {"openai-python": read_openai_legacy, "langchain-python": read_langchain_legacy}}
for wanted in json.loads(os.environ["CASES"]):
    for kind, read in READERS[wanted["legacy"]].items():
        try:
            say(kind, wanted["name"], **read(wanted["name"]))
        except Exception as e:  # whatever the client raises is its word for an error
            say(kind, wanted["name"], error=repr(e))
