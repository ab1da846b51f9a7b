"""openai-python, unmodified, against ccproxy."""
import asyncio
import json
import sys
import typing

import openai
import pydantic
from common import *

http = openai.DefaultHttpxClient(http2=HTTP2)
client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0, http_client=http)
chat = client.chat.completions


def raises(kind, call, **fields):
    try:
        call()
    except kind as e:
        for name, value in fields.items():
            assert getattr(e, name) == value, (name, getattr(e, name), value)
        return e
    raise AssertionError(f"no {kind.__name__}")


def joined(stream):
    return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def test_text_streamed_and_whole_are_equal():
    whole = chat.create(model=MODEL, messages=HELLO)
    assert whole.choices[0].finish_reason == "stop" and whole.model == "claude-sonnet-5-5"
    assert "wörld 👋" in whole.choices[0].message.content
    assert joined(chat.create(model=MODEL, messages=HELLO, stream=True)) == \
        whole.choices[0].message.content


def test_short_answer():
    """It comes from upstream in one piece."""
    answer = chat.create(model=MODEL, messages=HELLO, max_tokens=1000)
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0
    answer = chat.create(model=MODEL, messages=HELLO, max_tokens=1000, tools=[WEATHER])
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments)["city"]
    assert [r["body"]["stream"] for r in requests_seen()] == [False, False]


def test_stream_helper():
    with chat.stream(model=MODEL, messages=HELLO) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"content.delta", "content.done"} <= kinds
    assert final.choices[0].finish_reason == "stop" and final.choices[0].message.content


def test_usage():
    usage = chat.create(model=MODEL, messages=HELLO).usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    chunks = list(chat.create(model=MODEL, messages=HELLO, stream=True,
                              stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.prompt_tokens == usage.prompt_tokens
    assert all(c.usage is None for c in chunks[:-1])


def test_tool_loop():
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "developer", "content": "Use tools."},
                {"role": "user", "content": "Weather of both cities, in parallel?"}]
    first = chat.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    calls = first.message.tool_calls
    assert len(calls) == 2 and len({c.id for c in calls}) == 2
    assert all(isinstance(json.loads(c.function.arguments)["city"], str) for c in calls)
    messages.append(first.message)
    messages += [{"role": "tool", "tool_call_id": c.id, "content": f"sunny {i}"}
                 for i, c in enumerate(calls)]
    last = chat.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert last.finish_reason == "stop" and "sunny" in last.message.content


def test_thinking_survives_a_tool_loop():
    """A client that knows nothing of thinking: the models that check it get every block back."""
    for model, more in (("gpt-4o", {}), ("claude-opus-5-5", {"reasoning_effort": "high"}),
                        ("claude-fable-5-2", {}), ("claude-haiku-5-5", {}),
                        ("claude-sonnet-4-5", {"reasoning_effort": "low"})):
        messages = [{"role": "user", "content": f"Weather of the city? {model}"}]
        thoughts = 0
        for turn in range(3):
            stream = turn == 1
            answer = chat.create(model=model, messages=messages, tools=[WEATHER], stream=stream, **more)
            calls, content = {}, None
            if stream:
                for delta in (c.choices[0].delta for c in answer if c.choices):
                    content = (content or "") + delta.content if delta.content else content
                    for c in delta.tool_calls or []:
                        call = calls.setdefault(c.index, {"id": c.id, "name": c.function.name, "args": ""})
                        call["args"] += c.function.arguments
            else:
                content = answer.choices[0].message.content
                for i, c in enumerate(answer.choices[0].message.tool_calls or []):
                    calls[i] = {"id": c.id, "name": c.function.name, "args": c.function.arguments}
            sent = requests_seen()[-1]["body"]["messages"]
            blocks = [[b["type"] for b in m["content"]] for m in sent if m["role"] == "assistant"]
            assert all(kinds[0] == "thinking" for kinds in blocks), (model, blocks)
            thoughts += len(blocks)
            if not calls:
                break
            messages.append({"role": "assistant", "content": content, "tool_calls": [
                {"id": c["id"], "type": "function",
                 "function": {"name": c["name"], "arguments": c["args"]}} for c in calls.values()]})
            messages += [{"role": "tool", "tool_call_id": c["id"], "content": "sunny"}
                         for c in calls.values()]
            if turn == 1:
                messages.append({"role": "user", "content": "And the next city?"})
        assert thoughts > 0, model


