#!/usr/bin/env python3
"""The engine against the independent reader: what the one stored, the other must read, hash and restore.

Usage: check_engine.py PROGRAM, where PROGRAM is the example `sample_repository`. The truth is read from the source by
this script, before each snapshot.
"""

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile

from sample_databases import SIDECARS, Chats, Large, Many, merged

HERE = os.path.dirname(os.path.abspath(__file__))
READER = [sys.executable, os.path.join(HERE, "chatvault_reader.py")]
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def read_tree(folder, path=b"", found=None, groups=None):
    """Path below the open folder -> row; goes by descriptor, so that paths may be of any length."""
    found = {} if found is None else found
    groups = {} if groups is None else groups
    for name in sorted(os.fsencode(name) for name in os.listdir(folder)):
        below = path + b"/" + name
        data = os.stat(name, dir_fd=folder, follow_symlinks=False)
        kind = KINDS[stat.S_IFMT(data.st_mode)]
        row = {
            "kind": kind,
            "size": data.st_size if kind == "file" else 0,
            "sha256": None,
            "mode": stat.S_IMODE(data.st_mode),
            "mtime_ns": data.st_mtime_ns,
            "target": None,
            "first_name": None,
        }
        if kind == "file":
            with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as file:
                row["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            groups.setdefault((data.st_dev, data.st_ino), []).append(below)
        elif kind == "symlink":
            row["target"] = os.fsencode(os.readlink(name, dir_fd=folder))
        found[below] = row
        if kind == "dir":
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            read_tree(inner, below, found, groups)
            os.close(inner)
    if path == b"":
        name_groups(found, groups)
    return found


def name_groups(found, groups):
    for names in groups.values():
        if len(names) > 1:
            for name in names:
                found[name]["first_name"] = min(names)


def databases_as_stored(folder, truth):
    """Puts what must be stored of databases into what lies there; the states and sidecars of all databases."""
    found = {}
    for path in [path for path in truth if path.endswith(b".db")]:
        beside = [suffix for suffix in SIDECARS if path + suffix in truth]
        image = merged(folder + path)
        times = [truth[path]["mtime_ns"]] + [truth[path + suffix]["mtime_ns"] for suffix in beside if suffix == b"-wal"]
        truth[path] |= {"size": len(image), "sha256": hashlib.sha256(image).hexdigest(), "mtime_ns": max(times)}
        if path == b"/damaged.db":
            kept = truth[path + b"-wal"] | {name: truth[path][name] for name in ("mode", "mtime_ns")}
            truth[path + b"-wal.damaged"] = kept
        for suffix in beside:
            del truth[path + suffix]
        name = os.path.basename(path)
        found[path] = ("captured" if beside else "quiescent", [name + suffix for suffix in beside])
    return found


def read_folder(path):
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return read_tree(folder)
    finally:
        os.close(folder)


def rows_of(output, root):
    """The reader's lines in the form of `read_tree`, for what lies below `root`."""
    found, groups = {}, {}
    for line in output.splitlines():
        row = json.loads(line)
        path = base64.b64decode(row.pop("path"))
        if not path.startswith(root + b"/"):
            assert root.startswith(path), path
            continue
        row["target"] = None if row["target"] is None else base64.b64decode(row["target"])
        for name in ("content", "hash", "database"):
            del row[name]
        group = row.pop("hard_link")
        found[path[len(root) :]] = row | {"first_name": None}
        if group is not None:
            groups.setdefault(group, []).append(path[len(root) :])
    name_groups(found, groups)
    return found


def compare(truth, found, what):
    wrong = [path for path in sorted(truth.keys() | found.keys()) if truth.get(path) != found.get(path)]
    for path in wrong[:10]:
        print(f"{what}: {path[:200]!r}\n  was  {truth.get(path)}\n  is   {found.get(path)}")
    if wrong:
        sys.exit(f"{what}: {len(wrong)} of {len(truth)} entries differ")
    print(f"{what}: {len(truth)} entries are the same")


def main():
    program, work = sys.argv[1], os.path.realpath(tempfile.mkdtemp())
    source, truths, databases = os.path.join(work, "source"), {}, {}
    try:
        subprocess.run([program, "tree", work], check=True)
        for state in range(2):
            if state:
                with open(os.path.join(source, "contents", "chat.txt"), "ab") as file:
                    file.write(b"one more line\n")
                os.remove(os.path.join(source, "contents", "photo.jpg"))
            truths[snapshot(program, work, "source")] = (source, read_folder(source))
        for secret in ("--password-file", "--recovery-key-file"):
            file = os.path.join(work, secret[2:].removesuffix("-file"))
            for further in ([], ["--without-index"]):
                check(truths, work, [secret, file, *further])
        second, key_file = os.path.join(work, "second-password"), os.path.join(work, "key-file")
        check(truths, work, ["--password-file", second, "--key-file", key_file])
        alone = [*READER, os.path.join(work, "repository"), "--password-file", second, "list"]
        refused = subprocess.run(alone, capture_output=True)
        assert refused.returncode == 12, refused
        check_databases(program, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def snapshot(program, work, name):
    output = subprocess.run([program, "snapshot", work, name], check=True, capture_output=True, text=True)
    return output.stdout.strip()


def check(truths, work, options):
    out = os.path.join(work, "out")
    reader = [*READER, os.path.join(work, "repository"), *options]
    listed = json.loads(subprocess.run([*reader, "list"], check=True, capture_output=True).stdout)
    assert sorted(row["id"] for row in listed) == sorted(truths), listed
    for id, (source, truth) in truths.items():
        hashes = subprocess.run([*reader, "hashes", id], check=True, capture_output=True, text=True).stdout
        compare(truth, rows_of(hashes, os.fsencode(source)), f"hashes {' '.join(options[::2])} {id[:8]}")
    subprocess.run([*reader, "restore", "--all", out], check=True, stderr=subprocess.DEVNULL)
    for id, (source, truth) in truths.items():
        plain = {path: row for path, row in truth.items() if row["kind"] not in ("fifo", "socket")}
        restored = read_folder(os.fsencode(os.path.join(out, id)) + os.fsencode(source))
        compare(plain, restored, f"restore {' '.join(options[::2])} {id[:8]}")
    shutil.rmtree(out)


def check_databases(program, work):
    """Databases of several generations: contents, records, and that they were really stored as deltas."""
    shutil.rmtree(os.path.join(work, "repository"))
    truths, taken = {}, {}
    for series in (Chats(work), Large(work), Many(work)):
        for _ in range(series.STATES):
            series.next()
            truth = read_folder(series.folder)
            wanted = databases_as_stored(os.fsencode(series.folder), truth)
            id = snapshot(program, work, series.name)
            truths[id] = (series.folder, truth)
            taken.setdefault(series.name, []).append((id, wanted))
    secret = ["--password-file", os.path.join(work, "password")]
    check(truths, work, secret)
    check(truths, work, [*secret, "--without-index"])
    reader = [*READER, os.path.join(work, "repository"), *secret]
    records = {}
    for name, states in taken.items():
        folder = os.fsencode(os.path.join(work, name))
        records[name] = [records_of(reader, id, folder, wanted) for id, wanted in states]
    check_chains(records)


def records_of(reader, id, folder, wanted):
    """The records of a snapshot, by path below the folder, and the places of their pages, compared with its nodes."""

    def lines(command):
        output = subprocess.run([*reader, command, id], check=True, capture_output=True, text=True).stdout
        return [json.loads(line) for line in output.splitlines()]

    *rows, last = lines("databases")
    records = {base64.b64decode(row["path"]).removeprefix(folder): row for row in rows}
    nodes = {base64.b64decode(row["path"]).removeprefix(folder): row for row in lines("hashes")}
    assert records.keys() == wanted.keys() == {path for path, node in nodes.items() if node["database"]}, (id, records)
    for path, record in records.items():
        node, (state, sidecars) = nodes[path], wanted[path]
        database = node["database"]
        assert (database["state"], [base64.b64decode(name) for name in database["sidecars"]]) == (state, sidecars), node
        for field in ("size", "content", "hash"):
            assert record[field] == node[field], (path, field)
        assert record["page_size"] == database["page_size"] == 4096
        assert record["check"] == "quick", record
        runs = -(-record["size"] // last["run"])
        assert len(record["runs"]) == runs
        step = next(1 << n for n in range(64) if runs <= 32 << n)
        assert record["samples"] == list(range(0, runs, step)), record["samples"]
    return records, last["lineage_pages"]


def digits(number):
    """The sum of the digits in base 16: how deep a chain of this generation, below 128, is."""
    return sum(int(digit, 16) for digit in f"{number:x}")


def check_chains(records):
    """Fails unless the sample had what it is there for."""
    lines = {records_of_state[b"/daily.db"]["line"] for records_of_state, _ in records["chats"]}
    assert len(lines) == 1, lines
    for state, (daily, pages) in enumerate(records["chats"]):
        # The first run has the header, which every commit changes, and with it the list.
        record = daily[b"/daily.db"]
        assert record["runs"][0] == record["pages"][0] == pages[0] == [digits(state), state], (state, record)
        others = {line for path, line in ((path, row["line"]) for path, row in daily.items()) if b"daily" not in path}
        assert len(others) == 3 and not others & lines
        if state >= 4:
            assert daily[b"/daily 1.db"]["line"] in lines
            assert daily[b"/daily 1.db"]["content"] == records["chats"][4][0][b"/daily.db"]["content"]
    for state, (large, _) in enumerate(records["large"]):
        # Two pages under one: the first of the two has the first run.
        top, *leaves = large[b"/large.db"]["pages"]
        assert len(leaves) == 2 and top == [0, 0] and leaves[0] == [state, state], (state, top, leaves)
        assert large[b"/large.db"]["runs"][0] == [state, state]
    for _, pages in records["many"]:
        assert len(pages) == 3, pages
    assert max(generation for _, generation in records["many"][1][1]) == 1
    rows = [row for states in records.values() for databases, _ in states for row in databases.values()]
    runs = [run for row in rows for run in row["runs"]]
    print(f"databases: {sum(depth > 0 for depth, _ in runs)} of {len(runs)} runs are deltas, up to {max(runs)}")


if __name__ == "__main__":
    main()
