#!/usr/bin/env python3
"""Checks what no compiler checks: who includes whom, who includes a library, who calls what is banned.

    base -> io, wire -> http, llm, policy, obs -> store, config -> proxy, sim -> proc

Prints one line per violation; exit code 1 when there is one.
"""
import pathlib
import re
import sys

# A layer may include itself and these.
MAY_INCLUDE = {
    "base": "",
    "io": "base",
    "wire": "base",
    "http": "base io wire",
    "llm": "base wire",
    "policy": "base wire llm",
    "obs": "base",
    "store": "base io wire http",
    "config": "base io wire policy store",
    "proxy": "base io wire http llm policy obs store config",
    "sim": "base io wire http llm obs",
    "proc": "base io wire http llm policy obs store config proxy sim",
}

# Each library's headers stand in one file, so that it is swapped there; OpenSSL's, which are three
# libraries, and nghttp2's, which is used on both sides, in a few.
LIBRARIES = {
    r"openssl/(ssl|err|ocsp|x509.*)\.h":
        "io/tls.c io/tls_clients.c io/tls_int.h io/tls_server.c io/tls_staple.c",
    r"openssl/core_names\.h": "base/verify.c io/tls_tickets.c",
    r"openssl/.*": "base/hash.c base/verify.c",
    r"ares.*\.h": "io/dns.c",
    r"seccomp\.h": "proc/sandbox.c",
    r"yaml\.h": "config/yaml.c",
    r"hiredis/.*": "store/redis_reply.c",
    r"libpq-fe\.h": "store/ledger_pg.c",
    r"nghttp2/.*": "http/client_h2.c http/server_h2_int.h",
    r"sqlite3\.h": "store/ledger_sqlite.c",
}

BANNED = {
    r"strcpy|strcat|sprintf|vsprintf|strtok|gets|atoi|atol|sscanf|alloca|system|popen|strncpy": (),
    r"malloc|calloc|realloc|free|strdup|strndup|asprintf": ("base/mem.c",),
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def check_includes(name, text, problems):
    layer = name.split("/")[0]
    own = name[:-1] + "h"
    includes = INCLUDE.findall(text)
    for kind, header in includes:
        target = header.split("/")[0]
        if kind == "<":
            for pattern, home in LIBRARIES.items():
                if re.fullmatch(pattern, header):
                    if name not in home.split():
                        problems.append(f"{name}: <{header}> belongs in {home}")
                    break
        elif header == "ccproxy_version.h":
            if layer != "proc":
                problems.append(f"{name}: the version is proc's")
        elif header == "dashboard_files.h":
            if name != "proxy/dashboard.c":
                problems.append(f"{name}: the dashboard's files are proxy/dashboard.c's")
        elif target not in MAY_INCLUDE:
            problems.append(f'{name}: "{header}" is not layer/file.h')
        elif target != layer and target not in MAY_INCLUDE[layer].split():
            problems.append(f"{name}: {layer} may not include {header}")
    return own, includes


def check_calls(name, text, problems):
    code = NOISE.sub(lambda m: "\n" * m.group().count("\n") or " ", text)
    code = re.sub(r"^\s*#pragma.*$", "", code, flags=re.M)
    for pattern, homes in BANNED.items():
        if name in homes:
            continue
        for m in re.finditer(r"(?<![\w.>])(%s)\s*\(" % pattern, code):
            line = code.count("\n", 0, m.start(1)) + 1
            problems.append(f"{name}:{line}: {m.group(1)}() is banned")


def check_cycles(graph, problems):
    done, path = set(), []

    def visit(node):
        if node in path:
            problems.append("headers in a circle: " + " -> ".join(path[path.index(node):] + [node]))
        if node in path or node in done:
            return
        path.append(node)
        for target in graph.get(node, ()):
            visit(target)
        done.add(path.pop())

    for node in sorted(graph):
        visit(node)


def main():
    top = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    src = top / "src"
    problems, graph = [], {}
    files = sorted(p for p in src.rglob("*") if p.suffix in (".c", ".h", ".def"))
    listed = (top / "meson.build").read_text()
    for path in files:
        name = path.relative_to(src).as_posix()
        text = path.read_text()
        if name.split("/")[0] not in MAY_INCLUDE:
            problems.append(f"{name}: no such layer")
            continue
        own, includes = check_includes(name, text, problems)
        check_calls(name, text, problems)
        if path.suffix == ".h":
            graph[name] = [h for kind, h in includes if kind == '"']
            if "#pragma once" not in text and "#ifndef CCPROXY_" not in text:
                problems.append(f"{name}: no include guard")
        if path.suffix == ".c":
            first = includes[0][1] if includes else ""
            if (src / own).exists() and first != own and not first.endswith("_int.h"):
                problems.append(f"{name}: its own header must be included first")
            if f"'src/{name}'" not in listed:
                problems.append(f"{name}: not in meson.build")
    check_cycles(graph, problems)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
