// openai-node, unmodified: what it makes of each credential; see auth_python.py.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import OpenAI from "openai";

globalThis.crypto ??= webcrypto; // Node.js 18, which Debian 12 has, lacks it

const HELLO = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };

async function outcome(ask) {
  try {
    return (await ask()) ? "ok" : "empty";
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    return { class: e.constructor.name, status: e.status, code: e.code, type: e.type };
  }
}

const outcomes = {};
for (const { name, url, key } of JSON.parse(readFileSync(0, "utf8"))) {
  const client = new OpenAI({ baseURL: url + "/v1", apiKey: key, maxRetries: 0 });
  const chat = client.chat.completions;
  outcomes[name] = {
    models: await outcome(async () => (await client.models.list()).data.length),
    chat: await outcome(async () => (await chat.create(HELLO)).choices[0].message.content),
    stream: await outcome(async () => {
      let text = "";
      for await (const c of await chat.create({ ...HELLO, stream: true })) text += c.choices[0].delta.content ?? "";
      return text;
    }),
  };
}
console.log(JSON.stringify(outcomes));
