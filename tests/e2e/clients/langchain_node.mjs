// LangChain's ChatOpenAI for JavaScript, unmodified, against ccproxy.
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { z } from "zod";
import { assert, run, script, BASE, KEY, MODEL, PNG, BROKEN, CUT } from "./common.mjs";

const llm = new ChatOpenAI({ model: MODEL, apiKey: KEY, maxRetries: 0, configuration: { baseURL: BASE } });
const weather = tool(async ({ city }) => `sunny in ${city}`, {
  name: "get_weather", description: "Weather of a city", schema: z.object({ city: z.string() }),
});

await run({
  async test_invoke_and_stream() {
    const messages = [new SystemMessage("Be brief."), new HumanMessage("Hello there")];
    const whole = await llm.invoke(messages);
    let text = "";
    for await (const c of await llm.stream(messages)) text += c.content;
    assert.equal(text, whole.content);
    assert.ok(whole.usage_metadata.total_tokens > 0);
  },
  async test_tool_loop() {
    const bound = llm.bindTools([weather]);
    const messages = [new HumanMessage("Weather?")];
    const first = await bound.invoke(messages);
    assert.ok(first.tool_calls.length > 0);
    messages.push(first);
    for (const call of first.tool_calls)
      messages.push(new ToolMessage({ content: await weather.invoke(call.args), tool_call_id: call.id }));
    assert.ok((await bound.invoke(messages)).content.includes("sunny"));
  },
  async test_image() {
    const content = [{ type: "text", text: "What?" }, { type: "image_url", image_url: { url: PNG } }];
    assert.ok((await llm.invoke([new HumanMessage({ content })])).content.includes("image"));
  },
  async test_broken_streams_raise() {
    for (const answer of [BROKEN, CUT]) {
      await script(answer);
      await assert.rejects(async () => { for await (const _ of await llm.stream("Hello")); });
    }
  },
});
