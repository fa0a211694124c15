#!/usr/bin/env python3
"""Tests of the reader. Run: python selftest.py"""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from blake3 import blake3

import cbor
import chatvault_reader
import check_document
import mini_writer
import stored
from mini_writer import Writer, encode, print_recovery_key
from repository import Repository
from stored import Credential, Damaged, NewerFormat, WrongKey, read_file

HERE = os.path.dirname(os.path.abspath(__file__))
DOCUMENT = os.path.join(HERE, "..", "..", "docs", "format.md")
RECOVERY = bytes(range(32))
OLD = b"".join(b"line %d of a text\n" % n for n in range(4000))[:65536]
NEW = OLD[:30000] + os.urandom(40) + OLD[30040:]
NOISE = os.urandom(5000)
LONG = b"n" * 200


def node(name, kind, **fields):
    """An encoded node; fields by key, as k8=."""
    return {0: name, 1: kind, 2: 0o640, 3: 0, 4: 0, 7: [1_600_000_000, 123_456_789]} | {
        int(key[1:]): value for key, value in fields.items() if value is not None
    }


def page(*nodes):
    return encode([0, list(nodes)])


def build(root, algorithm=1, mirror=True, deep=0):
    """A repository with two snapshots; returns its writer and the ids of the snapshots."""
    w, snapshot = Writer(root, algorithm, mirror), None
    w.config()
    w.recovery_slot(RECOVERY)
    for old in (True, False):
        run = OLD if old else NEW
        data = [("data", OLD, "zstd"), ("data", NOISE)] + ([] if old else [("data", NEW, OLD, 1)])
        ids = w.pack(data, padding=0 if old else 77)
        run_id = ids[0] if old else ids[2]
        whole = run + bytes(3_000_000) + NOISE + run
        leaf = encode([0, 65536, [run_id, 3_000_000, [ids[1], len(NOISE)]]])
        tail = encode([0, 65536, [run_id]])
        leaf_id, tail_id = w.blob_id("list page", leaf), w.blob_id("list page", tail)
        top = encode([1, 0, [[leaf_id, len(whole) - 65536], [tail_id, 65536]]])
        listing = {"k8": len(whole), "k9": 1, "k11": w.blob_id("list page", top), "k12": w.blob_id("data", whole)}
        noise = {"k8": len(NOISE), "k10": ids[1]}
        below = page(node(b"database", 0, k14=1, **listing), node(b"twin", 0, k14=2, **noise))
        pages = [("list page", leaf, "zstd"), ("list page", tail), ("list page", top), ("tree page", below)]
        for _ in range(deep):
            pages.append(("tree page", page(node(LONG, 1, k17=w.blob_id("tree page", pages[-1][1])))))
        first = page(
            node(b"below", 1, k17=w.blob_id("tree page", pages[-1][1])),
            node(b"empty", 0, k2=0o4755),
            node(b"link", 2, k13=b"../\xff\xfe", k2=0o777),
        )
        second = page(
            node(b"pipe", 3),
            node(b"twice \xff", 0, k14=2, **noise),
            node(b"twin", 0, k14=1, **listing),
        )
        inner = encode([1, [[b"below", w.blob_id("tree page", first)], [b"pipe", w.blob_id("tree page", second)]]])
        source = node(b"s", 1, k2=0o750, k17=w.blob_id("tree page", inner))
        slash = page({key: value for key, value in source.items() if key != 7})
        pages += [("tree page", part) for part in (first, second, inner, slash)]
        root_id = w.pack(pages, pack_class=2)[-1]
        w.index()
        snapshot = w.manifest(root_id, seconds=100 if old else 50, **({} if old else {"k12": snapshot, "k16": ["a"]}))
        w.event(1, {6: snapshot, 7: ["b"], 8: ["a"]})
        w.event(2, {6: snapshot, 9: "words"})
    return w


def open_repository(root, **options):
    with redirect_stderr(io.StringIO()):
        return Repository(root, Credential(recovery_key=RECOVERY), **options)


def everything(repository):
    """Reads all there is."""
    out = io.StringIO()
    with redirect_stdout(out):
        for manifest in repository.snapshots.values():
            chatvault_reader.command_hashes(repository, manifest)
    return [json.loads(line) for line in out.getvalue().splitlines()]


