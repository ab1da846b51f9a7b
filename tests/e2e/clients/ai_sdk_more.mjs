// The Vercel AI SDK, unmodified, against ccproxy: several tools at once, objects, limits and retries.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, Output, RetryError, stepCountIs, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { assert, run, script, control, error, BASE, KEY, MODEL, PNG, CUT } from "./common.mjs";

const provider = createOpenAICompatible({ name: "ccproxy", baseURL: BASE, apiKey: KEY, includeUsage: true,
                                          supportsStructuredOutputs: true });
const model = provider(MODEL);
const afterSteps = stepCountIs ?? isStepCount;
const calls = async () => (await control("GET", "/_sim/requests")).filter((r) => r.path === "/v1/messages");
const named = (name) => tool({ description: `The ${name} of a city`, inputSchema: z.object({ city: z.string() }),
                               execute: async ({ city }) => `${name} of ${city}` });
const tools = { weather: named("weather"), time: named("time") };
const prompt = "Compare in parallel: weather and time in Paris";

function assertLoop(steps, text) {
  assert.equal(steps.length, 2);
  assert.deepEqual(steps[0].toolCalls.map((c) => [c.toolName, c.input]),
                   [["weather", { city: "Paris" }], ["time", { city: "Paris" }]]);
  assert.equal(steps[0].finishReason, "tool-calls");
  assert.ok(text.includes("weather of Paris") && text.includes("time of Paris"), text);
}

await run({
  async test_parallel_tools() {
    const { steps, text } = await generateText({ model, prompt, tools, stopWhen: afterSteps(4) });
    assertLoop(steps, text);
  },
  async test_parallel_tools_streamed() {
    const result = streamText({ model, prompt, tools, stopWhen: afterSteps(4) });
    await result.consumeStream();
    const steps = await result.steps;
    assertLoop(steps, await result.text);
  },
  async test_usage() {
    const whole = await generateText({ model, prompt: "hello" });
    const result = streamText({ model, prompt: "hello" });
    await result.consumeStream();
    const usage = await result.usage;
    assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
    assert.deepEqual([usage.inputTokens, usage.outputTokens],
                     [whole.usage.inputTokens, whole.usage.outputTokens]);
  },
  async test_object() {
    const schema = z.object({ city: z.string(), people: z.number() });
    const { output } = await generateText({ model, prompt: "Where is Lisbon", output: Output.object({ schema }) });
    assert.equal(typeof output.city, "string");
    assert.equal((await calls())[0].body.output_config.format.type, "json_schema");
  },
  async test_images() {
    const content = [{ type: "text", text: "What?" }, { type: "image", image: PNG },
                     { type: "image", image: Buffer.from(PNG.split(",")[1], "base64") }];
    const { text } = await generateText({ model, messages: [{ role: "user", content }] });
    assert.match(text, /2 images/);
  },
  async test_system_stop_and_length() {
    const stopped = await generateText({ model, instructions: "S", prompt: "Please HALT here",
                                         stopSequences: ["HALT"] });
    assert.equal(stopped.finishReason, "stop");
    assert.ok(!stopped.text.includes("HALT"));
    assert.deepEqual((await calls())[0].body.system.map((b) => b.text), ["S"]);
    const cut = await generateText({ model, prompt: "hello", maxOutputTokens: 16 });
    assert.equal(cut.finishReason, "length");
  },
  async test_refusals() {
    const wrong = createOpenAICompatible({ name: "ccproxy", baseURL: BASE, apiKey: "sk-wrong-0123456789" });
    await assert.rejects(generateText({ model: wrong(MODEL), prompt: "x" }),
                         (e) => APICallError.isInstance(e) && e.statusCode === 401 && !e.isRetryable);
    await script(error(413, "request_too_large"));
    await assert.rejects(generateText({ model, prompt: "x" }),
                         (e) => APICallError.isInstance(e) && e.statusCode === 413 && !e.isRetryable);
  },
  async test_retries() {
    const failing = error(500, "api_error", { "retry-after-ms": "1" });
    await script(failing);
    assert.ok((await generateText({ model, prompt: "x" })).text);
    assert.equal((await calls()).length, 2);
    await control("DELETE", "/_sim/requests");
    await script(failing, failing, failing);
    await assert.rejects(generateText({ model, prompt: "x", maxRetries: 2 }), (e) => RetryError.isInstance(e));
    assert.equal((await calls()).length, 3);
  },
  async test_a_cut_stream_is_not_a_finished_one() {
    await script(CUT);
    const parts = [];
    for await (const part of streamText({ model, prompt: "x", maxRetries: 0, onError() {} }).fullStream)
      parts.push(part);
    assert.ok(parts.some((p) => p.type === "error"));
    assert.ok(!parts.some((p) => p.type === "finish" && p.finishReason === "stop"));
  },
});
