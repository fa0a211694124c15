#!/usr/bin/env python3
"""An independent reader of chatvault repositories: it shares no code with the program, only docs/format.md.

It lists, hashes and restores snapshots, and checks on the way whatever the page lets it check: names of objects,
seals, ids of blobs, hashes of whole contents, sizes and orders. It writes nothing but what it restores.

Usage: chatvault_reader.py REPO (--password-file F [--key-file F] | --recovery-key-file F) [--without-index] COMMAND
  list                        snapshots as a JSON array, oldest first
  hashes SNAPSHOT             one JSON line for each entry; nothing is written
  databases SNAPSHOT          one JSON line for each lineage record, with depth and generation of each of its blobs,
                              and one for the pages that hold the records, with the length of a run
  restore SNAPSHOT|--all OUT  into OUT/<id>/<stored path>; owners, extended attributes and special files are left out,
                              files lose set-uid and set-gid
Exit codes: 0 done, 1 failed or damaged, 2 wrong usage, 12 wrong password or key.
"""

import argparse
import base64
import datetime
import hashlib
import json
import os
import re
import sys

import cbor
from format_numbers import ENUMS, MAX_KEY_FILE
from repository import Repository
from stored import (
    FILE,
    PIECE,
    SYMLINK,
    Credential,
    Damaged,
    WrongKey,
    need,
    parse_recovery_key,
    read_file,
    warn,
    zeros,
)


def nanoseconds(time):
    return None if time is None else time[0] * 10**9 + time[1]


def command_list(repository):
    def text_of(time):
        try:
            whole = datetime.datetime.fromtimestamp(time[0], datetime.UTC)
        except (ValueError, OverflowError, OSError):
            return None
        return f"{whole:%Y-%m-%dT%H:%M:%S}.{time[1]:09d}Z"

    rows = [
        {
            "id": id.hex(),
            "time": text_of(m.time),
            "time_ns": nanoseconds(m.time),
            "paths": [os.fsdecode(path) for path in m.paths],
            "host": m.host,
            "tags": m.tags,
            "parent": m.parent.hex() if m.parent else None,
            "description": m.description,
        }
        for id, m in repository.snapshots.items()
    ]
    print(json.dumps(rows, indent=1))


def text_of(data):
    return None if data is None else base64.b64encode(data).decode()


def hex_of(data):
    return None if data is None else data.hex()


def database_of(node):
    if node.database is None:
        return None
    states = {number: name for name, number in ENUMS["database state"].items()}
    state, page_size, sidecars = node.database
    return {"state": states[state], "page_size": page_size, "sidecars": [text_of(name) for name in sidecars]}


def command_databases(repository, manifest):
    checks = {number: name for name, number in ENUMS["check"].items()}
    records, pages = repository.lineage(manifest.lineage)
    for record in records:
        runs = repository.check_samples(record)
        row = {
            "path": text_of(record.path),
            "line": record.line.hex(),
            "page_size": record.page_size,
            "size": record.size,
            "content": hex_of(record.blob or record.list),
            "hash": hex_of(record.hash),
            "check": checks.get(record.check, "not checked"),
            "samples": [run for run, _ in record.samples],
            "runs": [repository.place("data", run) for run in runs if run],
            "pages": [repository.place("list page", name) for name in repository.list_pages(record.list)]
            if record.list
            else [],
        }
        print(json.dumps(row))
    print(json.dumps({"run": repository.run, "lineage_pages": [repository.place("list page", name) for name in pages]}))


def command_hashes(repository, manifest):
    kinds = {number: name for name, number in ENUMS["node kind"].items()}
    for event, names, node in repository.walk(manifest.root):
        if event == "leave":
            continue
        digest = hashlib.sha256()
        for piece in repository.content(node):
            for part in zeros(piece) if type(piece) is int else (piece,):
                digest.update(part)
        row = {
            "path": text_of(b"/" + b"/".join(names)),
            "kind": kinds[node.kind],
            "size": node.size,
            "sha256": digest.hexdigest() if node.kind == FILE else None,
            "mode": node.mode,
            "mtime_ns": nanoseconds(node.mtime),
            "target": text_of(node.target),
            "hard_link": node.hard_link,
            "content": hex_of(node.blob or node.list),
            "hash": hex_of(node.hash),
            "database": database_of(node),
        }
        print(json.dumps(row))