class InFolder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="reader-")
        self.root, self.out = os.path.join(self.folder, "repository"), os.path.join(self.folder, "out")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)


class CborTest(unittest.TestCase):
    def test_what_the_writer_encodes_reads_back(self):
        numbers = [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -1, -24, -25, -(2**63)]
        value = {0: numbers, 5: b"x" * 300, 24: "é" * 20, 99: [True, False, {}, []]}
        self.assertEqual(cbor.decode(encode(value)), value)

    def test_other_forms_are_refused(self):
        bad = [
            "",
            "1817",  # 23 in two bytes
            "1900ff",
            "1a0000ffff",
            "1b00000000ffffffff",
            "3817",
            "5801" + "00",  # a length in two bytes
            "9801" + "00",
            "5f4100ff",  # indefinite
            "7f6161ff",
            "9f00ff",
            "bf0000ff",
            "a201000000",  # keys descend
            "a200000000",  # a key twice
            "a12000",  # a negative key
            "a1616100",
            "c100",  # tag
            "f6",
            "f7",
            "f97e00",
            "f800",
            "f815",
            "1c",
            "61ff",  # no UTF-8
            "0000",  # bytes behind
            "82" + "00",  # too short
            "5bffffffffffffffff",
            "9bffffffffffffffff",
            "bbffffffffffffffff",
            "81" * 17 + "80",  # too deep
        ]
        for text in bad:
            with self.assertRaises(cbor.CborError, msg=text):
                cbor.decode(bytes.fromhex(text))

    def test_every_truncation_is_refused(self):
        data = encode({0: [1, b"bytes", "text", 70000], 1: {3: -5}})
        for length in range(len(data)):
            with self.assertRaises(cbor.CborError):
                cbor.decode(data[:length])


class RecoveryKeyTest(unittest.TestCase):
    def test_the_printed_form_reads_back_in_any_dress(self):
        text = print_recovery_key(RECOVERY)
        self.assertEqual(len(text), 4 + 68 + 16)
        for form in (text, text.upper() + "\n", " " + text.replace("-", " - ").replace("cv1 - ", "cv1-")):
            self.assertEqual(stored.parse_recovery_key(form), RECOVERY)

    def test_every_mistyped_digit_is_refused(self):
        text = print_recovery_key(RECOVERY)
        for at in (at for at in range(4, len(text)) if text[at] != "-"):
            wrong = text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :]
            self.assertRaises(WrongKey, stored.parse_recovery_key, wrong)

    def test_other_texts_are_refused(self):
        text = print_recovery_key(RECOVERY)
        for wrong in ("", "0" * 64, text[4:], text[:-1], text + "0", text[:-1] + "g", text.replace("cv1", "cv2")):
            self.assertRaises(WrongKey, stored.parse_recovery_key, wrong)


class ZstdTest(unittest.TestCase):
    def test_a_delta_needs_its_base(self):
        frame = mini_writer.pack_frame(NEW, [OLD, 1])[3]
        self.assertLess(len(frame), 500)
        self.assertEqual(stored.decompress(frame, len(NEW), OLD), NEW)
        self.assertRaises(Damaged, stored.decompress, frame, len(NEW), None)

    def test_other_forms_of_frames_are_refused(self):
        import zstandard

        good = mini_writer.pack_frame(OLD, ["zstd"])[3]
        summed = zstandard.ZstdCompressor(write_checksum=True).compress(OLD)
        unsized = zstandard.ZstdCompressor(write_checksum=False, write_content_size=False).compress(OLD)
        skipped = bytes.fromhex("502a4d180100000000") + good
        self.assertEqual(stored.decompress(good, len(OLD), None), OLD)
        for bad in (summed, unsized, skipped, good + b"\0", good + good, good[:-1], b"", b"\0" * 20):
            self.assertRaises(Damaged, stored.decompress, bad, len(OLD), None)
        for length in (0, len(OLD) - 1, len(OLD) + 1):
            self.assertRaises(Damaged, stored.decompress, good, length, None)


