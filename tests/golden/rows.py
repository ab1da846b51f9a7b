#!/usr/bin/env python3
"""Says which rows of the mapping no case holds, and which cases name a row that there is not.

usage: rows.py DIRECTORY...     (directories of golden cases)

rows.txt, beside this program, lists the rows; README.md says how. The last line is
"rows: N passed, N failed"; the exit status is 1 when something failed.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent


def listed_rows(path):
    """Yields (row, words, where): where is the test that holds the row when no golden case can."""
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            row, _, rest = line.partition(" ")
            words, _, where = rest.partition("@")
            yield row, words.strip(), where.strip()


def is_test(where):
    """True when where, "FILE:WORDS" from the root of the project, is a file with these words in it."""
    name, _, words = where.partition(":")
    path = HERE.parent.parent / name
    return path.is_file() and bool(words) and words in path.read_text()


def main(directories):
    if not directories:
        sys.exit(__doc__)
    seen = {}
    for path in (p for d in directories for p in sorted(pathlib.Path(d).rglob("*.json"))):
        for row in json.loads(path.read_text()).get("see") or [None]:
            seen.setdefault(row, []).append(path.name)
    rows = {row: (words, where) for row, words, where in listed_rows(HERE / "rows.txt")}
    faults = [f"{row} {words}: no case" for row, (words, where) in rows.items()
              if row not in seen and not where]
    faults += [f"{row} {words}: {where} does not hold it" for row, (words, where) in rows.items()
               if where and not is_test(where)]
    faults += [f"{', '.join(names)}: names no row" if row is None else
               f"{row}: no such row ({', '.join(names)})"
               for row, names in seen.items() if row not in rows]
    print("\n".join(faults + [f"rows: {len(rows)} passed, {len(faults)} failed"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
