"""Reads bodies of OTLP/HTTP requests in JSON, one a line, by OpenTelemetry's own definitions, and prints
their spans as JSON; what the definitions do not know is an error.

OTLP's JSON differs from protobuf's in that ids are hex (opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
"""
import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def value(v):
    kind = v.WhichOneof("value")
    if kind == "array_value":
        return [value(x) for x in v.array_value.values]
    return getattr(v, kind)


def attributes(of):
    names = [a.key for a in of.attributes]
    assert len(set(names)) == len(names), names
    return {a.key: value(a.value) for a in of.attributes}


def as_protobuf(data):
    for resource_spans in data["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                for key, size in IDS.items():
                    if key in span:
                        raw = bytes.fromhex(span[key])
                        assert len(raw) == size and any(raw), (key, span[key])
                        span[key] = base64.b64encode(raw).decode()
    return json.dumps(data)


def spans(line):
    request = ExportTraceServiceRequest()
    json_format.Parse(as_protobuf(json.loads(line)), request)
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for s in scope_spans.spans:
                yield {
                    "resource": attributes(resource_spans.resource), "scope": scope_spans.scope.name,
                    "trace": s.trace_id.hex(), "id": s.span_id.hex(), "parent": s.parent_span_id.hex(),
                    "flags": s.flags, "name": s.name, "kind": Span.SpanKind.Name(s.kind)[len("SPAN_KIND_"):],
                    "start": s.start_time_unix_nano, "end": s.end_time_unix_nano,
                    "status": Status.StatusCode.Name(s.status.code)[len("STATUS_CODE_"):],
                    "attributes": attributes(s), "events": {e.name: e.time_unix_nano for e in s.events},
                }


print(json.dumps([span for line in sys.stdin for span in spans(line)]))