class Restore:
    """Writes one snapshot below a new folder. Every step is relative to an open folder: paths may be of any length."""

    def __init__(self, repository, root, out):
        self.repository, self.root, self.groups = repository, root, {}
        os.mkdir(out, 0o700)
        self.top = os.open(out, os.O_RDONLY | os.O_DIRECTORY)

    def run(self):
        """Everything first, with folders that may be written to; then the folders' own mode and time."""
        self.pass_over(self.make_folder, self.make_entry, lambda *_: None)
        self.pass_over(lambda *_: None, lambda *_: None, self.finish_folder)
        os.close(self.top)

    def pass_over(self, on_enter, on_entry, on_leave):
        here = os.dup(self.top)
        try:
            for event, names, node in self.repository.walk(self.root):
                if event == "entry":
                    on_entry(here, names, node)
                    continue
                if event == "enter":
                    on_enter(here, names, node)
                there = open_folder(here, node.name if event == "enter" else b"..")
                if event == "leave":
                    on_leave(here, names, node)
                os.close(here)
                here = there
        finally:
            os.close(here)

    def make_folder(self, here, _names, node):
        os.mkdir(node.name, 0o700, dir_fd=here)

    def finish_folder(self, here, _names, node):
        os.fchmod(here, node.mode)
        set_time(here, node)

    def make_entry(self, here, names, node):
        if node.kind == SYMLINK:
            os.symlink(node.target, node.name, dir_fd=here)
            set_time(node.name, node, dir_fd=here, follow_symlinks=False)
        elif node.kind != FILE:
            warn(f"{b'/' + b'/'.join(names)!r} is special and left out")
        elif node.hard_link in self.groups:
            first, content = self.groups[node.hard_link]
            need(content == (node.size, node.blob, node.list), f"hard link {node.name!r} has another content")
            self.link(first, node.name, here)
        else:
            if node.hard_link is not None:
                self.groups[node.hard_link] = (tuple(names), (node.size, node.blob, node.list))
            self.make_file(here, node)

    def make_file(self, here, node):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(node.name, flags, 0o600, dir_fd=here), "wb", buffering=0) as file:
            at = 0
            for piece in self.repository.content(node):
                if type(piece) is int:
                    at += piece
                    continue
                rest = memoryview(piece)
                while rest:
                    written = os.pwrite(file.fileno(), rest, at)
                    at, rest = at + written, rest[written:]
            os.ftruncate(file.fileno(), node.size)
            os.fchmod(file.fileno(), node.mode & 0o1777)
            set_time(file.fileno(), node)

    def link(self, first, name, here):
        folder = os.dup(self.top)
        for part in first[:-1]:
            deeper = open_folder(folder, part)
            os.close(folder)
            folder = deeper
        os.link(first[-1], name, src_dir_fd=folder, dst_dir_fd=here, follow_symlinks=False)
        os.close(folder)


def open_folder(here, name):
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)


def set_time(what, node, **where):
    if node.mtime is not None:
        try:
            os.utime(what, ns=(nanoseconds(node.mtime),) * 2, **where)
        except OverflowError:
            warn(f"the time of {node.name!r} is out of range here")


def command_restore(repository, chosen, out):
    os.makedirs(out, exist_ok=True)
    for id, manifest in chosen.items():
        Restore(repository, manifest.root, os.path.join(out, id.hex())).run()


def choose(repository, prefix):
    found = {id: m for id, m in repository.snapshots.items() if id.hex().startswith(prefix)}
    need(len(found) == 1 and prefix, f"{len(found)} snapshots begin with {prefix!r}")
    return found


def arguments():
    parser = argparse.ArgumentParser(description="Independent reader of chatvault repositories.")
    parser.add_argument("repository")
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--password-file", help="its first line is the password")
    secret.add_argument("--recovery-key-file")
    parser.add_argument("--key-file", help="second factor beside the password")
    parser.add_argument("--without-index", action="store_true", help="read the trailers of the packs instead of index/")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    commands.add_parser("hashes").add_argument("snapshot")
    commands.add_parser("databases").add_argument("snapshot")
    restore = commands.add_parser("restore")
    restore.add_argument("--all", action="store_true")
    restore.add_argument("target", nargs="+", metavar="[SNAPSHOT] OUT")
    options = parser.parse_args()
    if options.key_file and not options.password_file:
        parser.error("a key file goes with a password")
    if options.command == "restore" and len(options.target) != (1 if options.all else 2):
        parser.error("restore takes SNAPSHOT OUT, or --all OUT")
    return options


def run(options):
    if options.recovery_key_file:
        text = read_file(options.recovery_key_file, 4096).decode("utf-8", "replace")
        credential = Credential(recovery_key=parse_recovery_key(text))
    else:
        password = re.sub(rb"\r?\n.*\Z", b"", read_file(options.password_file, PIECE), flags=re.DOTALL)
        key_file = read_file(options.key_file, MAX_KEY_FILE) if options.key_file else None
        need(key_file != b"", "the key file is empty")
        credential = Credential(password, key_file)
    repository = Repository(options.repository, credential, options.without_index)
    if options.command == "list":
        command_list(repository)
    elif options.command in ("hashes", "databases"):
        command = command_hashes if options.command == "hashes" else command_databases
        command(repository, *choose(repository, options.snapshot).values())
    else:
        chosen = repository.snapshots if options.all else choose(repository, options.target[0])
        command_restore(repository, chosen, options.target[-1])


def main():
    try:
        run(arguments())
    except WrongKey as error:
        warn(error)
        return 12
    except (Damaged, cbor.CborError, OSError) as error:
        warn(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