class DocumentTest(unittest.TestCase):
    def test_document_and_reader_agree(self):
        with open(DOCUMENT, encoding="utf-8") as file:
            self.assertEqual(list(check_document.differences(file.read())), [])

    def test_differences_are_found(self):
        with open(DOCUMENT, encoding="utf-8") as file:
            text = file.read()
        for old, new in (
            ("| zstd delta | 2 |", "| zstd delta | 3 |"),
            ("| verdict | number |", "| sentence | number |"),
            ("| 13 | root page of the tree (always) |", "| 13 | root page of the tree |"),
            ("| 14 | hard-link", "| 24 | hard-link"),
            ("object key: NAME", "object key:"),
            ("manifest 8 MiB", "manifest 9 MiB"),
            ("and 64 at most", "and 65 at most"),
            ("| failed | 3 |", "| failed | 4 |"),
            ("| 1 | line: 16", "| 1, 9 | line: 16"),
        ):
            self.assertIn(old, text)
            self.assertTrue(list(check_document.differences(text.replace(old, new))), old)


class ReadTest(InFolder):
    def expected(self, run):
        import hashlib

        whole = run + bytes(3_000_000) + NOISE + run
        return {name: hashlib.sha256(data).hexdigest() for name, data in (("whole", whole), ("noise", NOISE))}

    def test_both_ciphers_and_both_ways_to_the_packs_give_the_contents(self):
        for algorithm in (1, 2):
            root = self.root + str(algorithm)
            build(root, algorithm)
            rows = everything(open_repository(root))
            self.assertEqual(rows, everything(open_repository(root, without_index=True)))
            paths = [base64.b64decode(row["path"]) for row in rows[: len(rows) // 2]]
            names = [b"below", b"below/database", b"below/twin", b"empty", b"link", b"pipe", b"twice \xff", b"twin"]
            self.assertEqual(paths, [b"/s"] + [b"/s/" + name for name in names])
            # The second snapshot is the older state and comes first.
            for start, run in ((0, NEW), (9, OLD)):
                self.assertEqual(rows[start + 2]["sha256"], self.expected(run)["whole"])
                self.assertEqual(rows[start + 3]["sha256"], self.expected(run)["noise"])
                self.assertEqual(rows[start + 5]["target"], base64.b64encode(b"../\xff\xfe").decode())
                self.assertEqual(rows[start + 2]["mtime_ns"], 1_600_000_000_123_456_789)

    def test_list_folds_events(self):
        w = build(self.root)
        first, second = open_repository(self.root).snapshots.items()
        self.assertEqual([m.tags for _, m in (first, second)], [["b"], ["b"]])
        self.assertEqual(first[1].description, "words")
        forget = {6: first[0], 10: w.writer, 11: 4, 12: b"\x09" * 32}
        w.event(4, forget)
        self.assertEqual(list(open_repository(self.root).snapshots), [second[0]])
        w.event(5, {6: first[0]})
        w.event(99, {})
        self.assertEqual(len(open_repository(self.root).snapshots), 2)
        w.event(4, forget)
        self.assertEqual(len(open_repository(self.root).snapshots), 1)

    def test_a_snapshot_of_the_future_is_hidden_and_a_repository_of_the_future_refused(self):
        w = build(self.root)
        w.manifest(b"\x05" * 32, k22=1 << 40)
        self.assertEqual(len(open_repository(self.root).snapshots), 2)
        w.config(features=2)
        self.assertRaises(NewerFormat, open_repository, self.root)

    def test_runs_of_impossible_lengths_are_refused(self):
        w = build(self.root)
        for run in (0, 32768, 65537, 1 << 21):
            w.config(run=run)
            self.assertRaises(Damaged, open_repository, self.root)
        w.config(run=1 << 20)
        self.assertEqual(open_repository(self.root).run, 1 << 20)

    def test_changes_of_keys_are_events_like_others(self):
        w = build(self.root)
        w.event(6, {13: b"\x08" * 32, 14: [b"\x09" * 32]})
        w.event(6, {14: [b"\x09" * 32]})
        self.assertEqual(len(open_repository(self.root).snapshots), 2)
        w.event(6, {})
        self.assertRaises(Damaged, open_repository, self.root)

    def test_passwords_open_with_and_without_key_file(self):
        w = build(self.root)
        w.password_slot(b"secret")
        w.password_slot(b"secret", b"file")
        with redirect_stderr(io.StringIO()):
            for good in (Credential(b"secret"), Credential(b"secret", b"file")):
                self.assertEqual(len(Repository(self.root, good).snapshots), 2)
            for bad in (Credential(b"Secret"), Credential(b"secret", b""), Credential(recovery_key=bytes(31) + b"1")):
                self.assertRaises(WrongKey, Repository, self.root, bad)

    def test_a_slot_whose_note_is_none_or_was_altered_is_refused(self):
        build(self.root)
        open_repository(self.root)
        keys = [os.path.join(self.root, where, "keys") for where in (".", "mirror")]
        [name] = os.listdir(keys[0])
        data = bytearray(read_file(os.path.join(keys[0], name), 1 << 20))
        data[-1] ^= 1
        for folder in keys:
            os.remove(os.path.join(folder, name))
            with open(os.path.join(folder, blake3(data).hexdigest()), "wb") as file:
                file.write(data)
        self.assertRaises(Damaged, open_repository, self.root)

    def test_derivations_out_of_range_are_refused_before_any_work(self):
        for cost in ((8, 3, 1), (65536, 2, 1), (2**32 - 1, 3, 1), (65536, 17, 1), (65536, 3, 0), (65536, 3, 17)):
            with mock.patch("stored.hash_secret_raw", side_effect=AssertionError):
                self.assertRaises(Damaged, Credential(b"x").slot_key, *cost, bytes(16))

    def test_a_copy_of_least_depth_is_taken_and_a_circle_refused(self):
        w = build(self.root)
        w.packs.clear()
        one, two = os.urandom(1000), os.urandom(1000)
        w.pack([("data", one, two, 1), ("data", two, one, 1)])
        w.index()
        repository = open_repository(self.root)
        self.assertRaises(Damaged, repository.blob, "data", w.blob_id("data", one))
        w.pack([("data", one)])
        w.index()
        repository = open_repository(self.root)
        self.assertEqual(repository.blob("data", w.blob_id("data", one)), one)
        self.assertEqual(repository.blob("data", w.blob_id("data", two)), two)

    def test_the_deepest_copy_is_read_and_a_deeper_one_refused(self):
        for depth in (stored.MAX_DEPTH, stored.MAX_DEPTH + 1):
            root = self.root + str(depth)
            w = build(root)
            w.pack([("data", NEW[::-1], OLD, depth)])
            w.index()
            for without_index in (False, True):
                if depth <= stored.MAX_DEPTH:
                    repository = open_repository(root, without_index=without_index)
                    self.assertEqual(repository.blob("data", w.blob_id("data", NEW[::-1])), NEW[::-1])
                else:
                    self.assertRaises(Damaged, open_repository, root, without_index=without_index)

    def test_chains_of_deltas_come_back_whatever_the_order_of_packs(self):
        w = Writer(self.root)
        w.config()
        w.recovery_slot(RECOVERY)
        versions = [OLD]
        for generation in range(1, 20):
            at = generation * 3000
            versions.append(versions[-1][:at] + os.urandom(30) + versions[-1][at + 30 :])
        for kind in ("data", "list page", "tree page"):
            w.pack([(kind, OLD, "zstd")])
            for generation in range(1, 20):
                base = generation - (8 if generation % 8 == 0 else 1)
                w.pack([(kind, versions[generation], versions[base], sum(divmod(generation, 8)))])
        w.packs.reverse()
        w.index()
        for without_index in (False, True):
            repository = open_repository(self.root, without_index=without_index)
            for kind in ("data", "list page", "tree page"):
                for generation, plain in enumerate(versions):
                    name = w.blob_id(kind, plain)
                    self.assertEqual(repository.place(kind, name)[0], sum(divmod(generation, 8)))
                    self.assertTrue(repository.blob(kind, name) == plain, f"{kind} of generation {generation}")
        # A base has the kind of its delta.
        w.pack([("secret", versions[1], OLD, 1)])
        w.index()
        repository = open_repository(self.root)
        self.assertRaises(Damaged, repository.blob, "secret", w.blob_id("secret", versions[1]))


class LineageTest(InFolder):
    """Records of databases, and the pages that hold them."""

    def writer(self):
        w = Writer(self.root)
        w.config()
        w.recovery_slot(RECOVERY)
        self.list = encode([0, 65536, [w.blob_id("data", OLD), 65536, [w.blob_id("data", NOISE), len(NOISE)]]])
        w.pack([("data", OLD), ("data", NOISE), ("list page", self.list)])
        return w

    def record(self, w, path=b"/s/a", **fields):
        samples = [[0, w.blob_id("data", OLD)[:8]], [2, w.blob_id("data", NOISE)[:8]]]
        whole = w.blob_id("data", OLD + bytes(65536) + NOISE)
        length = 2 * 65536 + len(NOISE)
        record = {0: path, 1: bytes(16), 2: 4096, 3: length, 5: w.blob_id("list page", self.list), 6: samples}
        record |= {7: 1, 8: whole} | {int(key[1:]): value for key, value in fields.items()}
        return {key: value for key, value in record.items() if value is not None}

    def pages(self, w, *pages):
        names = w.pack([("list page", page) for page in pages])
        w.index()
        return open_repository(self.root), names

    def test_records_come_back_from_one_page_and_from_pages_of_pages(self):
        w = self.writer()
        small = self.record(w, b"/s/a-b", k3=len(NOISE), k4=w.blob_id("data", NOISE), k5=None, k6=None, k8=None)
        empty = self.record(w, b"/s/c", k3=0, k5=None, k6=None, k7=99, k8=None)
        leaves = [encode([0, [self.record(w), self.record(w, b"/s/a/b")]]), encode([0, [small, empty]])]
        tops = [encode([1, [w.blob_id("list page", leaf)]]) for leaf in leaves]
        root = encode([2, [w.blob_id("list page", top) for top in tops]])
        repository, names = self.pages(w, *leaves, *tops, root)
        records, pages = repository.lineage(names[-1])
        self.assertEqual([record.path for record in records], [b"/s/a", b"/s/a/b", b"/s/a-b", b"/s/c"])
        self.assertEqual(pages, [names[4], names[2], names[0], names[3], names[1]])
        self.assertEqual([len(repository.check_samples(record)) for record in records], [3, 3, 1, 0])
        self.assertEqual([len(repository.lineage(name)[0]) for name in names[:2]], [2, 2])
        self.assertEqual(repository.lineage(None), ([], []))

    def test_records_and_pages_against_the_rules_are_refused(self):
        w = self.writer()
        good = encode([0, [self.record(w)]])
        name = w.blob_id("list page", good)
        deep = [encode([1, [name]])]
        for level in (2, 3, 4):
            deep.append(encode([level, [w.blob_id("list page", deep[-1])]]))
        run = w.blob_id("data", OLD)[:8]
        bad = [
            encode([2, [name]]),
            encode([1, [w.blob_id("list page", deep[0])]]),
            deep[-1],
            encode([1, [b"short"]]),
            encode([1, [[name, 5]]]),
            encode([0]),
            encode([0, 0, []]),
            encode([0, [self.record(w, b"/b"), self.record(w, b"/a")]]),
            encode([0, [self.record(w, b"/a"), self.record(w, b"/a")]]),
            encode([0, [self.record(w, b"/a-b"), self.record(w, b"/a/b")]]),
            *(encode([0, [self.record(w, path)]]) for path in (b"", b"a", b"/a/", b"//a", b"/a/..", b"/./a", b"/a\0")),
            *(encode([0, [self.record(w, **{key: None})]]) for key in ("k0", "k1", "k3", "k5", "k8")),
            encode([0, [self.record(w, k1=bytes(15))]]),
            encode([0, [self.record(w, k4=w.blob_id("data", NOISE))]]),
            encode([0, [self.record(w, k6=[[n, run] for n in range(33)])]]),
            encode([0, [self.record(w, k6=[[2, run], [0, run]])]]),
            encode([0, [self.record(w, k6=[[0, run[:7]]])]]),
            encode([0, [self.record(w, k6=[[2**32, run]])]]),
        ]
        repository, names = self.pages(w, good, *deep[:-1], *bad)
        for name in names[:4]:
            self.assertEqual(len(repository.lineage(name)[0]), 1)
        for name, page in zip(names[4:], bad, strict=True):
            with self.assertRaises((Damaged, cbor.CborError), msg=page):
                repository.lineage(name)

    def test_a_sample_that_is_another_run_is_noticed(self):
        w = self.writer()
        run = w.blob_id("data", OLD)[:8]
        leaves = [encode([0, [self.record(w, k6=[[at, run]])]]) for at in (0, 1, 2, 3)]
        repository, names = self.pages(w, *leaves)
        for at, name in enumerate(names):
            [record], _ = repository.lineage(name)
            if at == 0:
                repository.check_samples(record)
            else:
                self.assertRaises(Damaged, repository.check_samples, record)


class DamageTest(InFolder):
    def files(self):
        found = (os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names)
        return sorted(found)

    def test_a_flipped_byte_in_any_object_is_noticed(self):
        build(self.root, mirror=False)
        everything(open_repository(self.root))
        for path in self.files():
            with open(path, "rb") as file:
                good = file.read()
            places = range(len(good)) if len(good) < 400 else [*range(60), *range(60, len(good), 97), len(good) - 1]
            for at in places:
                with open(path, "wb") as file:
                    file.write(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
                options = {"without_index": True} if "packs" in path and at % 2 else {}
                with self.assertRaises(Damaged, msg=f"{path} at {at}"):
                    everything(open_repository(self.root, **options))
            with open(path, "wb") as file:
                file.write(good)
        everything(open_repository(self.root))

    def test_what_has_a_mirror_is_read_from_it(self):
        build(self.root)
        good = everything(open_repository(self.root))
        for path in self.files():
            if any(part in path for part in ("/packs/", "/index/")):
                continue
            with open(path, "rb") as file:
                data = file.read()
            os.unlink(path)
            self.assertEqual(everything(open_repository(self.root)), good, path)
            with open(path, "wb") as file:
                file.write(data[:-1] + b"?")
            self.assertEqual(everything(open_repository(self.root)), good, path)
            with open(path, "wb") as file:
                file.write(data)

    def test_pages_against_the_rules_are_refused(self):
        w = Writer(self.root)
        w.config()
        w.recovery_slot(RECOVERY)
        data = w.blob_id("data", NOISE)
        ids = iter([*w.pack([("data", NOISE)])])
        self.assertEqual(next(ids), data)
        file = {"k8": len(NOISE), "k10": data}
        leaf = encode([0, 0, [[data, len(NOISE)]]])
        lists = [
            encode([0, 0, [data]]),
            encode([0, 0, [[data, len(NOISE) - 1]]]),
            encode([0, 0, [0]]),
            encode([0, len(NOISE), [data, 1]]),
            encode([1, 0, [[w.blob_id("list page", leaf), len(NOISE) + 1]]]),
            encode([2, 0, [[w.blob_id("list page", leaf), len(NOISE)]]]),
            encode([8, 0, []]),
            encode([0, 0]),
        ]
        listed = {"k8": len(NOISE), "k12": data}
        good = node(b"b", 0, k11=w.blob_id("list page", leaf), **listed)
        bad = [
            page(node(b"b", 0, **file), node(b"a", 0, **file)),
            page(node(b"a", 0), node(b"a", 0)),
            *(page(node(name, 0)) for name in (b"", b".", b"..", b"a/b", b"a\0", b"a" * 4097)),
            page(node(b"a", 7)),
            page(node(b"a", 1)),
            page(node(b"a", 2)),
            page(node(b"a", 2, k13=b"")),
            *(page(node(b"a", 0, k19=bad)) for bad in ([4, 4096, []], [0, 4096], [0, 4096, ["text"]], [0, -1, []], [])),
            page(node(b"a", 0, k22=[len(NOISE), data])),
            *(
                page(node(b"a", 0, k19=[0, 4096, []], k22=bad))
                for bad in ([0, data], [5], [5, b"short"], [5, data, data, data], [], [len(NOISE) + 1, data])
            ),
            page(node(b"a", 3, **file)),
            page(node(b"a", 0, k8=5)),
            page(node(b"a", 0, k8=len(NOISE) + 1, k10=data)),
            page(node(b"a", 0, k2=0o10000)),
            page(node(b"a", 0, k11=w.blob_id("list page", leaf), **listed) | {12: bytes(32)}),
            page(node(b"a", 0, k11=w.blob_id("list page", leaf), k10=data, **listed)),
            *(page(node(b"a", 0, k11=w.blob_id("list page", each), **listed)) for each in lists),
            encode([1, []]),
            encode([1, [[b"x", w.blob_id("tree page", page(good))]]]),
            encode([2, [[b"b", w.blob_id("tree page", page(good))]]]),
            encode([8, []]),
            encode([0]),
            encode([0, [5]]),
            b"",
        ]
        w.pack([("list page", each) for each in [leaf, *lists]])
        names = w.pack([("tree page", each) for each in [page(good), *bad]])
        w.index()
        repository = open_repository(self.root)

        def read(name):
            for _, _, entry in repository.walk(name):
                for _ in repository.content(entry):
                    pass

        read(names[0])
        for name, each in zip(names[1:], bad, strict=True):
            with self.assertRaises((Damaged, cbor.CborError), msg=each):
                read(name)


class RestoreTest(InFolder):
    def restore(self, *arguments):
        key = os.path.join(self.folder, "key")
        with open(key, "w") as file:
            file.write(print_recovery_key(RECOVERY) + "\n")
        command = [sys.executable, os.path.join(HERE, "chatvault_reader.py"), self.root, "--recovery-key-file", key]
        return subprocess.run([*command, *arguments], capture_output=True, check=False)

    def test_everything_comes_back(self):
        build(self.root)
        done = self.restore("restore", "--all", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = json.loads(self.restore("list").stdout)
        self.assertEqual([row["time"] for row in rows], [f"1970-01-01T00:0{m}.000000005Z" for m in ("0:50", "1:40")])
        for row, run in zip(rows, (NEW, OLD), strict=True):
            source = os.path.join(os.fsencode(self.out), row["id"].encode(), b"s")
            with open(source + b"/below/database", "rb") as file:
                self.assertEqual(file.read(), run + bytes(3_000_000) + NOISE + run)
            state = os.stat(source + b"/below/database")
            self.assertLess(state.st_blocks * 512, 1_000_000)
            self.assertEqual(state.st_mode & 0o7777, 0o640)
            self.assertTrue(os.path.samestat(state, os.stat(source + b"/twin")))
            self.assertTrue(os.path.samefile(source + b"/twice \xff", source + b"/below/twin"))
            self.assertEqual(os.readlink(source + b"/link"), b"../\xff\xfe")
            self.assertEqual(os.stat(source + b"/empty").st_mode & 0o7777, 0o755)
            self.assertFalse(os.path.lexists(source + b"/pipe"))
            for name in (b"/below/database", b"/below", b"/link", b"/empty"):
                self.assertEqual(os.lstat(source + name).st_mtime_ns, 1_600_000_000_123_456_789)
            self.assertEqual(os.stat(source).st_mode & 0o7777, 0o750)
        again = self.restore("restore", rows[0]["id"][:8], self.out)
        self.assertEqual(again.returncode, 1, "what is there is never overwritten")

    def test_paths_longer_than_the_system_allows(self):
        build(self.root, deep=30)
        done = self.restore("restore", "--all", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        for id in os.listdir(self.out):
            here = os.open(os.path.join(self.out, id, "s", "below"), os.O_RDONLY)
            for _ in range(30):
                here = os.open(LONG, os.O_RDONLY, dir_fd=here)
            self.assertEqual(os.stat("twin", dir_fd=here).st_nlink, 2)
            self.assertEqual(os.stat("database", dir_fd=here).st_nlink, 2)
            self.assertEqual(os.stat(here).st_mtime_ns, 1_600_000_000_123_456_789)

    def test_a_wrong_key_has_its_own_exit_code(self):
        Writer(self.root).config()
        self.assertEqual(self.restore("list").returncode, 12)


if __name__ == "__main__":
    unittest.main()
