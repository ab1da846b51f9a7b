// The Vercel AI SDK with its OpenAI-compatible provider, unmodified, against ccproxy.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { assert, run, script, error, aborted, waitAborted,
         BASE, KEY, MODEL, PNG, BROKEN, CUT, HELD } from "./common.mjs";

const provider = createOpenAICompatible({ name: "ccproxy", baseURL: BASE, apiKey: KEY, includeUsage: true });
const model = provider(MODEL);
const afterSteps = stepCountIs ?? isStepCount;
const tools = {
  get_weather: tool({ description: "Weather of a city", inputSchema: z.object({ city: z.string() }),
                      execute: async ({ city }) => `sunny in ${city}` }),
};

async function streamed(options) {
  let failure;
  const result = streamText({ model, maxRetries: 0, onError: ({ error }) => { failure = error; }, ...options });
  let text = "";
  for await (const part of result.textStream) text += part;
  if (failure) throw failure;
  return { text, result };
}

await run({
  async test_text_streamed_and_whole_are_equal() {
    const whole = await generateText({ model, prompt: "Hello there, wörld 👋" });
    const { text, result } = await streamed({ prompt: "Hello there, wörld 👋" });
    assert.equal(text, whole.text);
    assert.equal(await result.finishReason, "stop");
    assert.ok((await result.usage).totalTokens > 0);
  },
  async test_tool_loop() {
    const { text, steps } = await generateText({ model, prompt: "Weather?", tools, stopWhen: afterSteps(3) });
    assert.ok(text.includes("sunny"));
    assert.equal(steps.length, 2);
  },
  async test_tool_loop_streamed() {
    const { text } = await streamed({ prompt: "Weather?", tools, stopWhen: afterSteps(3) });
    assert.ok(text.includes("sunny"));
  },
  async test_image() {
    const content = [{ type: "text", text: "What?" }, { type: "image", image: PNG }];
    const { text } = await generateText({ model, messages: [{ role: "user", content }] });
    assert.ok(text.includes("image"));
  },
  async test_errors() {
    await assert.rejects(generateText({ model: provider("nope"), prompt: "x", maxRetries: 0 }),
                         (e) => e.statusCode === 404);
    await script(error(400, "invalid_request_error"));
    await assert.rejects(generateText({ model, prompt: "x", maxRetries: 0 }), (e) => e.statusCode === 400);
  },
  async test_broken_streams_raise() {
    for (const answer of [BROKEN, CUT]) {
      await script(answer);
      await assert.rejects(streamed({ prompt: "x" }));
    }
  },
  async test_abort_cancels_upstream() {
    const before = await aborted();
    await script(HELD);
    const abort = new AbortController();
    const result = streamText({ model, prompt: "x", abortSignal: abort.signal, maxRetries: 0,
                                onError() {} });
    for await (const part of result.textStream) if (part) abort.abort();
    await waitAborted(before + 1);
  },
});
