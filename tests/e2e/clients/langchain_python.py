"""langchain-openai, unmodified, against ccproxy."""
import sys

import openai
import pydantic
from common import *
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

llm = ChatOpenAI(base_url=BASE, api_key=KEY, model=MODEL, max_retries=0, temperature=0)


def test_invoke_and_stream():
    messages = [SystemMessage("Be brief."), HumanMessage("Hello there")]
    whole = llm.invoke(messages)
    assert whole.content and whole.usage_metadata["total_tokens"] > 0
    assert "".join(c.content for c in llm.stream(messages)) == whole.content


def test_structured_output():
    class City(pydantic.BaseModel):
        name: str
        people: int

    assert isinstance(llm.with_structured_output(City).invoke("Where is Lisbon?"), City)


def test_tool_loop():
    @tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        return f"sunny in {city}"

    bound = llm.bind_tools([get_weather])
    messages = [HumanMessage("Weather?")]
    first = bound.invoke(messages)
    assert first.tool_calls
    messages.append(first)
    messages += [ToolMessage(get_weather.invoke(c["args"]), tool_call_id=c["id"])
                 for c in first.tool_calls]
    assert "sunny" in bound.invoke(messages).content


def test_tool_call_streamed():
    total = None
    for chunk in llm.bind_tools([WEATHER]).stream("Weather?"):
        total = chunk if total is None else total + chunk
    assert total.tool_calls[0]["args"]["city"]


def test_image():
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    assert "image" in llm.invoke([HumanMessage(content)]).content


def test_broken_stream_raises():
    for answer in (BROKEN, CUT):
        script(answer)
        try:
            list(llm.stream("Hello"))
        except openai.APIError:
            continue
        raise AssertionError("a broken stream was taken for an answer")


main(sys.modules[__name__])
