"""Every recorded stream of the golden cases through the whole gateway: cut anew, disturbed, and its tail lost.
And answers that pause, which are several requests upstream and one for the client."""
import json
import pathlib
import random
import re
import sys

import harness
from harness import (MESSAGE_STOP, PING, block_stop, each_request, message_delta, message_start, sse, text_delta,
                     text_events, text_start)

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN))
import run as golden  # noqa: E402

CASES = [(p, c) for p in sorted(GOLDEN.glob("*/*.json")) for c in [json.loads(p.read_text())]
         if c.get("kind") == "stream"]
GLOW = {"type": "glow", "text": "no"}
NOVELTY = {"type": "novelty", "index": 0, "delta": GLOW}
NOISE = [sse(PING), sse(NOVELTY), sse({"type": "content_block_delta", "index": 0, "delta": GLOW}), ": hm\n\n",
         "\n\n", "id: 7\nretry: 1\n\n", "data\n\n", sse(PING) + sse(NOVELTY) + sse(PING)]


def chunked(pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces if p)


def timeless(text):
    return re.sub(r'"created":\d+', '"created":0', text)


def told(text):
    """What is left without comments."""
    return "".join(block + "\n\n" for block in timeless(text).split("\n\n") if block and block[0] != ":")


def ended(frames):
    """How a reader would say that a stream ended."""
    if any(isinstance(f, dict) and "error" in f for f in frames):
        return "error"
    finished = any(c["finish_reason"] for f in frames if isinstance(f, dict) for c in f["choices"])
    return "success" if frames[-1:] == ["[DONE]"] and finished else f"neither: {frames[-1:]}"


class Recut(harness.TestCase):
    """The upstream sends self.data, a chunked body or what there is of one."""

    @classmethod
    def setUpClass(cls):
        cls.up = cls.shared_upstream(each_request(cls.reply))
        cls.proxy_ = cls.shared_proxy(cls.up, CCPROXY_RETRIES=0)

    @classmethod
    def reply(cls, call):
        call.start(then=cls.data)
        if not cls.data.endswith(b"0\r\n\r\n"):
            raise harness.Gone("cut")

    def ask(self, case, data):
        type(self).data = data
        case = golden.with_request(case)
        path = "/v1/completions" if case.get("dialect") == "completions" else "/v1/chat/completions"
        client = self.client(self.proxy_)
        client.request("POST", path, {**case["openai_request"], "stream": True})
        response = client.response()
        client.close()
        return response

    def play(self, case, pieces):
        response = self.ask(case, chunked(pieces) + b"0\r\n\r\n")
        self.assertTrue(response.complete)
        return response.body.decode()

    def each(self, check):
        """Calls check with each case, its events and what the client gets when nothing is in the way."""
        self.assertGreater(len(CASES), 50)
        for path, case in CASES:
            with self.subTest(f"{path.parent.name}/{path.stem}"):
                events = [sse(e).encode() for e in case["anthropic_events"]]
                check(case, events, self.play(case, [b"".join(events)]))

    def test_as_recorded(self):
        """The gateway sends the frames of the case; the words of an error are its own."""

        def check(case, _, text):
            if text.startswith("{"):
                return  # an error before anything was sent
            want = [{"error": {"$any": True}} if isinstance(f, dict) and "error" in f else f
                    for f in case["expected_openai_frames"]]
            while isinstance(want[0], str):
                del want[0]  # a ping before the answer begins: there is nothing to keep alive
            want = json.loads(re.sub(r'"created": \d+', '"created": {"$int": true}', json.dumps(want)))
            comparison = golden.Comparison(extra=bool(case.get("allow_extra_keys")))
            comparison.compare(golden.join_text(want), golden.join_text(golden.frames_of(text)))
            self.assertEqual(comparison.faults, [])

        self.each(check)

    def test_cut_into_bytes(self):
        def check(case, events, text):
            body = b"".join(events)
            got = self.play(case, [body[i:i + 1] for i in range(len(body))])
            self.assertEqual(timeless(got), timeless(text))

        self.each(check)

    def test_cut_at_every_blank_line(self):
        def check(case, events, text):
            self.assertEqual(timeless(self.play(case, events)), timeless(text))
            inside = [piece for e in events for piece in (e[:-1], e[-1:])]  # between the two line ends
            self.assertEqual(timeless(self.play(case, inside)), timeless(text))

        self.each(check)

    def test_cut_at_random(self):
        def check(case, events, text):
            body = b"".join(events)
            for seed in range(3):
                rand = random.Random(seed)
                places = sorted(rand.sample(range(1, len(body)), rand.randint(1, 60)))
                pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)])]
                self.assertEqual(timeless(self.play(case, pieces)), timeless(text), seed)

        self.each(check)

    def test_noise(self):
        """Pings, unknown events and deltas, and comments between all events: nothing changes but comments."""

        def check(case, events, text):
            for noise in NOISE:
                body = b"".join(noise.encode() + e for e in events) + noise.encode()
                self.assertEqual(told(self.play(case, [body])), told(text), noise)

        self.each(check)

    def test_pings_become_comments(self):
        def check(case, events, text):
            if text.startswith("{"):
                return
            got = self.play(case, [events[0], *[sse(PING).encode() + e for e in events[1:]]])
            self.assertGreater(got.count(": ping\n\n"), text.count(": ping\n\n"))

        self.each(check)

    def test_a_lost_tail_is_an_error(self):
        """At every event boundary, whether the connection broke or the body ended as if it were whole."""

        def check(case, events, _):
            whole = any(b'"message_stop"' in e for e in events)
            for n in range(len(events) - whole):
                for end in (b"", b"0\r\n\r\n"):
                    response = self.ask(case, chunked(events[:n]) + end)
                    if response.fields["content-type"] == "application/json":
                        self.assertGreaterEqual(response.status, 500)
                        self.assertTrue(response.error["code"])
                        continue
                    self.assertEqual(ended(response.frames()), "error", (n, end, response.body))
                    self.assertNotIn(b"[DONE]", response.body)

        self.each(check)


SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
         "content": [{"type": "web_search_result", "url": "https://a.example/", "title": "A",
                      "encrypted_content": "EqQB", "page_age": None}]}
CITED = {"type": "web_search_result_location", "url": "https://a.example/", "title": "A", "cited_text": "a",
         "encrypted_index": "Eo8B"}


def block(index, value, *deltas):
    return [{"type": "content_block_start", "index": index, "content_block": value},
            *[{"type": "content_block_delta", "index": index, "delta": d} for d in deltas], block_stop(index)]


def first_round():
    return [message_start(input_tokens=100, output_tokens=1), text_start(), text_delta("Let me see. "), block_stop(),
            *block(1, SEARCH, {"type": "input_json_delta", "partial_json": '{"query":"a"}'}), *block(2, FOUND),
            message_delta("pause_turn", output=20, server_tool_use={"web_search_requests": 1}), MESSAGE_STOP]


def last_round():
    citation = {"type": "citations_delta", "citation": CITED}
    text = {"type": "text_delta", "text": "It is so."}
    return [message_start(input_tokens=300, output_tokens=1),
            *block(0, {"type": "text", "text": "", "citations": []}, citation, text),
            message_delta(output=7, server_tool_use={"web_search_requests": 2}), MESSAGE_STOP]


class Pauses(harness.TestCase):
    def start(self, *rounds):
        """The upstream answers with one round after the other, the last one again and again."""
        self.bodies = []

        def answer(call):
            self.bodies.append(call.json())
            what = rounds[min(len(self.bodies), len(rounds)) - 1]
            what(call) if callable(what) else call.answer(what)

        return self.proxy(self.upstream(each_request(answer)), CCPROXY_RETRIES=0)

    def check_rounds(self):
        said = self.bodies[1]["messages"][-1]
        self.assertEqual(said["role"], "assistant")
        self.assertEqual(said["content"], [{"type": "text", "text": "Let me see. "},
                                           {**SEARCH, "input": {"query": "a"}}, FOUND])
        self.assertEqual(self.bodies[0]["messages"], self.bodies[1]["messages"][:-1])
        self.assertEqual({**self.bodies[0], "messages": 0}, {**self.bodies[1], "messages": 0})

    def check_usage(self, usage):
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (400, 27))
        self.assertEqual(usage["server_tool_use"], {"web_search_requests": 3})

    def check_source(self, annotations):
        self.assertEqual(annotations, [{"type": "url_citation", "url_citation": {
            "start_index": 12, "end_index": 21, "title": "A", "url": "https://a.example/"}}])

    def test_whole(self):
        answer = self.start(first_round(), last_round()).chat(web_search_options={}).json()
        choice, = answer["choices"]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]),
                         ("Let me see. It is so.", "stop"))
        self.assertNotIn("tool_calls", choice["message"])
        self.check_source(choice["message"]["annotations"])
        self.check_usage(answer["usage"])
        self.check_rounds()

    def test_streamed(self):
        response = self.start(first_round(), last_round()).chat(
            stream=True, web_search_options={}, stream_options={"include_usage": True})
        *chunks, usage, done = response.frames()
        deltas = [c["choices"][0]["delta"] for c in chunks]
        self.assertEqual([d.get("content") for d in deltas[:3]], ["", "Let me see. ", "It is so."])
        self.assertEqual([d["role"] for d in deltas if "role" in d], ["assistant"])
        self.assertEqual([c["choices"][0]["finish_reason"] for c in chunks], [None] * (len(chunks) - 1) + ["stop"])
        self.check_source(deltas[-2]["annotations"])
        self.check_usage(usage["usage"])
        self.assertEqual((done, len({c["id"] for c in chunks})), ("[DONE]", 1))
        self.check_rounds()

    def test_not_for_ever(self):
        answer = self.start(first_round()).chat(web_search_options={}).json()
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        self.assertEqual(len(self.bodies), 6)

    def test_no_tools_of_upstream(self):
        """Nothing there that could go on: the answer ends."""
        events = [*text_events("Hm.")[:-2], message_delta("pause_turn"), MESSAGE_STOP]
        answer = self.start(events).chat().json()
        self.assertEqual((answer["choices"][0]["finish_reason"], len(self.bodies)), ("stop", 1))

    def test_a_later_round_that_fails(self):
        """What was said cannot be taken back: an error frame, or an error instead of half an answer."""
        cut = last_round()[:3]
        for fails, code in ((lambda call: call.error(529, "overloaded_error", "Overloaded"), "server_is_overloaded"),
                            (lambda call: call.answer(cut), "upstream_incomplete")):
            frames = self.start(first_round(), fails).chat(stream=True, web_search_options={}).frames()
            self.assertEqual(ended(frames), "error")
            self.assertEqual(frames[-1]["error"]["code"], code)
            response = self.start(first_round(), fails).chat(web_search_options={})
            self.assertGreaterEqual(response.status, 500)
            self.assertEqual(response.error["code"], code)


class Ends(harness.TestCase):
    def test_a_reason_that_is_not_known_is_logged(self):
        for reason, named in (("compaction", "compaction"), (None, None), ("a b", None)):
            events = [*text_events("Hm.")[:-2], message_delta(reason), MESSAGE_STOP]
            proxy = self.proxy(self.upstream(each_request(lambda call, e=events: call.answer(e))))
            choice = proxy.chat().json()["choices"][0]
            self.assertEqual(choice["finish_reason"], "stop")
            line = proxy.wait_log("upstream ended an answer for a reason that is not known")
            self.assertEqual(line.get("reason") or None, named)
