"""Stored objects of a chatvault repository, one by one: headers, seals, key slots, trailers, zstd frames, maps.

No input but `read_file`. `repository` puts them together.
"""

import re
import struct
import sys
from typing import NamedTuple

import zstandard
from argon2.low_level import Type as Argon2Type
from argon2.low_level import hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

import cbor
from format_numbers import ENUMS, LONGEST, MAPS, MAX_BLOB, MAX_DEPTH, MAX_SAMPLES

MAGIC, END_MAGIC, FRAME_MAGIC = b"\x8aCVLT\x0d\x0a\x1a", b"CVLTpack", b"\x28\xb5\x2f\xfd"
HEADER, TAG, TAIL, CONFIG_CLEAR, SLOT_CLEAR = 52, 16, 12, 40, 33
TRAILER_ORDINAL = 2**64 - 1
PIECE = 1 << 20
ZEROS = bytes(PIECE)
FILE, DIR, SYMLINK = (ENUMS["node kind"][name] for name in ("file", "dir", "symlink"))
DELTA = ENUMS["codec"]["zstd delta"]


class Damaged(Exception):
    """Something in the repository is not as the format says."""


class NewerFormat(Damaged):
    """Something in the repository needs another reader."""


class WrongKey(Damaged):
    """No key slot opens with what was given."""


def warn(text):
    print(f"chatvault_reader: {text}", file=sys.stderr)


def need(condition, why):
    if not condition:
        raise Damaged(why)


def derive(context, *parts):
    return blake3(b"".join(parts), derive_key_context=context).digest()


def is_uint(value):
    return type(value) is int and value >= 0


def is_time(value):
    return type(value) is list and [type(v) for v in value] == [int, int] and 0 <= value[1] <= 999_999_999


def all_of(kind, count=None):
    return lambda v: type(v) is list and all(type(i) is kind and (count is None or len(i) == count) for i in v)


def is_epochs(value):
    pairs = all_of(list, 2)(value) and all(is_uint(n) and n < 2**32 and TYPES["id"](k) for n, k in value)
    return pairs and len(value) > 0 and all(a[0] < b[0] for a, b in zip(value, value[1:], strict=False))


def is_database(value):
    """True for a state, the bytes of a page, and the names of sidecars."""
    good = type(value) is list and len(value) == 3 and is_uint(value[0]) and is_uint(value[1])
    return good and value[0] in ENUMS["database state"].values() and TYPES["byte strings"](value[2])


def is_log(value):
    """True for the bytes of a damaged log and its blob, or its list and the name of the whole."""
    good = type(value) is list and len(value) in (2, 3) and is_uint(value[0]) and value[0] > 0
    return good and all(TYPES["id"](name) for name in value[1:])


TYPES = {
    "uint": is_uint,
    "group": is_uint,
    "int": lambda v: type(v) is int,
    "flag": lambda v: type(v) is bool,
    "bytes": lambda v: type(v) is bytes,
    "id": lambda v: type(v) is bytes and len(v) == 32,
    "writer": lambda v: type(v) is bytes and len(v) == 16,
    "line": lambda v: type(v) is bytes and len(v) == 16,
    "text": lambda v: type(v) is str,
    "time": is_time,
    "array": lambda v: type(v) is list,
    "texts": all_of(str),
    "byte strings": all_of(bytes),
    "epochs": is_epochs,
    "database": is_database,
    "log": is_log,
}
DEFAULTS = {"uint": 0, "flag": False, "array": [], "texts": [], "byte strings": []}


class Fields:
    """A CBOR map with the names and types of one of `MAPS`; unknown keys are skipped."""

    def __init__(self, title, value):
        need(type(value) is dict, f"a {title} is no map")
        for key, (name, kind) in MAPS[title].items():
            kind, always = kind.rstrip("!"), kind.endswith("!")
            if key in value and kind != "reserved":
                need(TYPES[kind](value[key]), f"{name} of a {title} is of the wrong type")
                setattr(self, name, value[key])
            else:
                need(not always, f"{name} of a {title} is missing")
                setattr(self, name, DEFAULTS.get(kind))


