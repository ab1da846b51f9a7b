"""Thinking that clients do not send back, answers that pause, and fields that upstream refuses."""
import contextlib
import copy
import json

import harness
from harness import MESSAGE_STOP, block_stop, message_delta, message_start, text_delta, text_start

CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}
ASK = {"role": "user", "content": "Weather in Oslo?"}


def block(index, content, *deltas):
    return [{"type": "content_block_start", "index": index, "content_block": content},
            *[{"type": "content_block_delta", "index": index, "delta": d} for d in deltas],
            block_stop(index)]


def thinking(index, text, signature):
    deltas = [{"type": "thinking_delta", "thinking": text}] if text else []
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *deltas,
                 {"type": "signature_delta", "signature": signature})


def call(index, number, *pieces, name="weather"):
    return block(index, {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}},
                 *[{"type": "input_json_delta", "partial_json": p} for p in pieces])


def answer(*blocks, stop="tool_use", model="claude-sonnet-5-5", **usage):
    events = [e for b in blocks for e in b]
    return [message_start(model, **usage), *events, message_delta(stop, **usage), MESSAGE_STOP]


def text(index, *pieces):
    return [text_start(index), *[text_delta(p, index) for p in pieces], block_stop(index)]


def whole(events, model="claude-sonnet-5-5"):
    """The same message in one piece."""
    content, stop, usage = [], None, {}
    for e in events:
        kind = e["type"]
        if kind == "content_block_start":
            content.append(copy.deepcopy(e["content_block"]))
        elif kind == "content_block_delta":
            d, b = e["delta"], content[-1]
            if d["type"] == "input_json_delta":
                b["input"] = b.get("input") or ""
                b["input"] += d["partial_json"]
            else:
                key = d["type"].removesuffix("_delta")
                b[key] = b.get(key, "") + d[key]
        elif kind == "message_delta":
            stop, usage = e["delta"]["stop_reason"], e["usage"]
    for b in content:
        if isinstance(b.get("input"), str):
            b["input"] = json.loads(b["input"] or "{}")
    return {"id": "msg_01Test", "type": "message", "role": "assistant", "model": model,
            "content": content, "stop_reason": stop, "stop_sequence": None,
            "usage": {"input_tokens": 10, **usage}}


class Case(harness.TestCase):
    ENV = {}

    def setUp(self):
        self.answers = []  # what the upstream says next: events, or (status, type, message)
        self.bodies = []
        upstream = self.upstream(harness.each_request(self.reply))
        env = {"CCPROXY_API_KEYS": "ann:key-of-ann-00000000,bob:key-of-bob-00000000", **self.ENV}
        self.gateway = self.proxy(upstream.url, **env)

    def reply(self, call):
        self.bodies.append(call.json())
        events = self.answers.pop(0)
        if isinstance(events, tuple):
            call.error(*events)
        elif self.bodies[-1]["stream"]:
            call.answer(events)
        else:
            body = json.dumps(whole(events)).encode()
            call.head(content_type="application/json", content_length=len(body), then=body)

    def post(self, messages, key="key-of-ann-00000000", stream=False, **extra):
        body = {"model": "claude-sonnet-5-5", "messages": messages, "tools": [TOOL],
                "stream": stream, **extra}
        client = self.gateway.client()
        client.request("POST", CHAT, body, key=key)
        response = client.response()
        client.close()
        return response

    def ask(self, messages, **extra):
        response = self.post(messages, **extra)
        self.assertEqual(response.status, 200, response.body)
        message = response.json()["choices"][0]["message"]
        # a plain client: it keeps what it knows
        return {k: message[k] for k in ("role", "content", "tool_calls") if message.get(k) is not None}

    def sent(self, turn=1):
        """What upstream was sent as an assistant turn in the last request."""
        return self.bodies[-1]["messages"][turn]["content"]


FIRST = answer(thinking(0, "Norway.", "c2lnMQ=="), text(1, "Let me ", "look.\n"),
               call(2, 1, '{"ci', 'ty":"Os\\u', '006co"}'))
