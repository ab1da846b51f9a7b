"""openai-python and LangChain, reading the streams that replay.py serves."""
import json
import os

import openai
from langchain_openai import ChatOpenAI

BASE = os.environ["BASE"]


def say(client, case, **what):
    print(json.dumps({"client": client, "case": case, **what}), flush=True)


def read_openai(case):
    text, reasoning, tools, finish, usage = "", "", {}, None, None
    client = openai.OpenAI(base_url=BASE, api_key="x", max_retries=0)
    for chunk in client.chat.completions.create(model=case, stream=True,
                                                messages=[{"role": "user", "content": "x"}]):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            for call in choice.delta.tool_calls or []:
                tool = tools.setdefault(call.index, {"name": "", "arguments": ""})
                if call.function:
                    tool["name"] += call.function.name or ""
                    tool["arguments"] += call.function.arguments or ""
            finish = choice.finish_reason or finish
    return {"text": text, "reasoning": reasoning, "tools": [tools[i] for i in sorted(tools)],
            "finish": finish,
            "usage": usage and [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]}


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


for name in json.loads(os.environ["CASES"]):
    for kind, read in (("openai-python", read_openai), ("langchain-python", read_langchain)):
        try:
            say(kind, name, **read(name))
        except Exception as e:  # whatever the client raises is its word for an error
            say(kind, name, error=repr(e))
