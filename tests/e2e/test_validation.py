"""What is wrong with a request is found here, with the name of what is wrong, and costs nothing: none of these
reaches the upstream, and a good request on the same connection still does."""
import base64
import json
import struct

import harness

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "x"}]
GOOD = {"model": "gpt-4o", "messages": USER}
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
IMAGE = "messages[0].content[0].image_url.url"
TOOL = "tools[0].function.parameters"
TYPE, MISSING, VALUE = "invalid_type", "missing_required_parameter", "invalid_value"
BELOW, TOO_MUCH, ABOVE = "integer_below_min_value", "integer_above_max_value", "decimal_above_max_value"


def user(*parts):
    return {"messages": [{"role": "user", "content": list(parts)}]}


def image(url):
    return user({"type": "image_url", "image_url": {"url": url}})


def tool(**function):
    return {"tools": [{"type": "function", "function": function}]}


def schema(parameters):
    return tool(name="f", parameters=parameters)


def call(**call):
    return {"messages": USER + [{"role": "assistant", "content": None, "tool_calls": [call]}]}


# (code, param, what replaces or joins the members of a good request)
FIELDS = [
    (MISSING, "model", {"model": None}), (TYPE, "model", {"model": 7}), (TYPE, "model", {"model": ["gpt-4o"]}),
    (MISSING, "messages", {"messages": None}), ("empty_array", "messages", {"messages": []}),
    (TYPE, "messages", {"messages": "x"}), (TYPE, "messages[0]", {"messages": ["x"]}),
    (MISSING, "messages[0].role", {"messages": [{"content": "x"}]}),
    (VALUE, "messages[0].role", {"messages": [{"role": "root", "content": "x"}]}),
    ("array_above_max_length", "messages", {"messages": USER * 100001}),
    (BELOW, "max_tokens", {"max_tokens": 0}), (BELOW, "max_tokens", {"max_tokens": -1}),
    (TYPE, "max_tokens", {"max_tokens": "5"}), (TYPE, "max_tokens", {"max_tokens": 1.5}),
    (TYPE, "max_tokens", {"max_tokens": True}), (TOO_MUCH, "max_tokens", {"max_tokens": 2**63}),
    (BELOW, "max_completion_tokens", {"max_completion_tokens": 0}),
    ("decimal_below_min_value", "temperature", {"temperature": -0.1}), (ABOVE, "temperature", {"temperature": 2.1}),
    (TYPE, "temperature", {"temperature": "1"}), (ABOVE, "top_p", {"top_p": 1.1}),
    (BELOW, "n", {"n": 0}), ("unsupported_value", "n", {"n": 2}), (TYPE, "stop", {"stop": 5}),
    (TYPE, "stop", {"stop": [None]}), (TYPE, "stream", {"stream": "true"}), (TYPE, "stream", {"stream": 1}),
    (TYPE, "stream_options", {"stream_options": []}), (TYPE, "user", {"user": 5}),
    (TYPE, "metadata", {"metadata": []}), ("string_above_max_length", "metadata.a", {"metadata": {"a": "v" * 1000}}),
    ("object_above_max_properties", "metadata", {"metadata": {str(i): "x" for i in range(20)}}),
    (TYPE, "logit_bias", {"logit_bias": []}), (TOO_MUCH, "top_logprobs", {"top_logprobs": 21}),
    (ABOVE, "presence_penalty", {"presence_penalty": 3}), (TOO_MUCH, "seed", {"seed": 2**70}),
    (VALUE, "service_tier", {"service_tier": "x"}), (VALUE, "reasoning_effort", {"reasoning_effort": "x"}),
    ("unsupported_value", "modalities", {"modalities": ["audio"]}), (BELOW, "top_k", {"top_k": -1}),
    (VALUE, "response_format.type", {"response_format": {"type": "x"}}),
    (MISSING, "response_format.json_schema", {"response_format": {"type": "json_schema"}}),
    (TYPE, "tools", {"tools": {}}), (TYPE, "tools[0]", {"tools": [1]}), (MISSING, "tools[0].type", {"tools": [{}]}),
    (VALUE, "tools[0].type", {"tools": [{"type": "x"}]}), (MISSING, "tools[0].function.name", tool(name="")),
    (MISSING, "tools[0].function.name", tool(parameters={})), ("invalid_function_parameters", TOOL, schema(5)),
    ("invalid_function_parameters", TOOL, schema({"type": "string"})),
    ("invalid_function_parameters", TOOL, schema({"type": "object", "properties": 5})),
    ("invalid_function_parameters", TOOL, schema({"type": "object", "required": "x"})),
    (VALUE, "tool_choice", {"tool_choice": "required"}), (VALUE, "tool_choice", {"tool_choice": "x"}),
    (VALUE, "tool_choice", {**tool(name="f"), "tool_choice": {"type": "function", "function": {"name": "g"}}}),
    (MISSING, "messages[1].tool_calls[0].id", call(type="function", function={"name": "f", "arguments": "{}"})),
    (MISSING, "messages[1].tool_calls[0].function.name", call(id="c", type="function")),
    (MISSING, "messages[0].content[0].type", user({})), (TYPE, "messages[0].content[0]", user(5)),
    (MISSING, "messages[0].content[0].text", user({"type": "text"})),
    (TYPE, "messages[0].content[0].text", user({"type": "text", "text": 5})),
    (VALUE, "messages[0].content[0].type", user({"type": "x"})),
    ("unsupported_value", "messages[0].content[0].type", user({"type": "input_audio", "input_audio": {}})),
    ("unsupported_file", "messages[0].content[0].file",
     user({"type": "file", "file": {"file_data": "data:application/zip;base64,UEs="}})),
    ("too_many_images", "messages", user(*[{"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}] * 601)),
    ("too_many_images", "messages", {"model": "claude-haiku-4-5", **user(
        *[{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}] * 101)}),
]


def png(width, height):
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\0\0\0\0" + bytes(16)
    return "data:image/png;base64," + base64.b64encode(head).decode()


FIELDS += [("image_too_large", IMAGE, image(png(8001, 1))), ("image_too_large", IMAGE, image(png(1, 2**31))),
           ("image_too_large", "messages", user(*[image(png(2001 if i == 3 else 9, 9))["messages"][0]["content"][0] for i in range(21)]))]
# The upstream would have to fetch them: nobody is sent to an address that is somebody's own.
URLS = ["", "x", "//a.example/x.png", "http://a.example/x.png", "https://", "https:///x.png", "ftp://a.example/x", "file:///etc/passwd",
        "javascript:alert(1)", "https://user:pw@a.example/x.png", "https://user@a.example/x.png", "https://a.example/ x.png",
        "https://a.example/x\n", "https://a.example/\0", "https://a example/x.png", "https://a.example:0/x", "https://a.example:99999/x",
        "https://a.example:x/", "https://a.example\\@b.example/x", "https://localhost/x.png", "https://LOCALHOST./x", "https://x.localhost/",
        "https://db.internal/x", "https://printer.local/x", "https://127.0.0.1/x.png", "https://127.1/x", "https://2130706433/x",
        "https://0x7f000001/x", "https://0177.0.0.1/x", "https://10.0.0.1/", "https://172.16.9.9:8443/x", "https://192.168.1.1?x",
        "https://169.254.169.254/latest/meta-data/", "https://100.64.0.1#x", "https://0.0.0.0/", "https://224.0.0.1/", "https://255.255.255.255/",
        "https://[::1]/x", "https://[::]/x", "https://[::ffff:127.0.0.1]/x", "https://[::ffff:a00:1]/", "https://[fe80::1]/x", "https://[fd00::1]/x",
        "https://[64:ff9b::7f00:1]/", "https://a.example/" + "x" * 9000]
DATA = ["data:", "data:,x", "data:image/png,xx", "data:image/png;base64,", "data:image/png;base64,!!!", "data:image/png;base64,AAAA",
        "data:image/svg+xml;base64,PHN2Zz4=", "data:image/bmp;base64,Qk0=", "data:text/html;base64,PGI+"]
MODELS = ["", " gpt-4o", "gpt-4o\n", "gpt-4o\0", "nothing", "claude-", "claude-sonnet-5-5\r\nX: y", "claude-sonnet-5-5/../x",
          "claude-sonnet 5", "claude-\u00e9", "claude-\u202e", "claude-sonnet-5-5?x", "claude-" + "x" * 100, "x" * 5000]


def chat(text):
    return '{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]' + text + "}"


# Bytes that are no JSON, or not to everybody the same.
BODIES = [b"", b"  ", b"null", b"[]", b'"x"', b"5", b"{", chat("") + "x", chat("") * 2, "/*x*/" + chat(""), chat("").replace('"', "'"),
          b"\xef\xbb\xbf" + chat("").encode(), chat("").encode("utf-16"), chat("").encode("utf-16-le"), chat(","),
          chat("").encode().replace(b'"x"', b'"\xff"'), chat("").encode().replace(b'"x"', b'"\xc0\xaf"'),
          chat("").encode().replace(b'"x"', b'"\xed\xa0\x80"'), chat("").replace('"x"', '"\\ud800"'),
          chat("").replace('"x"', '"a\nb"'), chat("").replace('"x"', '"\\x41"'), chat(',"temperature":NaN'), chat(',"temperature":.5'),
          chat(',"n":01'), chat(',"n":+1'), chat(',"model":"gpt-4"'), chat(',"mod\\u0065l":"gpt-4"'),
          chat(',"messages":[]'), chat(',"metadata":{"a":"1","a":"2"}'),
          chat("").replace('"role"', '"role":"system","role"'), chat(',"x":' + "[" * 70 + "]" * 70), "[" * 100000,
          '{"a":' * 100000, chat(',"' + "k" * 100000 + '":1')]
NUMBERS = [("temperature", "1e400", ABOVE), ("temperature", "-1e400", "decimal_below_min_value"), ("max_tokens", "1e400", TYPE),
           ("max_tokens", "-0", BELOW), ("seed", "9" * 1000, TOO_MUCH), ("temperature", "9" * 1000, ABOVE)]
KINDS = ["text/html", "application/xml", "multipart/form-data; boundary=x", "application/octet-stream", "json", "application/jsonp",
         "application/json, text/plain", "application/json; charset=utf-16", "application/json;charset=ISO-8859-1",
         'text/plain; charset="utf-32"', "application/json; charset=utf-8; charset=utf-16", "application/json; charset="]
GOOD_KINDS = ["application/json;charset=UTF-8", 'application/json; charset="utf-8"', "text/plain; charset=us-ascii",
              "application/json; q=1; charset=utf8", "application/json;"]


class Refusals(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = cls.shared_upstream(harness.each_request(lambda call: call.answer()))
        cls.proxy_ = cls.shared_proxy(cls.up, CCPROXY_RATE_LIMIT_RPM="0")

    def setUp(self):
        self.sent = self.client(self.proxy_)
        self.before = len(self.up.requests)

    def tearDown(self):
        self.sent.chat()
        self.assertEqual(self.sent.response().status, 200)
        self.assertEqual(len(self.up.requests), self.before + 1)

    def refused(self, body, status, code, param, **fields):
        self.sent.request("POST", CHAT, body, fields)
        response = self.sent.response()
        self.assert_error(response, status)
        self.assertEqual((response.error["code"], response.error["param"]), (code, param), response.body)
        self.assertEqual(response.fields["x-should-retry"], "false")
        if response.fields.get("connection") == "close":
            self.sent = self.client(self.proxy_)

    def test_fields(self):
        for code, param, change in FIELDS:
            with self.subTest(f"{param}: {json.dumps(change)[:60]}"):
                self.refused({k: v for k, v in {**GOOD, **change}.items() if v is not None}, 400, code, param)

    def test_images(self):
        for url in URLS:
            with self.subTest(url[:60]):
                self.refused({**GOOD, **image(url)}, 400, "invalid_image_url", IMAGE)
        for url in DATA:
            with self.subTest(url):
                self.refused({**GOOD, **image(url)}, 400, "invalid_image_format", IMAGE)
        own = {"type": "image", "source": {"type": "url", "url": "https://10.0.0.1/x"}}
        self.refused({**GOOD, **user(own)}, 400, "invalid_image_url", "messages[0].content[0].source.url")

    def test_public_images(self):
        for url in ("https://a.example/x.png?a=b&c=%20#y", "HTTPS://A.EXAMPLE:8443", "https://8.8.8.8/x.png", "https://[2606:4700::1111]/x",
                    "https://1.2.3.example/x", "https://x.local.example/x"):
            self.sent.request("POST", CHAT, {**GOOD, **image(url)})
            self.assertEqual(self.sent.response().status, 200, url)
        self.before = len(self.up.requests)

    def test_large_images(self):
        for urls in ([png(8000, 8000)] * 20, [png(2000, 2000)] * 21):
            self.sent.request("POST", CHAT, {**GOOD, **user(*[image(u)["messages"][0]["content"][0] for u in urls])})
            self.assertEqual(self.sent.response().status, 200)
        self.before = len(self.up.requests)

    def test_models(self):
        for name in MODELS:
            with self.subTest(name[:40]):
                self.refused({**GOOD, "model": name}, 404, "model_not_found", "model")

    def test_bodies(self):
        for body in BODIES:
            with self.subTest(body[:60]):
                self.refused(body, 400, None, None)

    def test_numbers(self):
        for name, number, code in NUMBERS:
            with self.subTest(f"{name} {number[:20]}"):
                self.refused(chat(f',"{name}":{number}'), 400, code, name)

    def test_kinds(self):
        for kind in KINDS:
            with self.subTest(kind):
                self.sent.send(self.with_kind(kind))
                self.assert_error(self.sent.response(), 415, "unsupported_media_type")
                self.sent = self.client(self.proxy_)
        for kind in GOOD_KINDS:
            with self.subTest(kind):
                self.sent.send(self.with_kind(kind))
                self.assertEqual(self.sent.response().status, 200)
        self.before = len(self.up.requests)

    @staticmethod
    def with_kind(kind):
        body = json.dumps(GOOD)
        return (f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {harness.KEY}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}")