DONE = answer(text(0, "It rains."), stop="end_turn")
KEPT = [{"type": "thinking", "thinking": "Norway.", "signature": "c2lnMQ=="},
        {"type": "text", "text": "Let me look.\n"},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}]


def result(number=1, content="rain"):
    return {"role": "tool", "tool_call_id": f"toolu_{number}", "content": content}


class Stash(Case):
    ENV = {"CCPROXY_WORKERS": "2"}

    def begin(self, first=FIRST, **extra):
        self.answers = [first, DONE]
        return self.ask([ASK], **extra)

    def test_plain_client(self):
        for stream_off in ({}, {"max_tokens": 1000}):
            with self.subTest(**stream_off):
                said = self.begin(**stream_off)
                self.ask([ASK, said, result()], **stream_off)
                self.assertEqual(self.sent(), KEPT)

    def test_many_turns_stay_the_same(self):
        messages = [ASK]
        for n in range(1, 6):
            self.answers = [answer(thinking(0, "", f"c2ln{n}AA="), call(1, n, f'{{"city":"{n}"}}'))]
            messages += [self.ask(messages), result(n)]
        for n in range(1, 6):
            turn = self.bodies[-1]["messages"][2 * n - 1]["content"] if n < 5 else None
            if turn:
                self.assertEqual([b["type"] for b in turn], ["thinking", "tool_use"])
                self.assertEqual(turn[0], {"type": "thinking", "thinking": "",
                                           "signature": f"c2ln{n}AA="})
        for before, after in zip(self.bodies, self.bodies[1:]):
            n = len(before["messages"])
            self.assertEqual(before["messages"], after["messages"][:n])

    def test_interleaved_and_redacted_in_their_places(self):
        first = answer(thinking(0, "a", "c2lnYQ=="), call(1, 1),
                       block(2, {"type": "redacted_thinking", "data": "cmVk"}),
                       call(3, 2, '{"city":"B"}'))
        said = self.begin(first)
        self.ask([ASK, said, result(1), result(2)])
        self.assertEqual([b["type"] for b in self.sent()],
                         ["thinking", "tool_use", "redacted_thinking", "tool_use"])
        self.assertEqual(self.sent()[1]["input"], {})

    def test_arguments_written_anew(self):
        said = self.begin()
        said["tool_calls"][0]["function"]["arguments"] = '{ "city" : "\\u004fslo" }'
        said["content"] = said["content"].strip()
        self.ask([ASK, said, result()])
        self.assertEqual(self.sent(), KEPT)

    def test_cache_marks_stay(self):
        said = self.begin()
        said["cache_control"] = {"type": "ephemeral"}
        self.ask([ASK, said, result()])
        marked = [*KEPT[:2], {**KEPT[2], "cache_control": {"type": "ephemeral"}}]
        self.assertEqual(self.sent(), marked)

    def lost(self, messages, **extra):
        self.ask(messages, **extra)
        return "thinking" not in [b["type"] for m in self.bodies[-1]["messages"] for b in m["content"]]

    def test_edited(self):
        edits = {
            "text": lambda m: m[1].update(content="Something else."),
            "arguments": lambda m: m[1]["tool_calls"][0]["function"].update(
                arguments='{"city":"Rome"}'),
            "what came before": lambda m: m[0].update(content="Weather in Rome?"),
            "a system text": lambda m: m.insert(0, {"role": "system", "content": "Be brief."}),
            "one call more": lambda m: m[1]["tool_calls"].append(
                {"id": "toolu_x", "type": "function",
                 "function": {"name": "weather", "arguments": "{}"}}),
        }
        for name, edit in edits.items():
            with self.subTest(name):
                messages = [copy.deepcopy(ASK), self.begin(), result()]
                edit(messages)
                self.assertTrue(self.lost(messages))

    def test_changed_tools(self):
        tools = [{**TOOL, "function": {**TOOL["function"], "description": "new"}}]
        self.assertTrue(self.lost([ASK, self.begin(), result()], tools=tools))

    def test_changed_tools_where_nothing_is_bound(self):
        first = answer(thinking(0, "Norway.", "c2lnMQ=="), call(1, 1, '{"city":"Oslo"}'),
                       model="claude-sonnet-5")
        said = self.begin(first, model="claude-sonnet-5")
        tools = [{**TOOL, "function": {**TOOL["function"], "description": "new"}}]
        self.assertFalse(self.lost([ASK, said, result()], tools=tools, model="claude-sonnet-5"))

    def test_other_model(self):
        self.assertTrue(self.lost([ASK, self.begin(), result()], model="claude-opus-5"))

    def test_other_client(self):
        self.assertTrue(self.lost([ASK, self.begin(), result()], key="key-of-bob-00000000"))

    def test_what_the_client_brought_goes_when_it_no_longer_fits(self):
        said = self.begin()
        said["reasoning_details"] = [{"type": "reasoning.text", "text": "Norway.", "index": 0,
                                      "signature": "c2lnMQ==", "format": "anthropic-claude-v1"}]
        self.assertTrue(self.lost([{"role": "user", "content": "Edited"}, said, result()]))

    def elsewhere(self, worker, messages):
        """Asks over a connection that another worker has; returns which."""
        while True:
            with contextlib.closing(self.gateway.client()) as client:
                client.request("GET", "/livez")
                client.response()
                mine = self.gateway.worker_of(client)
                if mine == worker:
                    continue
                client.request("POST", CHAT, {"model": "claude-sonnet-5-5", "messages": messages,
                                              "tools": [TOOL]}, key="key-of-ann-00000000")
                return client.response().json()["choices"][0]["message"], mine

    def test_another_worker_knows_it(self):
        self.answers = [FIRST, DONE]
        said, worker = self.elsewhere(None, [ASK])
        del said["reasoning_content"], said["reasoning_details"]
        _, other = self.elsewhere(worker, [ASK, said, result()])
        self.assertNotEqual(other, worker)
        self.assertEqual(self.sent(), KEPT)

    def test_survives_a_reload(self):
        said = self.begin()
        self.gateway.process.send_signal(harness.signal.SIGHUP)
        self.gateway.wait_log("reloaded")
        self.assertFalse(self.lost([ASK, said, result()]))

    def test_budget_thinking_goes_on_in_a_tool_loop(self):
        model = {"model": "claude-sonnet-4-5", "reasoning_effort": "low", "max_tokens": 8000}
        first = answer(thinking(0, "Norway.", "c2lnMQ=="), call(1, 1), model="claude-sonnet-4-5")
        said = self.begin(first, **model)
        self.ask([ASK, said, result()], **model)
        self.assertEqual(self.bodies[-1]["thinking"], {"type": "enabled", "budget_tokens": 2048})
        self.assertEqual(self.sent()[0]["type"], "thinking")


