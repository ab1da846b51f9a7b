// What the JavaScript programs share; see common.py for the output.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import * as undici from "undici";

globalThis.crypto ??= webcrypto; // the clients expect it; Node.js 18, which Debian 12 has, lacks it

export const BASE = process.env.CCPROXY_URL + "/v1";
export const KEY = process.env.CCPROXY_KEY;

// What a client is made with, where it is to speak HTTP/2.
const dispatcher = process.env.CCPROXY_CLIENT_HTTP2 && new undici.Agent({ allowH2: true });
export const HTTP = dispatcher ? { fetch: (url, init) => undici.fetch(url, { ...init, dispatcher }) } : {};

export const MODEL = "gpt-4o";
export const HELLO = [{ role: "user", content: "Hello there, wörld 👋" }];
export const PNG =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const WEATHER = {
  type: "function",
  function: {
    name: "get_weather", description: "Weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

export async function control(method, path, body) {
  const answer = await fetch(process.env.SIM_URL + path, { method, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

export const script = (...answers) => control("POST", "/_sim/script", { answers });
export const error = (status, type, headers = {}) => ({
  status, headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify({ type: "error", error: { type, message: "scripted" } }),
});

const start = {
  type: "message_start",
  message: { id: "msg_01", type: "message", role: "assistant", model: "claude-sonnet-5-5", content: [],
             stop_reason: null, stop_sequence: null, usage: { input_tokens: 3, output_tokens: 1 } },
};
const open = { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } };
const delta = { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "half" } };
export const BROKEN = { events: [start, open, delta,
  { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }] };
export const CUT = { events: [start, open, delta] };
// It takes so many tokens that the limit of "waits", 6000 a minute, is there again after three seconds.
export const COSTLY = { events: [start, open, delta, { type: "content_block_stop", index: 0 },
  { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 6300 } },
  { type: "message_stop" }] };
// The first piece has a delta in it; the second would come much later.
export const HELD = { events: [start, open, ...Array(50).fill(delta)], split: 1000, delay_ms: 600000 };

export const aborted = async () => (await control("GET", "/_sim/state")).aborted;
export async function waitAborted(n) {
  for (let i = 0; i < 100000; i++) if ((await aborted()) >= n) return;
  throw new Error("the upstream call goes on");
}

export async function run(tests) {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    await control("DELETE", "/_sim/script");
    await control("DELETE", "/_sim/requests");
    try {
      await test();
      console.log("ok", name);
    } catch (e) {
      failed++;
      console.log(`not ok ${name}: ${e.stack ?? e}`.replaceAll("\n", " "));
    }
  }
  process.exit(failed ? 1 : 0);
}

export { assert };