class Header:
    """The first 52 bytes of an object."""

    def __init__(self, data, kind):
        need(
            type(data) is bytes and len(data) >= HEADER and data[:8] == MAGIC,
            "it does not begin as a stored object does",
        )
        self.raw, self.kind = bytes(data[:HEADER]), kind
        number, form, draft, self.algorithm, self.source, zero, self.epoch = struct.unpack("<5B3sI", self.raw[8:20])
        if (form, draft) != (1, 3):
            raise NewerFormat(f"it has format {form}, draft {draft}; this reader reads format 1, draft 3")
        need(number == ENUMS["object type"][kind], f"it is no {kind}")
        need(self.algorithm in ENUMS["algorithm"].values() and zero == bytes(3), "its header is unknown")
        slot = kind == "key slot"
        need(self.source == ENUMS["key source"]["slot key" if slot else "epoch key"], "its key source does not fit")
        need(not slot or self.epoch == 0, "a key slot has an epoch")

    def cipher(self, secret, repository, context=None):
        key = derive(context or f"chatvault 1 object key: {self.kind}", secret, repository, self.raw)
        return (AESGCM if self.algorithm == ENUMS["algorithm"]["AES-256-GCM"] else ChaCha20Poly1305)(key)


def unseal(cipher, ordinal, additional, sealed):
    try:
        return cipher.decrypt(struct.pack("<QI", ordinal, 0), sealed, additional)
    except (InvalidTag, ValueError) as error:
        raise Damaged("its authentication tag does not verify") from error


def parse_recovery_key(text):
    """The 32 bytes of a printed recovery key."""
    compact = re.sub(r"\s", "", text).lower()
    digits = compact.removeprefix("cv1-").replace("-", "")
    if not compact.startswith("cv1-") or not re.fullmatch("[0-9a-f]{68}", digits):
        raise WrongKey("a recovery key is `cv1-` and 68 hexadecimal digits")
    key, check = bytes.fromhex(digits[:64]), bytes.fromhex(digits[64:])
    if derive("chatvault 1 recovery key check", key)[:2] != check:
        raise WrongKey("the check digits of the recovery key do not fit: a digit is mistyped")
    return key


class Credential:
    """What the user has. Derivations are kept, because slots may share a salt."""

    def __init__(self, password=None, key_file=None, recovery_key=None):
        self.password, self.recovery_key, self.derived = password, recovery_key, {}
        self.key_file = None if key_file is None else blake3(key_file).digest()
        name = "recovery key" if recovery_key else "password and key file" if key_file is not None else "password"
        self.kind = ENUMS["slot kind"][name]

    def slot_key(self, memory, passes, lanes, salt):
        if self.recovery_key:
            need((memory, passes, lanes, salt) == (0, 0, 0, bytes(16)), "a recovery slot has costs")
            return derive("chatvault 1 slot key: recovery", self.recovery_key)
        fits = 65536 <= memory <= 2 << 20 and 3 <= passes <= 16 and 1 <= lanes <= 16
        need(fits, "the cost of its key derivation is out of range")
        cost = (passes, memory, lanes)
        if (cost, salt) not in self.derived:
            key = hash_secret_raw(self.password, salt, *cost, 32, Argon2Type.ID, version=0x13)
            self.derived[cost, salt] = key
        key = self.derived[cost, salt]
        if self.key_file:
            return derive("chatvault 1 slot key: password and file", key, self.key_file)
        return derive("chatvault 1 slot key: password", key)


class Copy(NamedTuple):
    """One stored copy of a blob: an entry of a trailer and its place."""

    pack: bytes
    header: bytes
    size: int
    ordinal: int
    offset: int
    kind: int
    codec: int
    id: bytes
    plain: int
    sealed: int
    base: bytes | None
    depth: int
    generation: int

    def additional(self):
        numbers = struct.pack("<BHI", self.depth, self.generation, self.plain)
        return bytes([self.kind]) + self.id + bytes([self.codec]) + (self.base or bytes(32)) + numbers


def parse_trailer(pack, size, header, trailer):
    """The copies in a pack, from the plaintext of its trailer."""
    fields = Fields("trailer", cbor.decode(trailer))
    need(fields.pack_class in ENUMS["pack class"].values(), "its pack class is unknown")
    copies, offset = [], HEADER
    for ordinal, entry in enumerate(fields.entries):
        need(type(entry) is list and len(entry) in (5, 8), "an entry has the wrong number of fields")
        kind, codec, name, plain, sealed = entry[:5]
        base, depth, generation = entry[5:] or (None, 0, 0)
        good = all(map(is_uint, (kind, codec, plain, sealed, depth, generation))) and TYPES["id"](name)
        need(good and kind in ENUMS["blob kind"].values() and codec in ENUMS["codec"].values(), "an entry is unknown")
        need((codec == DELTA) == (base is not None), "an entry contradicts itself")
        good = base is None or (TYPES["id"](base) and 0 < depth <= MAX_DEPTH and generation < 65536)
        need(good, "a delta has no depth, or is too deep")
        need(plain <= MAX_BLOB and sealed >= TAG and (codec != 0 or sealed == plain + TAG), "a length is impossible")
        copy = Copy(pack, header, size, ordinal, offset, kind, codec, name, plain, sealed, base, depth, generation)
        copies.append(copy)
        offset += sealed
    total = offset + fields.padding + len(trailer) + TAG + TAIL
    need(total == size <= LONGEST["pack"], "the lengths in a trailer do not add up to the pack")
    return copies