class Caching(Case):
    def test_is_asked_for_and_its_saving_is_logged(self):
        self.answers = [answer(text(0, "a"), stop="end_turn", cache_read_input_tokens=1000000,
                               cache_creation_input_tokens=100000)]
        self.ask([ASK])
        self.assertEqual(self.bodies[-1]["cache_control"], {"type": "ephemeral"})
        line = self.gateway.ended()
        # Sonnet 5.5: input 2, read 0.10, write 2.50 dollars a million
        self.assertEqual((line["cache_read_tokens"], line["cache_write_tokens"],
                          line["cache_saved_micro_usd"]), (1000000, 100000, 1900000 - 50000))


class NoCaching(Case):
    ENV = {"CCPROXY_AUTO_CACHE": "false"}

    def test_is_switched_off(self):
        self.answers = [DONE]
        self.ask([ASK])
        self.assertNotIn("cache_control", self.bodies[-1])


class NoStash(Case):
    ENV = {"CCPROXY_THINKING_STASH": "0"}

    def test_nothing_is_kept(self):
        self.answers = [FIRST, DONE]
        said = self.ask([ASK])
        self.ask([ASK, said, result()])
        self.assertEqual(self.sent(), KEPT[1:])


SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {},
          "caller": {"type": "direct"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
    {"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "e"}]}
QUERY = {"type": "input_json_delta", "partial_json": '{"query":"x"}'}


class Pause(Case):
    def test_goes_on(self):
        first = answer(text(0, "One. "), block(1, SEARCH, QUERY), block(2, FOUND),
                       stop="pause_turn", output_tokens=7)
        second = answer(thinking(0, "t", "c2ln"), text(1, "Two."), stop="end_turn", output_tokens=5)
        for stream, bound in ((False, {}), (False, {"max_tokens": 1000}), (True, {})):
            with self.subTest(stream=stream, **bound):
                self.answers = [first, first, second]
                response = self.post([ASK], stream=stream, tools=None, web_search_options={},
                                     stream_options={"include_usage": True} if stream else None,
                                     **bound)
                self.assertEqual(response.status, 200, response.body)
                if stream:
                    frames = response.frames()
                    said = "".join(c["delta"].get("content") or "" for f in frames[:-1]
                                   for c in f["choices"])
                    ends = [c["finish_reason"] for f in frames[:-1] for c in f["choices"]
                            if c["finish_reason"]]
                    indexes = {d["index"] for f in frames[:-1] for c in f["choices"]
                               for d in c["delta"].get("reasoning_details", [])}
                    self.assertEqual((ends, indexes, frames[-1]), (["stop"], {6}, "[DONE]"))
                    self.assertEqual(sum("role" in c["delta"] for f in frames[:-1]
                                         for c in f["choices"]), 1)
                    usage = frames[-2]["usage"]
                else:
                    body = response.json()
                    said, usage = body["choices"][0]["message"]["content"], body["usage"]
                self.assertEqual(said, "One. One. Two.")
                self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (30, 19))
                again = [{"type": "text", "text": "One. "},
                         {k: v for k, v in SEARCH.items() if k != "caller"} | {"input": {"query": "x"}},
                         FOUND]
                self.assertEqual(self.bodies[-1]["messages"],
                                 [{"role": "user", "content": [{"type": "text", "text": ASK["content"]}]},
                                  {"role": "assistant", "content": again + again}])

    def test_not_for_ever(self):
        pause = answer(text(0, "."), stop="pause_turn")
        self.answers = [pause] * 6
        response = self.post([ASK], tools=None, web_search_options={})
        self.assertEqual(response.json()["choices"][0]["message"]["content"], "......")
        self.assertEqual(response.json()["choices"][0]["finish_reason"], "stop")

    def test_a_later_round_fails(self):
        pause = answer(text(0, "One."), stop="pause_turn")
        for stream in (False, True):
            self.answers = [pause, (400, "invalid_request_error", "No.")]
            response = self.post([ASK], stream=stream, tools=None, web_search_options={})
            if stream:
                self.assertEqual(response.frames()[-1]["error"]["message"], "No.")
            else:
                self.assertEqual((response.status, response.error["message"]), (400, "No."))

    def test_a_later_round_is_retried(self):
        pause = answer(text(0, "One."), stop="pause_turn")
        self.answers = [pause, (529, "overloaded_error", "Overloaded"), DONE]
        response = self.post([ASK], stream=True, tools=None, web_search_options={})
        said = "".join(c["delta"].get("content") or "" for f in response.frames()[:-1]
                       for c in f["choices"])
        self.assertEqual(said, "One.It rains.")


class Adapt(Case):
    ENV = {"CCPROXY_WORKERS": "1"}

    def refused(self, message, messages=None, **extra):
        self.answers = [(400, "invalid_request_error", message), DONE]
        response = self.post(messages or [ASK], **extra)
        self.assertEqual(response.status, 200, response.body)
        self.gateway.wait_log("upstream refused what the table of models allows, sent again without it")
        return response.fields["x-ccproxy-dropped"], self.bodies[-1]

    def test_a_parameter(self):
        dropped, body = self.refused("`temperature` is deprecated for this model.",
                                     model="claude-sonnet-4-6", temperature=0.5)
        self.assertEqual(dropped, "temperature")
        self.assertNotIn("temperature", body)

    def test_what_was_learnt_is_kept(self):
        extra = {"model": "claude-sonnet-4-6", "temperature": 0.5}
        self.refused("`temperature` is deprecated for this model.", **extra)
        self.answers = [DONE]
        response = self.post([ASK], **extra)
        self.assertEqual((response.status, len(self.bodies)), (200, 3))
        self.assertEqual(response.fields["x-ccproxy-dropped"], "temperature")

    def test_a_schema_that_cannot_be_compiled(self):
        schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
        dropped, body = self.refused(
            "Schema is too complex for compilation.", model="claude-opus-5", tools=None,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
        self.assertEqual(dropped, "response_format")
        self.assertNotIn("output_config", body)
        words, _, told = body["system"][0]["text"].partition("\n")
        self.assertIn("matches this JSON schema", words)
        self.assertEqual(json.loads(told), {**schema, "additionalProperties": False})

    def test_a_forced_tool(self):
        dropped, body = self.refused('tool_choice: forcing tools is not supported for this model',
                                     model="claude-opus-5", tool_choice="required")
        self.assertEqual((dropped, body["tool_choice"]), ("tool_choice", {"type": "auto"}))

    def test_replayed_thinking(self):
        said = {"role": "assistant", "content": "Hi", "thinking_blocks": [
            {"type": "thinking", "thinking": "t", "signature": "c2ln"}]}
        dropped, body = self.refused(
            "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a "
            "different conversation.", [ASK, said, ASK])
        self.assertEqual(dropped, "messages.thinking")
        self.assertEqual([b["type"] for b in body["messages"][1]["content"]], ["text"])

    def test_a_late_system_message(self):
        dropped, body = self.refused('messages: Unexpected role "system".',
                                     [ASK, {"role": "system", "content": "Late"}])
        self.assertEqual(dropped, "messages.system")
        self.assertEqual(body["messages"][1], {"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>Late</system-reminder>"}]})

    def test_once(self):
        self.answers = [(400, "invalid_request_error", "temperature: no")] * 2
        response = self.post([ASK], model="claude-sonnet-4-6", temperature=0.5)
        self.assertEqual((response.status, len(self.bodies)), (400, 2))

    def test_nothing_to_leave_out(self):
        self.answers = [(400, "invalid_request_error", "temperature: no")]
        self.assertEqual((self.post([ASK]).status, len(self.bodies)), (400, 1))


