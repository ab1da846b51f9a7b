#!/usr/bin/env python3
"""Runs the tests of a Meson build directory and counts their cases, not their programs.

A cmocka program says "[  PASSED  ] n test(s)." and "[  FAILED  ] n test(s)"; any other program is one
case. Only what failed is shown.
"""
import json
import pathlib
import re
import subprocess
import sys


def count(result):
    text = result.get("stdout", "") + result.get("stderr", "")
    cases = [sum(int(n) for n in re.findall(r"\[  %s  \] (\d+) test\(s\)" % word, text))
             for word in ("PASSED", "FAILED")]
    if result["result"] == "SKIP":
        return 0, 0
    if result["returncode"] == 0:
        return max(cases[0], 1), cases[1]
    return cases[0], max(cases[1], 1)


def main():
    build = pathlib.Path(sys.argv[1])
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    run = subprocess.run(["meson", "test", "-C", str(build), "--no-rebuild", "--print-errorlogs",
                          "--quiet"], check=False)
    passed = failed = 0
    for line in log.read_text().splitlines():
        good, bad = count(json.loads(line))
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or run.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
