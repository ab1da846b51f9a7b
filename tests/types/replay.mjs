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

const readers = {
  async "openai-node"(model) {
    const final = await client.chat.completions.stream({ model, messages }).finalChatCompletion();
    const { message, finish_reason } = final.choices[0];
    return { text: message.content ?? "", finish: finish_reason,
             tools: (message.tool_calls ?? []).map((c) => ({ name: c.function?.name ?? "",
                                                             arguments: c.function?.arguments ?? "" })) };
  },
  async "openai-node-raw"(model) {
    let text = "", finish = null;
    const tools = [];
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
      for (const { delta, finish_reason } of chunk.choices) {
        text += delta.content ?? "";
        for (const c of delta.tool_calls ?? []) {
          tools[c.index] ??= { name: "", arguments: "" };
          tools[c.index].name += c.function?.name ?? "";
          tools[c.index].arguments += c.function?.arguments ?? "";
        }
        finish = finish_reason ?? finish;
      }
    }
    return { text, tools, finish };
  },
  async "ai-sdk"(model) {
    const provider = createOpenAICompatible({ name: "x", baseURL: BASE, apiKey: "x", includeUsage: true });
    const result = streamText({ model: provider(model), messages, maxRetries: 0, onError() {} });
    let text = "", finish = null;
    const tools = new Map(), order = [];
    for await (const part of result.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text;
      if (part.type === "tool-input-start") {
        order.push(part.id);
        tools.set(part.id, { name: part.toolName, arguments: "" });
      }
      if (part.type === "tool-input-delta") tools.get(part.id).arguments += part.delta;
      if (part.type === "finish-step") finish = part.rawFinishReason ?? part.finishReason;
    }
    const names = { "tool-calls": "tool_calls", "content-filter": "content_filter" };
    return { text, tools: order.map((id) => tools.get(id)), finish: names[finish] ?? finish };
  },
  async "langchain-node"(model) {
    const chat = new ChatOpenAI({ model, apiKey: "x", maxRetries: 0, configuration: { baseURL: BASE } });
    let whole;
    for await (const chunk of await chat.stream("x")) whole = whole ? whole.concat(chunk) : chunk;
    return { text: whole.content, finish: whole.response_metadata.finish_reason,
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