class NewerVersion(Case):
    ENV = {"CCPROXY_ANTHROPIC_VERSION": "2026-10-21"}

    def test_has_no_sampling(self):
        self.answers = [DONE]
        response = self.post([ASK], model="claude-sonnet-4-6", temperature=0.5)
        self.assertEqual((response.status, response.fields["x-ccproxy-dropped"]), (200, "temperature"))
        self.assertNotIn("temperature", self.bodies[-1])


class AdaptStrict(Case):
    ENV = {"CCPROXY_STRICT": "true"}

    def test_what_was_asked_for_is_refused(self):
        self.answers = [(400, "invalid_request_error", "`temperature` is deprecated for this model.")]
        response = self.post([ASK], model="claude-sonnet-4-6", temperature=0.5)
        self.assertEqual((response.status, len(self.bodies)), (400, 1))
        self.assertIn("temperature", response.error["message"])

    def test_thinking_goes(self):
        said = {"role": "assistant", "content": "Hi", "thinking_blocks": [
            {"type": "thinking", "thinking": "t", "signature": "c2ln"}]}
        self.answers = [(400, "invalid_request_error",
                         "messages.1.content.0: Invalid `signature` in `thinking` block"), DONE]
        self.assertEqual(self.post([ASK, said, ASK]).status, 200)
