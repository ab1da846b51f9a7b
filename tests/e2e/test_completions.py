"""The older Completions API, and the many spellings of a URL: raw clients, scripted upstreams."""
import json

import harness
from harness import KEY, MESSAGE_STOP, each_request, message_delta, text_events

PATH = "/v1/completions"
BODY = {"model": "claude-sonnet-5-5", "prompt": "Once upon a time"}
CHAT_BODY = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hello"}]}


class Completions(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.texts = ["Hello!"]
        cls.up = cls.shared_upstream(
            each_request(lambda call: call.answer(text_events(*cls.texts))))
        cls.proxy_ = cls.shared_proxy(cls.up)

    def ask(self, *texts, **extra):
        type(self).texts = texts or ("Hello!",)
        client = self.client(self.proxy_)
        client.request("POST", PATH, {**BODY, **extra})
        return client.response()

    def test_whole(self):
        response = self.ask("there was")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.fields["openai-version"], "2020-10-01")
        answer = response.json()
        self.assertEqual((answer["id"], answer["object"], answer["model"]),
                         ("cmpl-01Test", "text_completion", "claude-sonnet-5-5"))
        self.assertEqual(answer["choices"], [{"text": "there was", "index": 0, "logprobs": None,
                                              "finish_reason": "stop"}])
        self.assertEqual(answer["usage"]["total_tokens"], 15)

    def test_streamed(self):
        response = self.ask("there", " was", stream=True, stream_options={"include_usage": True})
        self.assertEqual(response.fields["content-type"], "text/event-stream; charset=utf-8")
        *chunks, last, usage, done = response.frames()
        self.assertEqual([c["choices"][0]["text"] for c in chunks], ["there", " was"])
        self.assertEqual(last["choices"], [{"text": "", "index": 0, "logprobs": None,
                                            "finish_reason": "stop"}])
        self.assertEqual((usage["choices"], usage["usage"]["completion_tokens"]), ([], 5))
        self.assertEqual(done, "[DONE]")

    def test_echo_streamed(self):
        frames = self.ask(" there was", stream=True, echo=True).frames()
        self.assertEqual([f["choices"][0]["text"] for f in frames[:-1]],
                         ["Once upon a time", " there was", ""])

    def test_stop_across_deltas(self):
        frames = self.ask("one\n", "\ntwo", "\n\nthree", stream=True, stop=["\n\n"]).frames()
        self.assertEqual([f["choices"][0]["text"] for f in frames[:-1]], ["one", ""])
        self.assertEqual(frames[-2]["choices"][0]["finish_reason"], "stop")
        answer = self.ask("one\n", "two\n", "\nthree", stop=["\n\n"]).json()
        self.assertEqual(answer["choices"][0]["text"], "one\ntwo")

    def test_what_was_dropped_is_named(self):
        response = self.ask(frequency_penalty=1, tools=[])
        self.assertEqual(response.fields["x-ccproxy-dropped"], "tools, frequency_penalty")

    def test_refusals(self):
        n = len(self.up.requests)
        for extra, code, param in (({"prompt": ["a", "b"]}, "invalid_value", "prompt"),
                                   ({"suffix": "."}, "unsupported_parameter", "suffix"),
                                   ({"best_of": 2}, "unsupported_value", "best_of"),
                                   ({"model": "nope"}, "model_not_found", "model")):
            response = self.ask(**extra)
            self.assert_error(response, 404 if param == "model" else 400, code)
            self.assertEqual(response.error["param"], param)
        self.assertEqual(len(self.up.requests), n)

    def test_a_cut_stream_has_no_end(self):
        def script(call):
            call.read_request()
            call.start()
            for event in text_events("there")[:3]:
                call.event(event)

        client = self.client(self.proxy(self.upstream(script)))
        client.request("POST", PATH, {**BODY, "stream": True})
        frames = client.response().frames()
        self.assertEqual(frames[0]["choices"][0]["text"], "there")
        self.assertEqual(frames[-1]["error"]["code"], "upstream_incomplete")
        self.assertNotIn("[DONE]", frames)

    def test_chat_stops_at_blanks_too(self):
        type(self).texts = ("one\n", "two")
        answer = self.proxy_.chat(stop="\n").json()["choices"][0]
        self.assertEqual((answer["message"]["content"], answer["finish_reason"]), ("one", "stop"))

    def test_a_call_behind_a_stop_is_still_a_call(self):
        tool = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
        events = [*text_events("one\ntwo")[:-2],
                  {"type": "content_block_start", "index": 1, "content_block": tool},
                  {"type": "content_block_stop", "index": 1}, message_delta("tool_use"), MESSAGE_STOP]
        proxy = self.proxy(self.upstream(each_request(lambda call: call.answer(events))))
        tools = [{"type": "function", "function": {"name": "f"}}]
        choice = proxy.chat(stop="\n", tools=tools).json()["choices"][0]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("one", "tool_calls"))


