"""openai-python's older completions, unmodified, against ccproxy."""
import sys

import openai
from common import *

client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)
PROMPT = "Hello there, wörld 👋"


def create(**fields):
    return client.completions.create(model=MODEL, prompt=PROMPT, **fields)


def says(*texts):
    """The simulator's next answer: these texts, one delta each."""
    script({"events": [
        START, OPEN, *[delta(t) for t in texts], {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 5}}, {"type": "message_stop"}]})


def joined(stream):
    return "".join(c.choices[0].text for c in stream if c.choices)


def refused(kind, **fields):
    try:
        client.completions.create(**{"model": MODEL, "prompt": PROMPT, **fields})
    except kind as e:
        return e.code, e.param
    raise AssertionError(f"no {kind.__name__}")


def test_text_streamed_and_whole_are_equal():
    whole = create()
    assert whole.object == "text_completion" and whole.id.startswith("cmpl-")
    assert whole.choices[0].finish_reason == "stop" and "wörld 👋" in whole.choices[0].text
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
    chunks = list(create(stream=True))
    assert joined(chunks) == whole.choices[0].text
    assert [c.choices[0].finish_reason for c in chunks][-1] == "stop"
    assert {c.choices[0].finish_reason for c in chunks[:-1]} == {None}


def test_what_claude_is_asked():
    create(max_tokens=1000)
    body = requests_seen()[0]["body"]
    assert "continuation" in body["system"][0]["text"] and body["max_tokens"] == 1000
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]


def test_usage_streamed():
    chunks = list(create(stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert all(c.usage is None for c in chunks[:-1])


def test_length():
    assert create(max_tokens=2).choices[0].finish_reason == "length"


def test_echo():
    says(" more")
    assert create(echo=True).choices[0].text == PROMPT + " more"
    says(" more")
    assert joined(create(echo=True, stream=True)) == PROMPT + " more"


def test_stop_at_the_end_of_a_line():
    for stop in ("\n", ["\n", "END"]):
        says("one", "\n", "two")
        answer = create(stop=stop)
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("one", "stop")
        says("one", "\n", "two")
        assert joined(create(stop=stop, stream=True)) == "one"


def test_refusals():
    assert refused(openai.BadRequestError, prompt=["a", "b"]) == ("invalid_value", "prompt")
    assert refused(openai.BadRequestError, prompt=[1, 2]) == ("invalid_value", "prompt")
    assert refused(openai.BadRequestError, prompt="") == ("invalid_value", "prompt")
    assert refused(openai.BadRequestError, suffix="x") == ("unsupported_parameter", "suffix")
    assert refused(openai.BadRequestError, logprobs=1) == ("unsupported_parameter", "logprobs")
    assert refused(openai.BadRequestError, best_of=2) == ("unsupported_value", "best_of")
    assert refused(openai.NotFoundError, model="nope") == ("model_not_found", "model")
    assert requests_seen() == []


def test_broken_streams_raise():
    for answer in (BROKEN, CUT):
        script(answer)
        seen = []
        try:
            seen.extend(create(stream=True))
            raise AssertionError("no error")
        except openai.APIError:
            pass
        script(answer)
        try:
            create()
            raise AssertionError("no error")
        except openai.APIError:
            pass


def test_azure_client():
    azure = openai.AzureOpenAI(azure_endpoint=BASE.removesuffix("/v1"), api_key=KEY, max_retries=0,
                               api_version="2024-10-21")
    assert azure.completions.create(model=MODEL, prompt=PROMPT).choices[0].text
    assert azure.chat.completions.create(model=MODEL, messages=HELLO).choices[0].message.content


def test_deleting_a_model():
    for model, kind in (("claude-sonnet-5-5", openai.PermissionDeniedError), ("nope", openai.NotFoundError)):
        try:
            client.models.delete(model)
            raise AssertionError("no error")
        except kind:
            pass


main(sys.modules[__name__])
