#!/usr/bin/env python3
"""Compares the tables of docs/format.md with what the reader knows. Usage: check_document.py docs/format.md

Prints every difference and exits with 1 if there is one.
"""

import re
import sys

from format_numbers import CONTEXTS, ENUMS, LONGEST, MAPS, MAX_DEPTH, MAX_LINEAGE_LEVEL, MAX_SAMPLES

# Section of the document whose table of keys describes a map.
SECTIONS = {
    "Config": "config",
    "Key slots": "key bundle",
    "Packs": "trailer",
    "Index": "index",
    "Trees": "node",
    "Manifests": "manifest",
    "Events": "event",
    "Lineage records": "lineage record",
    "Leases": "lease",
}

# Limits, in the words of the document.
LIMITS = [
    f"copy of its base, and {MAX_DEPTH} at most",
    f"(levels 1 to {MAX_LINEAGE_LEVEL})",
    f"that makes {MAX_SAMPLES} at most",
]


def tables(text):
    """(section, cells of the heading, rows) of every table."""
    section, heading, rows = None, None, []
    for line in [*text.splitlines(), ""]:
        if match := re.fullmatch(r"## \d+\. (.*)", line):
            section = match[1]
        if not line.startswith("|"):
            if heading:
                yield section, heading, rows
            heading, rows = None, []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if heading is None:
            heading = cells
        elif not re.fullmatch(r"[-:\s|]+", line):
            rows.append(cells)


def name_of(cell):
    """The name alone, without what explains it."""
    return re.split(r"[(:,]", cell)[0].strip()


def read(text):
    """Numbers and map keys that the document tells."""
    numbers, maps = {}, {}
    for section, heading, rows in tables(text):
        if len(heading) > 1 and heading[1] == "number":
            numbers[heading[0]] = {name_of(row[0]): int(row[1]) for row in rows}
        elif heading[0] == "key":
            named = re.fullmatch("value of the (.*)", heading[1])
            fields = maps.setdefault(named[1] if named else SECTIONS.get(section, section), {})
            for row in rows:
                always = re.search(r"\(always\b", row[1]) is not None
                fields.update({int(key): (always, row[1].startswith("reserved")) for key in row[0].split(",")})
    return numbers, maps


def compare(what, document, reader):
    for key in sorted(document.keys() | reader.keys(), key=str):
        if document.get(key) != reader.get(key):
            yield f"{what}, {key}: document {document.get(key)}, reader {reader.get(key)}"


def differences(text):
    numbers, maps = read(text)
    yield from (f"table `{title}` is missing" for title in ENUMS.keys() - numbers.keys())
    for title, table in numbers.items():
        yield from compare(title, table, ENUMS.get(title, {}))
    for title in MAPS.keys() | maps.keys():
        known = {key: (kind.endswith("!"), kind == "reserved") for key, (_, kind) in MAPS.get(title, {}).items()}
        yield from compare(f"keys of {title} (always, reserved)", maps.get(title, {}), known)
    flat = " ".join(text.split())
    yield from (f"context `{context}` is missing" for context in CONTEXTS if f'"{context}"' not in flat)
    yield from (f"limit `{limit}` is missing" for limit in LIMITS if limit not in flat)
    for kind, longest in LONGEST.items():
        size = f"{longest >> 20} MiB" if longest >= 1 << 20 else f"{longest >> 10} KiB"
        if f"{kind} {size}" not in flat:
            yield f"longest {kind}, {size}, is missing"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        found = list(differences(file.read()))
    print("\n".join(found) or "document and reader agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
