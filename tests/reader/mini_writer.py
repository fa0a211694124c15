"""A writer of tiny repositories for the tests of the reader. It shares no code with the reader but BLAKE3 and AEAD."""

import os
import struct

import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

TYPES = ["", "config", "key slot", "pack", "index", "manifest", "event", "lease"]
KINDS = ["data", "tree page", "list page", "secret"]


def head(major, number):
    for bits, size in ((24, 0), (1 << 8, 1), (1 << 16, 2), (1 << 32, 4), (1 << 64, 8)):
        if number < bits:
            if size == 0:
                return bytes([major << 5 | number])
            return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")
    raise ValueError(number)


def encode(value):
    """Deterministic CBOR."""
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    return head(5, len(value)) + b"".join(encode(key) + encode(value[key]) for key in sorted(value))


def derive(context, material, length=32):
    return blake3(material, derive_key_context=context).digest(length=length)


def print_recovery_key(key):
    digits = (key + derive("chatvault 1 recovery key check", key)[:2]).hex()
    return "cv1-" + "-".join(digits[at : at + 4] for at in range(0, 68, 4))


class Writer:
    """Writes objects below `root`. All secrets are fixed; salts are random."""

    def __init__(self, root, algorithm=1, mirror=True):
        self.root, self.algorithm, self.mirror = root, algorithm, mirror
        self.repository, self.dedup, self.epoch = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
        self.packs, self.sequence, self.previous = [], 0, None
        self.writer = b"\x07" * 16

    def put(self, name, data, mirror=False):
        for path in [name, "mirror/" + name] if mirror and self.mirror else [name]:
            full = os.path.join(self.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as file:
                file.write(data)
        return blake3(data).digest()

    def put_named(self, folder, data, mirror=False):
        return self.put(f"{folder}/{blake3(data).hexdigest()}", data, mirror)

    def header(self, kind, source=0, epoch=1):
        fields = bytes([TYPES.index(kind), 1, 3, self.algorithm, source, 0, 0, 0]) + struct.pack("<I", epoch)
        return b"\x8aCVLT\r\n\x1a" + fields + os.urandom(32)

    def cipher(self, kind, header, secret=None):
        key = derive(f"chatvault 1 object key: {kind}", (secret or self.epoch) + self.repository + header)
        return AESGCM(key) if self.algorithm == 1 else ChaCha20Poly1305(key)

    def sealed(self, kind, value, clear=b"", secret=None, plain=None):
        header = self.header(kind, *((2, 0) if kind == "key slot" else ()))
        body = self.cipher(kind, header, secret).encrypt(bytes(12), plain or encode(value), header + clear)
        return header + clear + body

    def config(self, features=0, run=65536):
        fields = {0: [5, 6], 1: 1, 2: 524288, 3: 1048576, 4: 4194304, 5: run, 6: 16 << 20, 7: 8 << 20}
        clear = self.repository + struct.pack("<Q", features)
        self.put("config", self.sealed("config", fields, clear), mirror=True)

    def slot(self, kind, secret, cost=(0, 0, 0, bytes(16)), note=None):
        bundle = encode({0: self.dedup, 1: [[1, self.epoch]], 2: b"\x04" * 32})
        clear = struct.pack("<BIII16sI", kind, *cost, len(bundle) + 16)
        slot = self.sealed("key slot", None, clear, secret, bundle) + struct.pack("<I", 1)
        key = derive("chatvault 1 slot note", self.epoch + self.repository + slot[:52])
        cipher = AESGCM(key) if self.algorithm == 1 else ChaCha20Poly1305(key)
        note = {0: [5, 6], 1: "host", 2: "user"} if note is None else note
        self.put_named("keys", slot + cipher.encrypt(bytes(12), encode(note), slot), mirror=True)

    def recovery_slot(self, key):
        self.slot(2, derive("chatvault 1 slot key: recovery", key))

    def password_slot(self, password, key_file=None, salt=b"0123456789abcdef"):
        raw = hash_secret_raw(password, salt, 3, 65536, 1, 32, Type.ID, version=0x13)
        if key_file is None:
            self.slot(1, derive("chatvault 1 slot key: password", raw), (65536, 3, 1, salt))
        else:
            raw += blake3(key_file).digest()
            self.slot(3, derive("chatvault 1 slot key: password and file", raw), (65536, 3, 1, salt))

    def blob_id(self, kind, plain):
        return blake3(plain, key=derive(f"chatvault 1 blob id: {kind}", self.dedup)).digest()

    def pack(self, blobs, pack_class=0, padding=0):
        """Each blob: (kind, plain), (kind, plain, "zstd"), or (kind, plain, base plain, depth). Returns the ids."""
        header, entries, body, ids = self.header("pack"), [], b"", []
        cipher = self.cipher("pack", header)
        for ordinal, (kind, plain, *how) in enumerate(blobs):
            codec, base, depth, data = 0, None, 0, plain
            if how:
                codec, base, depth, data = pack_frame(plain, how)
            base_id = base if base is None else self.blob_id(kind, base)
            name = self.blob_id(kind, plain)
            additional = bytes([KINDS.index(kind)]) + name + bytes([codec]) + (base_id or bytes(32))
            additional += bytes([depth]) + struct.pack("<HI", depth, len(plain))
            data = cipher.encrypt(struct.pack("<QI", ordinal, 0), data, additional)
            entry = [KINDS.index(kind), codec, name, len(plain), len(data)]
            entries.append(entry + ([base_id, depth, depth] if base_id else []))
            body, ids = body + data, [*ids, name]
        fields = {0: pack_class, 2: entries} | ({1: padding} if padding else {})
        trailer = encode(fields)
        sealed = cipher.encrypt(b"\xff" * 8 + bytes(4), trailer, header)
        data = header + body + os.urandom(padding) + sealed + struct.pack("<I", len(sealed)) + b"CVLTpack"
        name = blake3(data).digest()
        self.put(f"packs/{name.hex()[:2]}/{name.hex()}", data)
        self.packs.append([name, len(data), header, trailer])
        return ids

    def index(self):
        return self.put_named("index", self.sealed("index", {1: self.packs}))

    def chain(self):
        self.sequence += 1
        return self.sequence

    def manifest(self, root, seconds=100, **extra):
        number = self.chain()
        fields = {0: [seconds, 5], 1: [seconds, 6], 2: -60, 3: self.writer, 4: number, 6: number, 9: "host", 10: "me"}
        fields |= {11: [b"/s"], 13: root, 14: [1, 2, 3], 15: "mini 1"} | ({5: self.previous} if self.previous else {})
        fields |= {int(key.removeprefix("k")): value for key, value in extra.items()}
        self.previous = self.put_named("snapshots", self.sealed("manifest", fields), mirror=True)
        return self.previous

    def event(self, action, fields):
        number = self.chain()
        fields = fields | {0: self.writer, 1: number, 3: number, 4: [number, 0], 5: action}
        fields |= {2: self.previous} if self.previous else {}
        name = f"events/{self.writer.hex()}/{number:016x}"
        self.previous = self.put(name, self.sealed("event", fields), mirror=True)


def pack_frame(plain, how):
    """(codec, base, depth, frame)."""
    if how == ["zstd"]:
        return 1, None, 0, zstandard.ZstdCompressor(write_checksum=False).compress(plain)
    base, depth = how
    prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    packer = zstandard.ZstdCompressor(dict_data=prefix, write_checksum=False, write_dict_id=False)
    return 2, base, depth, packer.compress(plain)