def decompress(frame, plain_length, base):
    """The plaintext of a zstd frame of the stored form."""
    try:
        form = zstandard.get_frame_parameters(frame)
        good = form.content_size == plain_length
        good = good and frame[:4] == FRAME_MAGIC and frame[4] & 0x1F == 0 and form.window_size <= 1 << 25
        need(good, "a zstd frame has another form")
        prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if base else None
        unpacker = zstandard.ZstdDecompressor(dict_data=prefix, max_window_size=1 << 25)
        plain = unpacker.decompress(frame, read_across_frames=False, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"a zstd frame does not unpack: {error}") from error
    return plain


def read_file(path, longest):
    with open(path, "rb") as file:
        data = file.read(longest + 1)
    need(len(data) <= longest, f"it is longer than {longest} bytes")
    return data


def zeros(length):
    while length > 0:
        yield ZEROS[:length]
        length -= PIECE


def check_name(data, name):
    need(blake3(data).hexdigest() == name, "its name is not the BLAKE3 of its bytes")


def check_node(node):
    """The node, if its fields fit together."""
    name, is_file = node.name, node.kind == FILE
    need(0 < len(name) <= 4096 and name not in (b".", b"..") and not set(name) & set(b"/\0"), "a name is none")
    fits = (
        node.kind in ENUMS["node kind"].values()
        and (node.layout or 0) in ENUMS["layout"].values()
        and node.mode <= 0o7777
        and (node.kind == DIR) == (node.subtree is not None)
        and (node.kind == SYMLINK) == (node.target is not None)
        and (node.target is None or (0 < len(node.target) <= 65536 and 0 not in node.target))
        and (node.blob is not None) + (node.list is not None) == (node.size > 0)
        and (is_file or node.size == 0)
        and node.size < 2**63
        and (node.list is not None) == (node.hash is not None)
        and (node.damaged_log is None or node.database is not None)
    )
    need(fits, f"node {name!r} contradicts itself")
    return node


def log_of(node):
    """The file that stands for the damaged log of a database, as a node."""
    size, content, *whole = node.damaged_log
    value = {0: node.name + b"-wal.damaged", 1: FILE, 2: node.mode, 3: node.uid, 4: node.gid, 8: size}
    others = {5: node.user, 6: node.group, 7: node.mtime}
    value |= {key: field for key, field in others.items() if field is not None}
    value |= {11: content, 12: whole[0]} if whole else {10: content}
    return check_node(Fields("node", value))


def check_record(record):
    """The lineage record, if its fields fit together."""
    path, names = record.path, record.path.split(b"/")
    need(names[0] == b"" and path != b"", f"{path!r} is no path")
    need(path == b"/" or not {b"", b".", b".."} & set(names[1:]), f"{path!r} is no path")
    fits = (
        b"\0" not in path
        and (record.blob is not None) + (record.list is not None) == (record.size > 0)
        and (record.list is not None) == (record.hash is not None)
        and len(record.samples) <= MAX_SAMPLES
        and all(is_sample(sample) for sample in record.samples)
        and all(a[0] < b[0] for a, b in zip(record.samples, record.samples[1:], strict=False))
    )
    need(fits, f"the record of {path!r} contradicts itself")
    return record


def is_sample(value):
    """True for the number of a run and the first bytes of its id."""
    good = type(value) is list and len(value) == 2 and is_uint(value[0]) and value[0] < 2**32
    return good and type(value[1]) is bytes and len(value[1]) == 8


def fold(manifests, events):
    """Applies events in their order; the snapshots that are not forgotten, oldest first."""
    action, forgotten, undone = ENUMS["action"], {}, {}
    for event in sorted(events, key=lambda e: (e.lamport, e.writer)):
        if event.action == action["forget"]:
            forgotten[event.snapshot] = event.lamport
        elif event.action == action["undo"]:
            undone[event.snapshot] = event.lamport
        elif event.action == action["tag"] and event.snapshot in manifests:
            manifest = manifests[event.snapshot]
            kept = [tag for tag in manifest.tags if tag not in event.add and tag not in event.remove]
            manifest.tags = kept + event.add
        elif event.action == action["describe"] and event.snapshot in manifests:
            manifests[event.snapshot].description = event.text or None
    seen = (item for item in manifests.items() if forgotten.get(item[0], -1) <= undone.get(item[0], -1))
    return dict(sorted(seen, key=lambda item: (item[1].time, item[0])))
