#!/usr/bin/env python3
"""Writes files into a C header, each as an array of bytes named after it: page.html is page_html.

    embed.py HEADER FILE...
"""
import pathlib
import re
import sys


def main():
    header, *files = map(pathlib.Path, sys.argv[1:])
    lines = [f"/* {header.name} - made by tools/embed.py. */"]
    for path in files:
        data = path.read_bytes()
        lines.append(f"static const char {re.sub(r'[^a-z0-9]', '_', path.name)}[{len(data)}] = {{")
        for i in range(0, len(data), 24):  # chars are signed
            lines.append("    " + "".join(f"{b - 256 if b > 127 else b}," for b in data[i:i + 24]))
        lines.append("};")
    header.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
