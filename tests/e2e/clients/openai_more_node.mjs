// openai-node, unmodified, against ccproxy: headers, usage, limits, retries, and leaving in every way.
import OpenAI from "openai";
import { assert, run, script, control, error, aborted, waitAborted,
         BASE, KEY, MODEL, HELLO, PNG, BROKEN, CUT, HELD } from "./common.mjs";

const client = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries: 0 });
const chat = client.chat.completions;
const says = (content) => [{ role: "user", content }];
const calls = async () => (await control("GET", "/_sim/requests")).filter((r) => r.path === "/v1/messages");
const tool = (name) => ({ type: "function", function: {
  name, description: `The ${name} of a city`,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } });

async function textOf(stream, seen = { text: "" }) {
  for await (const c of stream) seen.text += c.choices[0]?.delta?.content ?? "";
  return seen.text;
}

await run({
  async test_headers() {
    const { data, response, request_id } = await chat.create({ model: MODEL, messages: HELLO }).withResponse();
    assert.equal(request_id, response.headers.get("x-request-id"));
    assert.ok(request_id);
    assert.equal(data._request_id, request_id);
  },
  async test_usage_of_a_stream() {
    const whole = await chat.create({ model: MODEL, messages: HELLO });
    const chunks = [];
    for await (const c of await chat.create({ model: MODEL, messages: HELLO, stream: true,
                                              stream_options: { include_usage: true } })) chunks.push(c);
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.deepEqual(last.usage, whole.usage);
    assert.ok(chunks.every((c) => !c.usage));
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  },
  async test_parallel_tools_loop() {
    const asked = [];
    const callable = (name) => ({ type: "function", function: {
      ...tool(name).function, parse: JSON.parse,
      function: async ({ city }) => { asked.push([name, city]); return `${name} of ${city}`; } } });
    for (const stream of [false, true]) {
      asked.length = 0;
      const runner = chat.runTools({ model: MODEL, stream, tools: [callable("weather"), callable("time")],
                                     messages: says("Compare in parallel: weather and time in Paris") });
      const text = await runner.finalContent();
      assert.deepEqual(asked, [["weather", "Paris"], ["time", "Paris"]]);
      assert.ok(text.includes('"weather of Paris"') && text.includes('"time of Paris"'), text);
      const results = (await calls()).at(-1).body.messages[2].content;
      assert.deepEqual(results.map((b) => b.type), ["tool_result", "tool_result"]);
    }
  },
  async test_image_by_address() {
    const content = [{ type: "text", text: "What?" }, { type: "image_url", image_url: { url: PNG } },
                     { type: "image_url", image_url: { url: "https://example.com/a.png" } }];
    const answer = await chat.create({ model: MODEL, messages: says(content) });
    assert.match(answer.choices[0].message.content, /2 images .*image\/png.*an image at a URL/);
  },
  async test_system_and_developer() {
    await chat.create({ model: MODEL, messages: [{ role: "system", content: "S" },
                                                 { role: "developer", content: "D" }, ...HELLO] });
    const { body } = (await calls())[0];
    assert.deepEqual(body.system.map((b) => b.text), ["S", "D"]);
    assert.deepEqual(body.messages.map((m) => m.role), ["user"]);
  },
  async test_stop_and_length() {
    const stopped = await chat.create({ model: MODEL, messages: says("Please HALT here"), stop: ["HALT"] });
    assert.equal(stopped.choices[0].finish_reason, "stop");
    assert.ok(!stopped.choices[0].message.content.includes("HALT"));
    const cut = await chat.create({ model: MODEL, messages: HELLO, max_tokens: 16 });
    assert.equal(cut.choices[0].finish_reason, "length");
    assert.equal(cut.usage.completion_tokens, 16);
    await assert.rejects(chat.parse({ model: MODEL, messages: HELLO, max_tokens: 1, response_format: {
      type: "json_schema", json_schema: { name: "x", strict: true, schema: {
        type: "object", properties: { a: { type: "string" } }, required: ["a"],
        additionalProperties: false } } } }), OpenAI.LengthFinishReasonError);
  },
  async test_too_large_and_overloaded() {
    await script(error(413, "request_too_large"));
    await assert.rejects(chat.create({ model: MODEL, messages: HELLO }),
                         (e) => e instanceof OpenAI.APIError && e.status === 413 && e.code === "request_too_large");
    await script(error(503, "api_error"));
    await assert.rejects(chat.create({ model: MODEL, messages: HELLO }),
                         (e) => e instanceof OpenAI.InternalServerError && e.status === 503 && !!e.requestID);
  },
  async test_retries_are_counted_and_then_it_fails() {
    for (const maxRetries of [0, 2]) {
      await control("DELETE", "/_sim/requests");
      await script(...Array(maxRetries + 1).fill(error(500, "api_error", { "retry-after-ms": "1" })));
      const retrying = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries });
      await assert.rejects(retrying.chat.completions.create({ model: MODEL, messages: HELLO }),
                           OpenAI.InternalServerError);
      assert.equal((await calls()).length, maxRetries + 1);
    }
  },
  async test_told_not_to_retry() {
    await script(error(429, "rate_limit_error", { "x-should-retry": "false", "retry-after-ms": "1" }));
    const retrying = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries: 2 });
    await assert.rejects(retrying.chat.completions.create({ model: MODEL, messages: HELLO }),
                         (e) => e instanceof OpenAI.RateLimitError && e.headers.get("retry-after-ms") === "1");
    assert.equal((await calls()).length, 1);
  },
  async test_what_came_before_the_break_is_kept() {
    for (const answer of [BROKEN, CUT]) {
      await script(answer);
      const seen = { text: "" };
      const stream = await chat.create({ model: MODEL, messages: HELLO, stream: true });
      await assert.rejects(textOf(stream, seen), (e) => e instanceof OpenAI.APIError && e.type === "server_error");
      assert.equal(seen.text, "half");
    }
  },
  async test_leaving_the_loop_cancels_upstream() {
    const before = await aborted();
    await script(HELD);
    for await (const c of await chat.create({ model: MODEL, messages: HELLO, stream: true }))
      if (c.choices[0].delta.content) break;
    await waitAborted(before + 1);
  },
  async test_the_helper_aborted() {
    const before = await aborted();
    await script(HELD);
    const stream = chat.stream({ model: MODEL, messages: HELLO });
    stream.once("content", () => stream.abort());
    await assert.rejects(stream.done(), OpenAI.APIUserAbortError);
    await waitAborted(before + 1);
  },
  async test_a_signal_before_the_answer() {
    for (const stream of [false, true]) {
      const before = await aborted();
      await control("DELETE", "/_sim/requests");
      await script({ silence: true });
      const controller = new AbortController();
      const asked = chat.create({ model: MODEL, messages: HELLO, stream }, { signal: controller.signal });
      const refused = assert.rejects(asked, OpenAI.APIUserAbortError);
      while ((await calls()).length === 0);
      controller.abort();
      await refused;
      await waitAborted(before + 1);
    }
  },
  async test_unicode() {
    const text = "Grüße 世界 👩‍👩‍👧‍👦 \"q\" back\\slash\ttab \u2028 \u007f e\u0301 😀";
    const whole = await chat.create({ model: MODEL, messages: says(text) });
    assert.ok(whole.choices[0].message.content.includes(text));
    assert.equal((await calls())[0].body.messages[0].content[0].text, text);
    assert.equal(await textOf(await chat.create({ model: MODEL, messages: says(text), stream: true })),
                 whole.choices[0].message.content);
  },
  async test_a_megabyte() {
    const text = "All work and no play. é ".repeat(50000);
    const answer = await chat.create({ model: MODEL, messages: says(text) });
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal((await calls())[0].body.messages[0].content[0].text, text);
  },
  async test_a_hundred_at_once() {
    const texts = await Promise.all([...Array(100).keys()].map(async (i) =>
      textOf(await chat.create({ model: MODEL, messages: says(`number <${i}>`), stream: true }))));
    texts.forEach((text, i) => assert.ok(text.includes(`number <${i}>`), text));
  },
});
