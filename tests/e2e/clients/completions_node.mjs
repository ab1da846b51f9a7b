// openai-node's older completions, unmodified, against ccproxy.
import OpenAI, { AzureOpenAI } from "openai";
import { assert, run, script, control, BASE, KEY, MODEL, HELLO, BROKEN, CUT } from "./common.mjs";

const client = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries: 0 });
const request = { model: MODEL, prompt: "Hello there, wörld 👋" };
const create = (more) => client.completions.create({ ...request, ...more });

async function joined(stream) {
  let text = "";
  for await (const chunk of await stream) text += chunk.choices[0]?.text ?? "";
  return text;
}

await run({
  async test_text_streamed_and_whole_are_equal() {
    const whole = await create();
    assert.equal(whole.object, "text_completion");
    assert.equal(whole.choices[0].finish_reason, "stop");
    assert.ok(whole.choices[0].text.includes("wörld 👋"));
    assert.equal(await joined(create({ stream: true })), whole.choices[0].text);
  },
  async test_echo() {
    assert.ok((await create({ echo: true })).choices[0].text.startsWith(request.prompt));
    assert.ok((await joined(create({ echo: true, stream: true }))).startsWith(request.prompt));
  },
  async test_usage_streamed() {
    const chunks = [];
    for await (const c of await create({ stream: true, stream_options: { include_usage: true } })) chunks.push(c);
    assert.ok(chunks.at(-1).usage.total_tokens > 0);
    assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
  },
  async test_refusals() {
    for (const more of [{ prompt: ["a", "b"] }, { prompt: [1, 2] }, { suffix: "x" }, { n: 2 }, { logprobs: 0 }])
      await assert.rejects(create(more), OpenAI.BadRequestError);
    assert.equal((await control("GET", "/_sim/requests")).length, 0);
  },
  async test_broken_streams_raise() {
    for (const answer of [BROKEN, CUT]) {
      await script(answer);
      await assert.rejects(joined(create({ stream: true })), OpenAI.APIError);
    }
  },
  async test_azure_client() {
    const azure = new AzureOpenAI({ endpoint: process.env.CCPROXY_URL, apiKey: KEY, maxRetries: 0,
                                    apiVersion: "2024-10-21" });
    assert.ok((await azure.completions.create(request)).choices[0].text);
    assert.ok((await azure.chat.completions.create({ model: MODEL, messages: HELLO })).choices[0].message.content);
  },
});
