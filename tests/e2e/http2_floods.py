"""Floods over HTTP/2, as a table: what an attacker sends, again and again. For the tests and for bench/flood.py."""
import struct

from http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR,
                   GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PADDED, PING, PRIORITY, PRIORITY_UPDATE, PROTOCOL_ERROR,
                   RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, block, frame, request_fields)

RUDE = "sk-rude-0123456789abcdef"
GET = block(request_fields("GET", "/v1/models", RUDE))
POST = block(request_fields("POST", "/v1/chat/completions", RUDE, content_type="application/json"))
CHAT = b'{"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hello"}]}'
MORE = END_HEADERS
LAST = END_HEADERS | END_STREAM
LARGEST = 0x7fffffff


def u32(n):
    return struct.pack(">I", n)


def stream_of(i):
    return 2 * i + 1


def headers(i, flags, fields):
    return frame(HEADERS, flags, stream_of(i), fields)


def with_body(i, *then):
    """A request that waits for its body, and what comes instead of it."""
    return headers(i, MORE, POST) + b"".join(then)


def after(i, first, then):
    """What begins with one frame and goes on with others."""
    return (first if i == 0 else b"") + then


# What the i-th piece of each flood is, why its connection ends (None: by a rule of the protocol, at once), and the code
# of the GOAWAY.
FLOODS = {
    "rapid_reset": (lambda i: headers(i, LAST, GET) + frame(RST_STREAM, 0, stream_of(i), u32(8)),
                    "resets", ENHANCE_YOUR_CALM),
    "rapid_reset_of_chats": (lambda i: with_body(i, frame(DATA, END_STREAM, stream_of(i), CHAT),
                                                 frame(RST_STREAM, 0, stream_of(i), u32(8))),
                             "resets", ENHANCE_YOUR_CALM),
    "reset_before_the_body": (lambda i: with_body(i, frame(RST_STREAM, 0, stream_of(i), u32(8))),
                              "resets", ENHANCE_YOUR_CALM),
    "too_many_streams": (with_body, "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_an_overflow": (lambda i: with_body(i, frame(WINDOW_UPDATE, 0, stream_of(i), u32(LARGEST))),
                                     "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_a_length": (lambda i: headers(i, LAST, block(request_fields("GET", "/", content_length=5))),
                                  "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_a_field": (lambda i: headers(i, LAST, GET + block([("Upper", "x")])),
                                 "resets", ENHANCE_YOUR_CALM),
    "made_to_reset_by_no_path": (lambda i: headers(i, LAST, block([(":method", "GET")])),
                                 "resets", ENHANCE_YOUR_CALM),
    "empty_heads": (lambda i: headers(i, LAST, b""), "resets", ENHANCE_YOUR_CALM),
    "update_by_nothing": (lambda i: with_body(i, frame(WINDOW_UPDATE, 0, stream_of(i), u32(0))),
                          None, PROTOCOL_ERROR),
    "data_behind_the_end": (lambda i: headers(i, LAST, GET) + frame(DATA, 0, stream_of(i), b"x"),
                            None, STREAM_CLOSED),
    "priority_of_wrong_length": (lambda i: frame(PRIORITY, 0, stream_of(i), b"1234"), None, FRAME_SIZE_ERROR),
    "priority_over_itself": (lambda i: frame(PRIORITY, 0, stream_of(i), u32(stream_of(i)) + b"\x01"),
                             None, PROTOCOL_ERROR),
    "continuation": (lambda i: after(i, headers(0, 0, GET), frame(CONTINUATION, 0, 1, block([("a", "b" * 99)]))),
                     "continuation", ENHANCE_YOUR_CALM),
    "empty_continuation": (lambda i: after(i, headers(0, 0, GET), frame(CONTINUATION, 0, 1)),
                           "continuation", ENHANCE_YOUR_CALM),
    "endless_head": (lambda i: frame(CONTINUATION if i else HEADERS, 0, 1, block([("a", "b" * 16000)])),
                     "head", ENHANCE_YOUR_CALM),
    "ping": (lambda i: frame(PING, payload=b"12345678"), "control", ENHANCE_YOUR_CALM),
    "settings": (lambda i: frame(SETTINGS, payload=struct.pack(">HI", 1, 4096 + i)), "control", ENHANCE_YOUR_CALM),
    "windows_of_all_streams": (lambda i: after(i, b"".join(headers(n, MORE, POST) for n in range(50)),
                                               frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, i % 2))),
                               "control", ENHANCE_YOUR_CALM),
    "settings_of_many_entries": (lambda i: frame(SETTINGS, payload=33 * struct.pack(">HI", 1, 4096)),
                                 None, ENHANCE_YOUR_CALM),
    "goaway": (lambda i: frame(GOAWAY, payload=bytes(8)), "control", ENHANCE_YOUR_CALM),
    "empty_data": (lambda i: after(i, headers(0, MORE, POST), frame(DATA, 0, 1)), "empty", ENHANCE_YOUR_CALM),
    "padding": (lambda i: after(i, headers(0, MORE, POST), frame(DATA, PADDED, 1, b"\x09" + bytes(9))),
                "empty", ENHANCE_YOUR_CALM),
    "window_update": (lambda i: frame(WINDOW_UPDATE, 0, 0, u32(1)), "updates", ENHANCE_YOUR_CALM),
    "window_update_of_a_stream": (lambda i: after(i, headers(0, MORE, POST), frame(WINDOW_UPDATE, 0, 1, u32(1))),
                                  "updates", ENHANCE_YOUR_CALM),
    "window_overflow": (lambda i: frame(WINDOW_UPDATE, 0, 0, u32(LARGEST)), None, FLOW_CONTROL_ERROR),
    "priority": (lambda i: frame(PRIORITY, 0, stream_of(i), u32(0) + b"\x10"), "priority", ENHANCE_YOUR_CALM),
    "priority_update": (lambda i: frame(PRIORITY_UPDATE, 0, 0, u32(1) + b"u=1"), "priority", ENHANCE_YOUR_CALM),
    "unknown_frames": (lambda i: frame(0x20 + i % 100, 0, 0, b"what?"), "glitches", ENHANCE_YOUR_CALM),
}
