"""Every row of the table of upstream errors, through the whole gateway: the golden cases of kind error."""
import datetime
import json
import pathlib
import re

import harness

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
CASES = [p for p in sorted(GOLDEN.glob("*/*.json")) if json.loads(p.read_text())["kind"] == "error"]
UTC = datetime.timezone.utc


def moved(value, clock):
    """A time of the case, as far from now as it is from the case's clock."""
    try:
        at = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return value
    away = at - datetime.datetime.fromisoformat(clock.replace("Z", "+00:00"))
    return (datetime.datetime.now(UTC) + away).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(duration):
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?(?:(\d+)ms)?", duration)
    h, m, s, ms = (float(p or 0) for p in parts.groups())
    return h * 3600 + m * 60 + s + ms / 1000


class Errors(harness.TestCase):
    def setUp(self):
        self.upstream_ = self.upstream(harness.each_request(self.reply))
        self.gateway = self.proxy(self.upstream_, CCPROXY_RETRIES=0)

    def reply(self, call):
        case = self.case
        body = case["upstream_body"]
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
        fields = {k.replace("-", "_"): v for k, v in case.get("upstream_headers", {}).items()}
        for name in fields:
            if name.endswith("_reset"):
                fields[name] = moved(fields[name], case["clock"])
        fields.setdefault("content_type", "application/json")
        call.head(case["upstream_status"], "Error", then=body, content_length=len(body), **fields)

    def compare(self, want, got, path):
        if isinstance(want, dict) and set(want) == {"$any"}:
            return
        if isinstance(want, dict) and set(want) == {"$contains"}:
            for part in want["$contains"]:
                self.assertIn(part, got, path)
        elif isinstance(want, dict):
            self.assertEqual(set(want), set(got), path)
            for key in want:
                self.compare(want[key], got[key], f"{path}.{key}")
        else:
            self.assertEqual(want, got, path)

    def test_cases(self):
        self.assertGreater(len(CASES), 50)
        for path in CASES:
            self.case = json.loads(path.read_text())
            for stream in (False, True):
                with self.subTest(path.stem, stream=stream):
                    response = self.gateway.chat(stream=stream)
                    self.assertEqual(response.status, self.case["expected_status"], response.body)
                    self.compare(self.case["expected_openai_error"], response.json(), "body")
                    for name in self.case.get("absent_headers", []):
                        self.assertNotIn(name, response.fields)
                    for name, value in self.case.get("expected_headers", {}).items():
                        got = response.fields.get(name)
                        if name.startswith("x-ratelimit-reset") and value != "0s":
                            self.assertAlmostEqual(seconds(got), seconds(value), delta=2, msg=name)
                        else:
                            self.assertEqual(got, value, name)
