// openai-node (helper and raw), the Vercel AI SDK and LangChain, reading the streams that replay.py serves.
import OpenAI from "openai";
import { streamText } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI, OpenAI as LegacyOpenAI } from "@langchain/openai";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 lacks it
globalThis.AI_SDK_LOG_WARNINGS = false;
const BASE = process.env.BASE;
const messages = [{ role: "user", content: "x" }];
const client = new OpenAI({ baseURL: BASE, apiKey: "x", maxRetries: 0 });

const options = { apiKey: "x", maxRetries: 0, configuration: { baseURL: BASE } };
const provider = createOpenAICompatible({ name: "x", baseURL: BASE, apiKey: "x", includeUsage: true });

const sources = (notes) => (notes ?? []).map(({ url_citation: c }) => [c.url, c.start_index, c.end_index]);
// A call, or a piece of one: of a function, of a custom tool, or of the legacy form.
const callOf = (c) => {
  const what = c.function ?? c.custom ?? c;
  return { name: what.name ?? "", arguments: what.arguments ?? what.input ?? "" };
};
const counts = (u) => u && [u.prompt_tokens, u.completion_tokens, u.total_tokens];

const readers = {
  async "openai-node"(model) {
    const final = await client.chat.completions.stream({ model, messages }).finalChatCompletion();
    const { message, finish_reason } = final.choices[0];
    const calls = message.tool_calls ?? (message.function_call ? [message.function_call] : []);
    return { text: message.content ?? "", finish: finish_reason, usage: counts(final.usage) ?? null,
             refusal: message.refusal ?? "", tools: calls.map(callOf) };
  },
  async "openai-node-raw"(model) {
    let text = "", reasoning = "", refusal = "", notes = [], finish = null, usage = null;
    const tools = [];
    const add = (i, piece) => {
      const { name, arguments: more } = callOf(piece);
      tools[i] ??= { name: "", arguments: "" };
      tools[i].name += name;
      tools[i].arguments += more;
    };
    for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
      usage = counts(chunk.usage) ?? usage;
      for (const { delta, finish_reason } of chunk.choices) {
        text += delta.content ?? "";
        reasoning += delta.reasoning_content ?? "";
        refusal += delta.refusal ?? "";
        notes.push(...sources(delta.annotations));
        for (const c of delta.tool_calls ?? []) add(c.index, c);
        if (delta.function_call) add(0, delta.function_call);
        finish = finish_reason ?? finish;
      }
    }
    return { text, reasoning, refusal, sources: notes, tools, finish, usage };
  },
  "ai-sdk": (model) => readParts({ model: provider(model), messages }),
  async "langchain-node"(model) {
    let whole;
    for await (const chunk of await new ChatOpenAI({ model, ...options }).stream("x"))
      whole = whole ? whole.concat(chunk) : chunk;
    const { input_tokens, output_tokens, total_tokens } = whole.usage_metadata ?? {};
    return { text: whole.content, finish: whole.response_metadata.finish_reason,
             reasoning: whole.additional_kwargs.reasoning_content ?? "",
             usage: [input_tokens, output_tokens, total_tokens],
             tools: (whole.tool_call_chunks ?? []).map((c) => ({ name: c.name ?? "", arguments: c.args ?? "" })) };
  },
};

const legacyReaders = {
  async "openai-node"(model) {
    let text = "", finish = null, usage = null;
    for await (const chunk of await client.completions.create({ model, prompt: "x", stream: true })) {
      usage = counts(chunk.usage) ?? usage;
      for (const choice of chunk.choices) {
        text += choice.text;
        finish = choice.finish_reason ?? finish;
      }
    }
    return { text, tools: [], finish, usage };
  },
  "ai-sdk": (model) => readParts({ model: provider.completionModel(model), prompt: "x" }),
  async "langchain-node"(model) {
    let text = "", finish = null;
    for await (const chunk of new LegacyOpenAI({ model, ...options })._streamResponseChunks("x", {})) {
      text += chunk.text;
      finish = chunk.generationInfo?.finishReason ?? chunk.generationInfo?.finish_reason ?? finish;
    }
    return { text, tools: [], finish };
  },
};

async function readParts(request) {
  const result = streamText({ ...request, maxRetries: 0, onError() {} });
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
}

for (const { name, legacy } of JSON.parse(process.env.CASES)) {
  for (const [kind, read] of Object.entries(legacy ? legacyReaders : readers)) {
    let what;
    try {
      what = await read(name);
    } catch (e) {
      what = { error: String(e) };
    }
    console.log(JSON.stringify({ client: kind, case: name, ...what }));
  }
}
