// openai-node, unmodified, against ccproxy.
import OpenAI from "openai";
import { assert, run, script, control, error, aborted, waitAborted,
         BASE, HTTP, KEY, MODEL, HELLO, PNG, WEATHER, BROKEN, CUT, COSTLY, HELD } from "./common.mjs";

const client = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries: 0, ...HTTP });
const chat = client.chat.completions;

// A client that has limits of its own, and what it is answered, in order.
function limited(name, maxRetries) {
  const answers = [];
  const fetching = HTTP.fetch ?? fetch;
  const its = async (url, init) => {
    const answer = await fetching(url, init);
    answers.push([answer.status, answer.headers.get("retry-after-ms")]);
    return answer;
  };
  return [new OpenAI({ baseURL: BASE, apiKey: `sk-${name}-0123456789`, maxRetries, fetch: its }), answers];
}

async function take(from) {
  let pieces = 0;
  const body = { model: MODEL, messages: HELLO, max_tokens: 16, stream: true };
  for await (const c of await from.chat.completions.create(body)) pieces += c.choices.length;
  assert.ok(pieces > 0);
}

await run({
  async test_text_streamed_and_whole_are_equal() {
    const whole = await chat.create({ model: MODEL, messages: HELLO });
    assert.equal(whole.choices[0].finish_reason, "stop");
    let text = "";
    for await (const c of await chat.create({ model: MODEL, messages: HELLO, stream: true }))
      text += c.choices[0]?.delta?.content ?? "";
    assert.equal(text, whole.choices[0].message.content);
    assert.ok(text.includes("wörld 👋"));
  },
  async test_stream_helper() {
    const stream = chat.stream({ model: MODEL, messages: HELLO, stream_options: { include_usage: true } });
    const text = await stream.finalContent();
    assert.ok(text.length > 0);
    assert.ok((await stream.totalUsage()).total_tokens > 0);
  },
  async test_run_tools() {
    const asked = [];
    const runner = chat.runTools({
      model: MODEL, messages: [{ role: "user", content: "Weather of both, in parallel?" }],
      tools: [{ type: "function", function: {
        ...WEATHER.function, parse: JSON.parse,
        function: async ({ city }) => { asked.push(city); return `sunny in ${city}`; } } }],
    });
    assert.ok((await runner.finalContent()).includes("sunny"));
    assert.equal(asked.length, 2);
  },
  async test_run_tools_streamed() {
    const runner = chat.runTools({
      model: MODEL, stream: true, messages: HELLO,
      tools: [{ type: "function", function: { ...WEATHER.function, parse: JSON.parse,
                                              function: async () => "sunny" } }],
    });
    assert.ok((await runner.finalContent()).includes("sunny"));
  },
  async test_strict_tool_streamed() {
    const final = await chat.stream({
      model: MODEL, messages: HELLO,
      tools: [{ type: "function", function: { ...WEATHER.function, strict: true, parameters: {
        ...WEATHER.function.parameters, additionalProperties: false } } }],
    }).finalChatCompletion();
    assert.equal(typeof final.choices[0].message.tool_calls[0].function.parsed_arguments.city, "string");
  },
  async test_completions() {
    const request = { model: "gpt-3.5-turbo", prompt: "Once upon a time" };
    const whole = await client.completions.create(request);
    let text = "", reason;
    for await (const c of await client.completions.create({ ...request, stream: true })) {
      text += c.choices[0].text;
      reason = c.choices[0].finish_reason ?? reason;
    }
    assert.ok(text.length > 0);
    assert.deepEqual([text, reason], [whole.choices[0].text, "stop"]);
  },
  async test_image() {
    const content = [{ type: "text", text: "What?" }, { type: "image_url", image_url: { url: PNG } }];
    const answer = await chat.create({ model: MODEL, messages: [{ role: "user", content }] });
    assert.ok(answer.choices[0].message.content.includes("image"));
  },
  async test_error_classes() {
    const wrong = new OpenAI({ baseURL: BASE, apiKey: "sk-wrong-0123456789", maxRetries: 0, ...HTTP });
    await assert.rejects(wrong.chat.completions.create({ model: MODEL, messages: HELLO }),
                         OpenAI.AuthenticationError);
    await assert.rejects(chat.create({ model: "nope", messages: HELLO }),
                         (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
    await assert.rejects(chat.create({ model: MODEL, messages: [] }),
                         (e) => e instanceof OpenAI.BadRequestError && e.param === "messages");
    await script(error(429, "rate_limit_error", { "retry-after": "30" }));
    await assert.rejects(chat.create({ model: MODEL, messages: HELLO }), OpenAI.RateLimitError);
    await script(error(500, "api_error"));
    await assert.rejects(chat.create({ model: MODEL, messages: HELLO }), OpenAI.InternalServerError);
  },
  async test_waits_as_long_as_it_is_told() {
    // its own first pause is half a second at most: then it would be refused once more
    const [waits, answers] = limited("waits", 2);
    await script(COSTLY);
    await take(waits);
    await take(waits);
    assert.deepEqual(answers.map(([status]) => status), [200, 429, 200]);
    assert.ok(Number(answers[1][1]) > 500);
  },
  async test_a_budget_is_not_asked_again() {
    const [spent, answers] = limited("spent", 2);
    await script(COSTLY);
    await take(spent);
    await assert.rejects(take(spent), (e) => e instanceof OpenAI.RateLimitError && e.code === "insufficient_quota");
    assert.deepEqual(answers.map(([status]) => status), [200, 429]);
  },
  async test_client_retries_by_itself() {
    await script(error(500, "api_error", { "retry-after-ms": "1" }));
    const retrying = new OpenAI({ baseURL: BASE, apiKey: KEY, maxRetries: 2, ...HTTP });
    assert.ok((await retrying.chat.completions.create({ model: MODEL, messages: HELLO })).choices[0]);
    assert.equal((await control("GET", "/_sim/requests")).length, 2);
  },
  async test_broken_streams_raise() {
    for (const answer of [BROKEN, CUT]) {
      await script(answer);
      await assert.rejects(async () => {
        for await (const _ of await chat.create({ model: MODEL, messages: HELLO, stream: true }));
      }, OpenAI.APIError);
      await script(answer);
      await assert.rejects(chat.stream({ model: MODEL, messages: HELLO }).finalContent());
      await script(answer);
      await assert.rejects(chat.create({ model: MODEL, messages: HELLO }), OpenAI.APIError);
    }
  },
  async test_abort_cancels_upstream() {
    const before = await aborted();
    await script(HELD);
    const stream = await chat.create({ model: MODEL, messages: HELLO, stream: true });
    for await (const c of stream) if (c.choices[0].delta.content) break;
    stream.controller.abort();
    await waitAborted(before + 1);
  },
  async test_timeout_cancels_upstream() {
    const before = await aborted();
    await script({ silence: true });
    await assert.rejects(chat.create({ model: MODEL, messages: HELLO }, { timeout: 300 }),
                         OpenAI.APIConnectionTimeoutError);
    await waitAborted(before + 1);
  },
  async test_models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.ok(ids.includes("claude-sonnet-5-5"));
    assert.equal((await client.models.retrieve("gpt-4o")).object, "model");
  },
});