def test_tool_call_streamed():
    with chat.stream(model=MODEL, messages=HELLO, tools=[WEATHER]) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert json.loads(final.message.tool_calls[0].function.arguments)["city"]


def test_completions():
    legacy = client.completions
    whole = legacy.create(model="gpt-3.5-turbo", prompt="Once upon a time")
    assert whole.object == "text_completion" and whole.choices[0].finish_reason == "stop"
    assert whole.choices[0].text and whole.usage.total_tokens > 0
    chunks = list(legacy.create(model="gpt-3.5-turbo", prompt="Once upon a time", stream=True,
                                stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage and chunks[-2].choices[0].finish_reason == "stop"
    echo = legacy.create(model="gpt-3.5-turbo", prompt="Once upon a time", echo=True)
    assert echo.choices[0].text == "Once upon a time" + whole.choices[0].text
    raises(openai.BadRequestError, lambda: legacy.create(model="gpt-3.5-turbo", prompt="x", suffix="y"),
           code="unsupported_parameter", param="suffix")


def test_azure_client():
    azure = openai.AzureOpenAI(azure_endpoint=BASE.removesuffix("/v1"), api_key=KEY,
                               api_version="2024-10-21", azure_deployment="gpt-4o", http_client=http)
    answer = azure.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.choices[0].message.content


def test_images():
    for url in (PNG, "https://example.com/cat.png"):
        content = [{"type": "text", "text": "What is this?"},
                   {"type": "image_url", "image_url": {"url": url}}]
        answer = chat.create(model=MODEL, messages=[{"role": "user", "content": content}])
        assert "image" in answer.choices[0].message.content
    block = requests_seen()[-2]["body"]["messages"][0]["content"][1]
    assert block["source"]["data"] == PNG.split(",")[1] and block["source"]["media_type"] == "image/png"


def test_stop_and_length():
    answer = chat.create(model=MODEL, messages=HELLO, stop=["there"])
    assert answer.choices[0].finish_reason == "stop"
    assert "there" not in answer.choices[0].message.content
    answer = chat.create(model=MODEL, messages=HELLO, max_completion_tokens=2)
    assert answer.choices[0].finish_reason == "length"


def test_models():
    ids = [m.id for m in client.models.list()]
    assert "claude-sonnet-5-5" in ids and "gpt-4o" in ids
    assert client.models.retrieve("claude-sonnet-5-5").owned_by == "anthropic"
    raises(openai.NotFoundError, lambda: client.models.retrieve("nope"), code="model_not_found")


def test_every_model_that_the_client_knows_has_a_class():
    for name in typing.get_args(openai.types.ChatModel):
        if "audio" not in name:
            assert client.models.retrieve(name).root.startswith("claude-"), name


def test_what_is_not_here_says_so():
    for call in (lambda: client.embeddings.create(model="text-embedding-3-small", input="x"),
                 lambda: client.images.generate(prompt="x"),
                 lambda: client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF")),
                 lambda: client.files.create(file=("a.jsonl", b"{}"), purpose="batch"),
                 lambda: client.files.delete("file-1"), lambda: client.moderations.create(input="x"),
                 lambda: client.responses.create(model=MODEL, input="x"), lambda: chat.retrieve("chatcmpl-1")):
        raises(openai.NotFoundError, call, code="unsupported_endpoint")


class City(pydantic.BaseModel):
    name: str
    people: int


def test_parsed():
    asked = {"model": MODEL, "messages": HELLO, "response_format": City}
    whole = chat.parse(**asked).choices[0].message.parsed
    with chat.stream(**asked) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(whole, City) and whole == streamed


def test_error_classes():
    wrong = openai.OpenAI(base_url=BASE, api_key="sk-wrong-0123456789", max_retries=0, http_client=http)
    raises(openai.AuthenticationError,
           lambda: wrong.chat.completions.create(model=MODEL, messages=HELLO), code="invalid_api_key")
    raises(openai.NotFoundError, lambda: chat.create(model="nope", messages=HELLO),
           code="model_not_found", param="model")
    raises(openai.BadRequestError, lambda: chat.create(model=MODEL, messages=[]),
           code="empty_array", param="messages")
    script(error(403, "permission_error"))
    raises(openai.PermissionDeniedError, lambda: chat.create(model=MODEL, messages=HELLO))
    script(error(413, "request_too_large"))
    raises(openai.APIStatusError, lambda: chat.create(model=MODEL, messages=HELLO), status_code=413)
    script(error(500, "api_error"))
    raises(openai.InternalServerError, lambda: chat.create(model=MODEL, messages=HELLO))


def test_rate_limit_is_told_with_its_wait():
    script(*[error(429, "rate_limit_error", **{"retry-after": "30"})])
    e = raises(openai.RateLimitError, lambda: chat.create(model=MODEL, messages=HELLO),
               code="rate_limit_exceeded")
    assert e.response.headers["retry-after"] == "30" and e.response.headers["retry-after-ms"] == "30000"


def test_client_retries_by_itself():
    script(error(500, "api_error", **{"retry-after-ms": "1"}))
    retrying = client.with_options(max_retries=2)
    assert retrying.chat.completions.create(model=MODEL, messages=HELLO).choices[0].message.content
    assert len(requests_seen()) == 2


def test_spend_limit_is_not_retried():
    script(error(400, "invalid_request_error",
                 "Your credit balance is too low to access the Anthropic API."))
    raises(openai.RateLimitError,
           lambda: client.with_options(max_retries=2).chat.completions.create(
               model=MODEL, messages=HELLO), code="insufficient_quota")
    assert len(requests_seen()) == 1


def test_broken_streams_raise():
    for answer in (BROKEN, CUT):
        script(answer)
        seen = []
        raises(openai.APIError, lambda: seen.extend(
            chat.create(model=MODEL, messages=HELLO, stream=True)))
        assert joined(seen) == "half"
        script(answer)
        raises(openai.APIError, lambda: chat.create(model=MODEL, messages=HELLO))


def test_timeout_cancels_upstream():
    if HTTP2:
        return  # httpcore resets no stream, so nobody can know
    before = control("GET", "/_sim/state")["aborted"]
    script({"silence": True})
    raises(openai.APITimeoutError,
           lambda: client.with_options(timeout=0.3).chat.completions.create(model=MODEL, messages=HELLO))
    wait_aborted(before + 1)


def wait_aborted(n):
    for _ in range(100000):  # each turn asks the simulator over HTTP
        if control("GET", "/_sim/state")["aborted"] >= n:
            return
    raise AssertionError("the upstream call goes on")


def test_closing_a_stream_cancels_upstream():
    if HTTP2:
        return
    before = control("GET", "/_sim/state")["aborted"]
    script(HELD)
    stream = chat.create(model=MODEL, messages=HELLO, stream=True)
    next(stream), next(stream)
    stream.close()
    wait_aborted(before + 1)


def test_request_id():
    raw = chat.with_raw_response.create(model=MODEL, messages=HELLO,
                                        extra_headers={"x-request-id": "mine-1"})
    assert raw.headers["x-request-id"] == "mine-1" and raw.parse().choices


def test_dropped_parameters_are_named():
    raw = chat.with_raw_response.create(model=MODEL, messages=HELLO, temperature=0.3, seed=1,
                                        frequency_penalty=0.5)
    assert "temperature" in raw.headers["x-ccproxy-dropped"]


def test_a_megabyte():
    text = "All work and no play. " * 50000
    answer = chat.create(model=MODEL, messages=[{"role": "user", "content": text}])
    assert answer.choices[0].message.content
    assert requests_seen()[-1]["body"]["messages"][0]["content"][0]["text"] == text


async def test_a_hundred_at_once():
    async with openai.AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=0,
                                  http_client=openai.DefaultAsyncHttpxClient(http2=HTTP2)) as several:
        async def one(i):
            stream = await several.chat.completions.create(
                model=MODEL, stream=True, messages=[{"role": "user", "content": f"number <{i}>"}])
            text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
            assert f"<{i}>" in text, text
        await asyncio.gather(*[one(i) for i in range(100)])


async def test_async_stream_helper():
    async with openai.AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=0,
                                  http_client=openai.DefaultAsyncHttpxClient(http2=HTTP2)) as several:
        async with several.chat.completions.stream(model=MODEL, messages=HELLO) as stream:
            async for _ in stream:
                pass
            assert (await stream.get_final_completion()).choices[0].message.content


main(sys.modules[__name__])
