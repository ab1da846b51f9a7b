#!/usr/bin/env python3
"""Runs the end-to-end tests: every class of every test_*.py, each in a process of its own.

    run.py [BINARY] [NAME...]

BINARY is the ccproxy to test, a path; else $CCPROXY_BINARY, else build/ccproxy. A NAME keeps the tests
whose module, class or method contains it. The tests mostly wait, so there are more processes than
processors. The last line is "e2e: N passed, N failed".
"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
PROCESSES = 2 * (os.cpu_count() or 1)
LIMIT_S = 300


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def discover(filters):
    """The names of the tests that are wanted, by class."""
    groups = {}
    for test in flatten(unittest.defaultTestLoader.discover(str(HERE), "test_*.py")):
        name = test.id()
        if not filters or any(f in name for f in filters):
            groups.setdefault(name.rsplit(".", 1)[0], []).append(name)
    return groups


def run_here(names):
    """The child: runs the tests that are named and writes what came of them."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromNames(names).run(result)
    bad = [[str(test), text] for test, text in result.failures + result.errors]
    print(json.dumps({"run": result.testsRun, "skipped": len(result.skipped), "bad": bad}))


def run_group(item):
    name, tests = item
    child = subprocess.Popen([sys.executable, __file__, "--here"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, _ = child.communicate("\n".join(tests), timeout=LIMIT_S)
        return name, json.loads(out.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as e:
        return name, {"run": len(tests), "skipped": 0, "bad": [[name, repr(e)]]}
    finally:
        with contextlib.suppress(ProcessLookupError):  # and what it may have left behind
            os.killpg(child.pid, signal.SIGKILL)


def main():
    args = sys.argv[1:]
    if args == ["--here"]:
        run_here(sys.stdin.read().splitlines())
        return 0
    if args and "/" in args[0]:
        os.environ["CCPROXY_BINARY"] = os.path.abspath(args.pop(0))
    groups = discover(args)
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        for _, result in pool.map(run_group, groups.items()):
            for test, text in result["bad"]:
                print(f"FAILED {test}\n{text}")
            failed += len(result["bad"])
            passed += max(result["run"] - result["skipped"] - len(result["bad"]), 0)
    print(f"e2e: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