class Paths(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = cls.shared_upstream(each_request(lambda call: call.answer()))
        cls.proxy_ = cls.shared_proxy(cls.up)

    def ask(self, method, path, body=None, **kwargs):
        client = self.client(self.proxy_)
        client.request(method, path, body, **kwargs)
        return client.response()

    def test_spellings(self):
        for prefix in ("", "/v1", "//v1", "/v1/", "/v1//", "///v1///", "/openai/v1", "/openai", "//openai//v1",
                       "/openai/deployments/x", "/openai/deployments/x/v1"):
            for end in ("", "/", "//", "?api-version=2024-10-21"):
                path = f"{prefix}/completions{end}"
                self.assertEqual(self.ask("POST", path, BODY).status, 200, path)
        for path in ("/openai/v1/models", "//v1/models//", "/openai/models?api-version=preview"):
            self.assertEqual(self.ask("GET", path).json()["object"], "list", path)

    def test_not_paths(self):
        for path in ("/openai", "/openai/", "/openaix/v1/completions", "/v1/openai/completions",
                     "/deployments/x/completions", "/openai/deployments/completions",
                     "/openai/deployments/x", "/completions/x", "//"):
            self.assert_error(self.ask("POST", path, BODY), 404, "unknown_url")

    def test_azure(self):
        """The key comes as api-key, the model stands in the path."""
        body = {k: v for k, v in CHAT_BODY.items() if k != "model"}
        for name, model in (("claude-haiku-4-5", "claude-haiku-4-5"),
                            ("anthropic%2Fclaude-haiku-4-5", "claude-haiku-4-5")):
            response = self.ask("POST", f"/openai/deployments/{name}/chat/completions?api-version=x",
                                body, key=None, fields={"api-key": KEY})
            self.assertEqual(response.status, 200, response.body)
            self.assertTrue(json.loads(self.up.requests[-1])["model"].startswith(model))
        self.ask("POST", "/openai/deployments/claude-haiku-4-5/chat/completions", CHAT_BODY)
        self.assertEqual(json.loads(self.up.requests[-1])["model"], "claude-sonnet-5-5")
        response = self.ask("POST", "/openai/deployments/nope/chat/completions", body)
        self.assertIn("nope", self.assert_error(response, 404, "model_not_found"))
        response = self.ask("POST", "/openai/deployments/x/embeddings", body)
        self.assert_error(response, 404, "unsupported_endpoint")

    def test_ids_are_decoded(self):
        for name in ("claude-sonnet-5-5", "anthropic%2Fclaude-sonnet-5-5", "anthropic/claude-sonnet-5-5",
                     "claude%2Dsonnet-5-5", "gpt-4o"):
            response = self.ask("GET", f"/v1/models/{name}")
            self.assertEqual((response.status, response.json()["object"]), (200, "model"), name)
        for name in ("nope", "%ff", "%zz", "a%00b", "%F0%9F%91%8B"):
            self.assertIn(self.ask("GET", f"/v1/models/{name}").status, (400, 404), name)

    def test_models_are_not_deleted(self):
        self.assert_error(self.ask("DELETE", "/v1/models/claude-sonnet-5-5"), 403, "permission_denied")
        self.assert_error(self.ask("DELETE", "/v1/models/nope"), 404, "model_not_found")
        self.assert_error(self.ask("DELETE", "/v1/models/nope", key=None), 401, "invalid_api_key")
        self.assert_error(self.ask("DELETE", "/v1/models"), 405, "method_not_allowed")
        self.assert_error(self.ask("PUT", "/v1/models/nope"), 405, "method_not_allowed")

    def test_models_for_clients_of_anthropic(self):
        fields = {"anthropic-version": "2023-06-01", "x-api-key": KEY}
        page = self.ask("GET", "/v1/models?limit=1000", key=None, fields=fields).json()
        ids = [m["id"] for m in page["data"]]
        self.assertIn("claude-sonnet-5-5", ids)
        self.assertEqual((page["has_more"], page["first_id"], page["last_id"]), (False, ids[0], ids[-1]))
        model = self.ask("GET", "/v1/models/claude-haiku-4-5-20251001", fields=fields).json()
        self.assertEqual((model["type"], model["id"], model["created_at"][-1]),
                         ("model", "claude-haiku-4-5-20251001", "Z"))
        response = self.ask("GET", "/v1/models/nope", fields=fields)
        self.assertEqual((response.status, response.json()["type"], response.error["type"]),
                         (404, "error", "not_found_error"))
        # the shape is a matter of the models alone
        self.assertEqual(self.ask("POST", PATH, BODY, fields=fields).json()["object"], "text_completion")

    def test_what_claude_has_not(self):
        for path in ("embeddings", "audio/transcriptions", "images/edits", "videos", "moderations",
                     "fine_tuning/jobs", "fine-tunes", "assistants", "threads", "vector_stores/x/files",
                     "realtime/sessions", "live/x", "files", "uploads", "batches", "evals", "graders/run",
                     "containers", "skills", "conversations", "chat/completions/chatcmpl-1", "edits",
                     "chatkit/sessions", "agents", "/embeddings"):
            for method in ("GET", "POST", "DELETE"):
                message = self.assert_error(self.ask(method, f"/v1/{path}", {}), 404, "unsupported_endpoint")
                self.assertIn("Claude has no", message)

    def test_what_is_elsewhere(self):
        for path in ("responses", "responses/resp_1", "messages", "messages/count_tokens", "engines"):
            message = self.assert_error(self.ask("POST", f"/v1/{path}", {}), 404, "unsupported_endpoint")
            self.assertIn(f"/v1/{path} is not supported: ", message)
            self.assertIn("use /v1/", message)
        self.assert_error(self.ask("GET", "/v1/organization/costs"), 404, "unsupported_endpoint")
        for path in ("/v1/embeddingsx", "/v1/chat/completionsx", "/v1/messagesx", "/v1/api/tags"):
            self.assert_error(self.ask("POST", path, {}), 404, "unknown_url")
