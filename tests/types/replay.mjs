// openai-node (helper and raw), the Vercel AI SDK and LangChain, reading the streams that replay.py serves.
import OpenAI from "openai";
import { streamText, tool, jsonSchema } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 lacks it
const BASE = process.env.BASE;
const messages = [{ role: "user", content: "x" }];
const client = new OpenAI({ baseURL: BASE, apiKey: "x", maxRetries: 0 });

const counts = (u) => u && [u.prompt_tokens, u.completion_tokens, u.total_tokens];

const readers = {
  async "openai-node"(model) {
    const final = await client.chat.completions.stream({ model, messages }).finalChatCompletion();
    const { message, finish_reason } = final.choices[0];
    return { text: message.content ?? "", finish: finish_reason, usage: counts(final.usage) ?? null,
             tools: (message.tool_calls ?? []).map((c) => ({ name: c.function?.name ?? "",
                                                             arguments: c.function?.arguments ?? "" })) };
  },
  async "openai-node-raw"(model) {
    let text = "", reasoning = "", finish = null, usage = null;
    const tools = [];
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
      usage = counts(chunk.usage) ?? usage;
      for (const { delta, finish_reason } of chunk.choices) {
        text += delta.content ?? "";
        reasoning += delta.reasoning_content ?? "";
        for (const c of delta.tool_calls ?? []) {
          tools[c.index] ??= { name: "", arguments: "" };
          tools[c.index].name += c.function?.name ?? "";
          tools[c.index].arguments += c.function?.arguments ?? "";
        }
        finish = finish_reason ?? finish;
      }
    }
    return { text, reasoning, tools, finish, usage };
  },
  async "ai-sdk"(model) {
    const provider = createOpenAICompatible({ name: "x", baseURL: BASE, apiKey: "x", includeUsage: true });
    const result = streamText({ model: provider(model), messages, maxRetries: 0, onError() {} });
    let text = "", reasoning = "", finish = null, usage = null;
    const tools = new Map(), order = [];
    for await (const part of result.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text;
      if (part.type === "reasoning-delta") reasoning += part.text;
      if (part.type === "tool-input-start") {
        order.push(part.id);
        tools.set(part.id, { name: part.toolName, arguments: "" });
      }
      if (part.type === "tool-input-delta") tools.get(part.id).arguments += part.delta;
      if (part.type === "finish-step") {
        finish = part.rawFinishReason ?? part.finishReason;
        const { inputTokens, outputTokens, totalTokens } = part.usage;
        usage = [inputTokens, outputTokens, totalTokens];
      }
    }
    const names = { "tool-calls": "tool_calls", "content-filter": "content_filter" };
    return { text, reasoning, usage, tools: order.map((id) => tools.get(id)), finish: names[finish] ?? finish };
  },
  async "langchain-node"(model) {
    const chat = new ChatOpenAI({ model, apiKey: "x", maxRetries: 0, configuration: { baseURL: BASE } });
    let whole;
    for await (const chunk of await chat.stream("x")) whole = whole ? whole.concat(chunk) : chunk;
    const { input_tokens, output_tokens, total_tokens } = whole.usage_metadata ?? {};
    return { text: whole.content, finish: whole.response_metadata.finish_reason,
             reasoning: whole.additional_kwargs.reasoning_content ?? "",
             usage: [input_tokens, output_tokens, total_tokens],
             tools: (whole.tool_call_chunks ?? []).map((c) => ({ name: c.name ?? "", arguments: c.args ?? "" })) };
  },
};

for (const name of JSON.parse(process.env.CASES)) {
  for (const [kind, read] of Object.entries(readers)) {
    let what;
    try {
      what = await read(name);
    } catch (e) {
      what = { error: String(e) };
    }
    console.log(JSON.stringify({ client: kind, case: name, ...what }));
  }
}
