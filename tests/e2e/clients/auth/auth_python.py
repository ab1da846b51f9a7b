"""openai-python, unmodified: what it makes of each credential. Cases come on standard input, a JSON list of
{name, url, key}; outcomes by name go to standard output, as auth_node.mjs writes them, too."""
import json
import sys

import openai

HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


def outcome(ask):
    try:
        return "ok" if ask() else "empty"
    except openai.APIStatusError as e:
        return {"class": type(e).__name__, "status": e.status_code, "code": e.code, "type": e.type}


def case(url, key):
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
    chat = client.chat.completions
    return {"models": outcome(lambda: client.models.list().data),
            "chat": outcome(lambda: chat.create(**HELLO).choices[0].message.content),
            "stream": outcome(lambda: "".join(c.choices[0].delta.content or "" for c in chat.create(**HELLO, stream=True)))}


json.dump({c["name"]: case(c["url"], c["key"]) for c in json.load(sys.stdin)}, sys.stdout)
