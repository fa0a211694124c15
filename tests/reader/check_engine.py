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
    source, truths = os.path.join(work, "source"), {}
    try:
        subprocess.run([program, "tree", work], check=True)
        for state in range(2):
            if state:
                with open(os.path.join(source, "contents", "chat.txt"), "ab") as file:
                    file.write(b"one more line\n")
                os.remove(os.path.join(source, "contents", "photo.jpg"))
            truth = read_folder(source)
            output = subprocess.run([program, "snapshot", work], check=True, capture_output=True, text=True)
            truths[output.stdout.strip()] = truth
        for secret in ("--password-file", "--recovery-key-file"):
            file = os.path.join(work, secret[2:].removesuffix("-file"))
            for further in ([], ["--without-index"]):
                check(truths, work, [secret, file, *further])
        second, key_file = os.path.join(work, "second-password"), os.path.join(work, "key-file")
        check(truths, work, ["--password-file", second, "--key-file", key_file])
        alone = [*READER, os.path.join(work, "repository"), "--password-file", second, "list"]
        refused = subprocess.run(alone, capture_output=True)
        assert refused.returncode == 12, refused
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check(truths, work, options):
    source, out = os.fsencode(os.path.join(work, "source")), os.path.join(work, "out")
    reader = [*READER, os.path.join(work, "repository"), *options]
    listed = json.loads(subprocess.run([*reader, "list"], check=True, capture_output=True).stdout)
    assert sorted(row["id"] for row in listed) == sorted(truths), listed
    for id, truth in truths.items():
        hashes = subprocess.run([*reader, "hashes", id], check=True, capture_output=True, text=True).stdout
        compare(truth, rows_of(hashes, source), f"hashes {' '.join(options[::2])} {id[:8]}")
    subprocess.run([*reader, "restore", "--all", out], check=True, stderr=subprocess.DEVNULL)
    for id, truth in truths.items():
        plain = {path: row for path, row in truth.items() if row["kind"] not in ("fifo", "socket")}
        restored = read_folder(os.fsencode(os.path.join(out, id)) + source)
        compare(plain, restored, f"restore {' '.join(options[::2])} {id[:8]}")
    shutil.rmtree(out)


if __name__ == "__main__":
    main()
