"""Every recorded stream of the golden cases through the whole gateway: cut anew, disturbed, and its tail lost.
And how answers end."""
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
RECORDED = sorted((GOLDEN / "recorded").glob("*.sse"))
GLOW = {"type": "glow", "text": "no"}
NOVELTY = {"type": "novelty", "index": 0, "delta": GLOW}
NOISE = [sse(PING), sse(NOVELTY), sse({"type": "content_block_delta", "index": 0, "delta": GLOW}), ": hm\n\n",
         "\n\n", "id: 7\nretry: 1\n\n", "data\n\n", sse(PING) + sse(NOVELTY) + sse(PING)]


def chunked(pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces if p)


def at_random(body, seed):
    rand = random.Random(seed)
    places = sorted(rand.sample(range(1, len(body)), rand.randint(1, 60)))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)])]


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
            for seed in range(3):
                pieces = at_random(b"".join(events), seed)
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


    def test_bodies(self):
        """Whole bodies, byte for byte: odd framing, other line ends, errors and cuts among them."""
        self.assertGreater(len(RECORDED), 20)
        for path in RECORDED:
            with self.subTest(path.stem):
                body = path.read_bytes()
                text = self.play({}, [body])
                broken = path.stem.startswith(("error", "truncated"))
                if text.startswith("{"):
                    self.assertTrue(broken and json.loads(text)["error"]["type"])
                    continue
                self.assertEqual(ended(golden.frames_of(text)), "error" if broken else "success")
                for pieces in ([body[i:i + 1] for i in range(len(body))], *(at_random(body, s) for s in range(3))):
                    self.assertEqual(timeless(self.play({}, pieces)), timeless(text))
                ends = [m.end() for m in re.finditer(rb"(\r\n|\n|\r){2}", body)]
                for n in ends:
                    if b'"message_stop"' not in body[:n]:
                        self.assertIn(b'"error"', self.ask({}, chunked([body[:n]])).body, n)


class Ends(harness.TestCase):
    def start(self, *answers, **env):
        """The upstream gives one answer after the other."""
        rest = list(answers)
        self.up = self.upstream(each_request(lambda call: call.answer(rest.pop(0))))
        return self.proxy(self.up, **env)

    def test_sources_and_searches_of_several_rounds(self):
        """Ranges are of the whole text, and searches are added up. test_thinking.py has the rest of pauses."""

        def round_of(said, searches, stop):
            source = {"type": "web_search_result_location", "url": "https://a.example/", "title": said,
                      "cited_text": "a", "encrypted_index": "i"}
            return [message_start(), {**text_start(), "content_block": {"type": "text", "text": "", "citations": []}},
                    {"type": "content_block_delta", "index": 0,
                     "delta": {"type": "citations_delta", "citation": source}}, text_delta(said), block_stop(),
                    message_delta(stop, server_tool_use={"web_search_requests": searches}), MESSAGE_STOP]

        rounds = round_of("It ", 1, "pause_turn"), round_of("is so.", 2, "end_turn")
        body = self.start(*rounds).chat(web_search_options={}).json()
        *chunks, usage, _ = self.start(*rounds).chat(
            stream=True, web_search_options={}, stream_options={"include_usage": True}).frames()
        notes = body["choices"][0]["message"]["annotations"]
        self.assertEqual(chunks[-2]["choices"][0]["delta"], {"annotations": notes})
        self.assertEqual([[n["url_citation"][k] for k in ("title", "start_index", "end_index")] for n in notes],
                         [["It ", 0, 3], ["is so.", 3, 9]])
        for said in (body["usage"], usage["usage"]):
            self.assertEqual(said["server_tool_use"], {"web_search_requests": 3})

    def test_a_pause_without_tools_of_upstream(self):
        """Nothing there that could go on: the answer ends."""
        proxy = self.start([*text_events("Hm.")[:-2], message_delta("pause_turn"), MESSAGE_STOP])
        self.assertEqual(proxy.chat().json()["choices"][0]["finish_reason"], "stop")
        self.assertEqual(len(self.up.requests), 1)

    def test_a_reason_that_is_not_known_is_logged(self):
        for reason, named in (("compaction", "compaction"), (None, None), ("a b", None)):
            events = [*text_events("Hm.")[:-2], message_delta(reason), MESSAGE_STOP]
            proxy = self.start(events)
            choice = proxy.chat().json()["choices"][0]
            self.assertEqual(choice["finish_reason"], "stop")
            line = proxy.wait_log("upstream ended an answer for a reason that is not known")
            self.assertEqual(line.get("reason") or None, named)

    def test_too_large_in_one_piece(self):
        """Asking again would cost as much again: official clients are told not to. Streamed it has no bound."""
        large = text_events(*["x" * 1000] * 200)
        proxy = self.start(large, large, CCPROXY_MAX_BODY="64KiB")
        response = proxy.chat()
        self.assert_error(response, 502, "answer_too_large", "server_error")
        self.assertEqual(response.fields["x-should-retry"], "false")
        self.assertEqual(ended(proxy.chat(stream=True).frames()), "success")
