"""A chatvault repository: unlocks it and gives out snapshots, folders and contents, all of them checked."""

import os
import re
import struct

from blake3 import blake3

import cbor
from format_numbers import (
    ENUMS,
    LONGEST,
    MAX_BLOB,
    MAX_DEPTH,
    MAX_LEVEL,
    MAX_LINEAGE_LEVEL,
    MAX_NOTE,
    MAX_PAGE_ITEMS,
)
from stored import (
    CONFIG_CLEAR,
    DIR,
    END_MAGIC,
    HEADER,
    PIECE,
    SLOT_CLEAR,
    TAG,
    TAIL,
    TRAILER_ORDINAL,
    TYPES,
    Damaged,
    Fields,
    Header,
    NewerFormat,
    WrongKey,
    check_name,
    check_node,
    check_record,
    decompress,
    derive,
    fold,
    is_uint,
    log_of,
    need,
    parse_trailer,
    read_file,
    unseal,
    warn,
    zeros,
)


class Repository:
    """An open repository. `without_index` reads the trailers of all packs instead of `index/`."""

    def __init__(self, root, credential, without_index=False):
        self.root, self.checked, self.ciphers = root, set(), {}
        slots = [slot for name in self.names("keys") if (slot := self.slot(name))]
        self.first_good("config", "config", lambda data: self.unlock(data, slots, credential))
        kinds = ENUMS["blob kind"].items()
        self.id_keys = {number: derive(f"chatvault 1 blob id: {name}", self.dedup) for name, number in kinds}
        self.read_snapshots()
        self.copies = {}
        self.load_packs() if without_index else self.load_index()

    def names(self, folder, form="[0-9a-f]{64}"):
        """Names in a folder and in its mirror; temporary files are left out, foreign ones reported."""
        found = set()
        for where in (folder, f"mirror/{folder}"):
            if os.path.isdir(os.path.join(self.root, where)):
                found.update(os.listdir(os.path.join(self.root, where)))
        found = {name for name in found if not name.startswith(".")}
        for name in sorted(name for name in found if not re.fullmatch(form, name)):
            warn(f"{folder}/{name} is no name of this format")
        return sorted(name for name in found if re.fullmatch(form, name))

    def first_good(self, path, kind, parse):
        """What `parse` makes of the object, or of its mirror if the object is missing or damaged."""
        failures = []
        for where in (path, f"mirror/{path}"):
            try:
                result = parse(read_file(os.path.join(self.root, where), LONGEST[kind]))
            except (OSError, Damaged, cbor.CborError) as error:
                failures.append((where, error))
            else:
                for where, error in failures:
                    warn(f"{where}: {error}; its mirror is read instead")
                return result
        for special in (NewerFormat, WrongKey, Damaged):
            if any(isinstance(error, special) for _, error in failures):
                break
        raise special("; ".join(f"{where}: {error}" for where, error in failures))

    def slot(self, name):
        def parse(data):
            check_name(data, name)
            Header(data, "key slot")
            need(len(data) >= HEADER + SLOT_CLEAR + TAG, "it is too short")
            return data

        try:
            return self.first_good(f"keys/{name}", "key slot", parse)
        except Damaged as error:
            warn(f"a key slot is left out: {error}")

    def unlock(self, data, slots, credential):
        """Opens key bundle and config from the bytes of a config."""
        header = Header(data, "config")
        need(len(data) >= HEADER + CONFIG_CLEAR + TAG, "it is too short")
        repository, features = data[HEADER : HEADER + 32], data[HEADER + 32 : HEADER + CONFIG_CLEAR]
        if features != bytes(8):
            raise NewerFormat("the repository needs features that this reader does not know")
        bundle = next(filter(None, (self.open_slot(slot, repository, credential) for slot in slots)), None)
        if bundle is None:
            raise WrongKey("no key slot opens with this password or key")
        self.repository, self.dedup, self.epochs = repository, bundle.dedup, dict(bundle.epochs)
        fields = Fields("config", self.open(data, header, CONFIG_CLEAR))
        if fields.chunker != 1:
            raise NewerFormat("the chunker is unknown")
        self.run = fields.run
        need(65536 <= self.run <= 1 << 20 and self.run & (self.run - 1) == 0, "runs have an impossible length")

    def open_slot(self, slot, repository, credential):
        clear = HEADER + SLOT_CLEAR
        kind, memory, passes, lanes, salt, length = struct.unpack("<B3I16sI", slot[HEADER:clear])
        if kind != credential.kind:
            return None
        try:
            secret = credential.slot_key(memory, passes, lanes, salt)
            cipher = Header(slot, "key slot").cipher(secret, repository)
            plain = unseal(cipher, 0, slot[:clear], slot[clear : clear + length])
        except Damaged:
            return None
        bundle = Fields("key bundle", cbor.decode(plain))
        self.open_note(slot, clear + length, dict(bundle.epochs), repository)
        return bundle

    def open_note(self, slot, at, epochs, repository):
        """What a slot says to those who have the bundle: it vouches for the whole slot."""
        need(TAG <= len(slot) - at - 4 <= MAX_NOTE, "the lengths in a key slot do not fit")
        epoch = struct.unpack("<I", slot[at : at + 4])[0]
        need(epoch in epochs, f"the note of a key slot is sealed under epoch {epoch}, which the key bundle lacks")
        cipher = Header(slot, "key slot").cipher(epochs[epoch], repository, "chatvault 1 slot note")
        return Fields("note", cbor.decode(unseal(cipher, 0, slot[: at + 4], slot[at + 4 :])))

    def cipher(self, header):
        need(header.epoch in self.epochs, f"it is sealed under epoch {header.epoch}, which the key bundle lacks")
        return header.cipher(self.epochs[header.epoch], self.repository)

    def open(self, data, header, clear=0):
        """The CBOR of an object of one body."""
        body = HEADER + clear
        return cbor.decode(unseal(self.cipher(header), 0, data[:body], data[body:]))

    def read_snapshots(self):
        """Manifests, then events, folded: `snapshots` holds those that are not forgotten."""
        manifests = {}
        for name in self.names("snapshots"):
            try:
                manifests[bytes.fromhex(name)] = self.first_good(
                    f"snapshots/{name}", "manifest", lambda data, name=name: self.manifest(data, name)
                )
            except NewerFormat as error:
                warn(f"a snapshot is hidden: {error}")
        events, chain = [], {(m.writer, m.sequence): (id, m.previous) for id, m in manifests.items()}
        for writer in self.names("events", "[0-9a-f]{32}"):
            for number in self.names(f"events/{writer}", "[0-9a-f]{16}"):
                path = f"events/{writer}/{number}"
                place = (writer, number)
                event, digest = self.first_good(path, "event", lambda data, place=place: self.event(data, place))
                events.append(event)
                chain[event.writer, event.sequence] = (digest, event.previous)
                if event.action == ENUMS["action"]["forget"]:
                    target = (event.target_writer, event.target_sequence)
                    chain.setdefault(target, (event.snapshot, event.target_previous))
        for (writer, number), (_, previous) in sorted(chain.items(), key=lambda item: item[0]):
            known = chain.get((writer, number - 1), (previous, None))[0]
            if known != previous or (number == 1) != (previous is None):
                warn(f"the chain of writer {writer.hex()} does not fit together at number {number}")
        self.snapshots = fold(manifests, events)

    def manifest(self, data, name):
        check_name(data, name)
        value = self.open(data, Header(data, "manifest"))
        if type(value) is dict and value.get(22, 0) != 0:
            raise NewerFormat("the snapshot needs features that this reader does not know")
        return Fields("manifest", value)

    def event(self, data, place):
        fields = Fields("event", self.open(data, Header(data, "event")))
        need((fields.writer.hex(), f"{fields.sequence:016x}") == place, "it stands under another's name")
        names = {number: name for name, number in ENUMS["action"].items()}
        action = names.get(fields.action)
        need(action in (None, "key change") or fields.snapshot is not None, "it names no snapshot")
        need(action != "forget" or fields.target_writer is not None, "it names no writer")
        need(action != "describe" or fields.text is not None, "it has no text")
        slots = fields.slot_added is not None or fields.slots_removed
        need(action != "key change" or slots, "it names no key slot")
        return fields, blake3(data).digest()

    def add_copies(self, copies):
        """Keeps the copy of least depth of every blob."""
        for copy in copies:
            known = self.copies.get((copy.kind, copy.id))
            if known is None or copy.depth < known.depth:
                self.copies[copy.kind, copy.id] = copy

    def load_index(self):
        seen = {}
        for name in self.names("index"):
            try:
                data = read_file(os.path.join(self.root, "index", name), LONGEST["index"])
                check_name(data, name)
                for record in Fields("index", self.open(data, Header(data, "index"))).packs:
                    good = type(record) is list and [type(v) for v in record] == [bytes, int, bytes, bytes]
                    need(good and (len(record[0]), len(record[2])) == (32, HEADER), "a pack of an index is none")
                    digest = blake3(repr(record).encode()).digest()
                    need(seen.setdefault(record[0], digest) == digest, "two entries of one pack differ")
                    Header(record[2], "pack")
                    self.add_copies(parse_trailer(*record))
            except (Damaged, cbor.CborError) as error:
                raise Damaged(f"index/{name}: {error} (--without-index reads the packs themselves)") from error

    def load_packs(self):
        for folder in self.names("packs", "[0-9a-f]{2}"):
            for name in self.names(f"packs/{folder}"):
                try:
                    need(name.startswith(folder), "it lies in the wrong folder")
                    self.add_copies(self.read_trailer(bytes.fromhex(name)))
                except (Damaged, cbor.CborError) as error:
                    raise Damaged(f"pack {name}: {error}") from error

    def read_trailer(self, pack):
        with open(self.pack_path(pack), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header, (sealed, length) = self.check_pack(file, pack, size)
            file.seek(size - TAIL - length)
            sealed = file.read(length)
        cipher = self.cipher(Header(header, "pack"))
        return parse_trailer(pack, size, header, unseal(cipher, TRAILER_ORDINAL, header, sealed))

    def pack_path(self, pack):
        return os.path.join(self.root, "packs", pack.hex()[:2], pack.hex())

    def check_pack(self, file, pack, size):
        """Checks name and end of a pack; its header, and place and length of its sealed trailer."""
        need(HEADER + TAG + TAIL <= size <= LONGEST["pack"], "it is too short or too long")
        digest = blake3()
        while piece := file.read(PIECE):
            digest.update(piece)
        need(digest.digest() == pack, "its name is not the BLAKE3 of its bytes")
        file.seek(0)
        header = file.read(HEADER)
        file.seek(size - TAIL)
        length, magic = struct.unpack("<I8s", file.read(TAIL))
        need(magic == END_MAGIC and TAG <= length <= size - HEADER - TAIL, "it does not end as a pack does")
        self.checked.add(pack)
        return header, (size - TAIL - length, length)

    def stored(self, copy):
        """The opened, still packed bytes of a copy: one range of its pack."""
        with open(self.pack_path(copy.pack), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if copy.pack not in self.checked:
                header, _ = self.check_pack(file, copy.pack, size)
                need((header, size) == (copy.header, copy.size), "the index tells another header or size")
            file.seek(copy.offset)
            sealed = file.read(copy.sealed)
        if copy.pack not in self.ciphers:
            self.ciphers[copy.pack] = self.cipher(Header(copy.header, "pack"))
        return unseal(self.ciphers[copy.pack], copy.ordinal, copy.additional(), sealed)

    def blob(self, kind, name):
        """The plaintext of a blob."""
        kind, chain, depth = ENUMS["blob kind"][kind], [], MAX_DEPTH + 1
        while name is not None:
            copy = self.copies.get((kind, name))
            need(copy is not None, f"blob {name.hex()} is in no pack")
            need(copy.depth < depth, f"blob {name.hex()} is no base: it is not shallower than what rests on it")
            chain.append(copy)
            name, depth = copy.base, copy.depth
        plain = None
        for copy in reversed(chain):
            try:
                data = self.stored(copy)
                plain = data if copy.codec == 0 else decompress(data, copy.plain, plain)
                need(len(plain) == copy.plain, "its length is not the recorded one")
                need(blake3(plain, key=self.id_keys[kind]).digest() == copy.id, "its content is not what its id says")
            except (Damaged, OSError) as error:
                raise Damaged(f"blob {copy.id.hex()} of pack {copy.pack.hex()}: {error}") from error
        return plain

    def place(self, kind, name):
        """Depth and generation of the copy of a blob that is read."""
        copy = self.copies.get((ENUMS["blob kind"][kind], name))
        need(copy is not None, f"blob {name.hex()} is in no pack")
        return copy.depth, copy.generation

    def page(self, kind, name, width, above):
        """A page as array; `above` is the level of the page that names it."""
        value = cbor.decode(self.blob(kind, name))
        good = type(value) is list and len(value) == width and all(map(is_uint, value[:-1])) and type(value[-1]) is list
        need(good and value[0] <= MAX_LEVEL and len(value[-1]) <= MAX_PAGE_ITEMS, f"a {kind} is none")
        need(above is None or value[0] == above - 1, f"a {kind} has the wrong level")
        return value

    def folder(self, root):
        """The nodes of a folder in order."""
        last = b""
        for node in self.nodes(root, None):
            need(node.name > last, "the names in a folder do not ascend")
            last = node.name
            yield node

    def nodes(self, name, above, first=None):
        level, items = self.page("tree page", name, 2, above)
        if level == 0:
            need(first is None or (items and type(items[0]) is dict and items[0].get(0) == first), "a first name lies")
            yield from (check_node(Fields("node", item)) for item in items)
            return
        good = items and all(type(i) is list and [type(v) for v in i] == [bytes, bytes] for i in items)
        need(good and (first is None or items[0][0] == first), "a page of pages is none")
        for child, page in items:
            yield from self.nodes(page, level, child)

    def items(self, name, above=None, stated=None):
        """The items of a content list: (blob id, bytes) or (None, bytes of a hole)."""
        level, unit, items = self.page("list page", name, 3, above)
        total = 0
        for item in items:
            pair = item
            if level == 0 and type(item) is not list:
                pair = [None, item] if is_uint(item) else [item, unit]
            good = type(pair) is list and len(pair) == 2 and is_uint(pair[1]) and pair[1] > 0
            need(good and (TYPES["id"](pair[0]) or (pair[0] is None and level == 0)), "an item of a list is none")
            total += pair[1]
            if level == 0:
                need(pair[0] is None or pair[1] <= MAX_BLOB, "a chunk is too long")
                yield pair
            else:
                yield from self.items(pair[0], level, pair[1])
        need(stated is None or total == stated, "a list page stands for another number of bytes")

    def list_pages(self, name, above=None):
        """The ids of the pages of a content list, from the root down."""
        level, _, items = self.page("list page", name, 3, above)
        yield name
        for item in items if level else []:
            yield from self.list_pages(item[0], level)

    def lineage(self, root):
        """What a snapshot records of its databases, ascending by path, and the ids of the pages that hold it."""
        records, pages, last = [], [], []
        for record in self.records(root, None, pages) if root else []:
            # Component by component: `/a/b` comes before `/a-b`.
            parts = record.path.split(b"/")
            need(parts > last, "the paths of lineage records do not ascend")
            last = parts
            records.append(record)
        return records, pages

    def records(self, name, above, pages):
        level, items = self.page("list page", name, 2, above)
        need(level <= MAX_LINEAGE_LEVEL, "a lineage page has too many levels above it")
        pages.append(name)
        if level == 0:
            yield from (check_record(Fields("lineage record", item)) for item in items)
            return
        need(all(map(TYPES["id"], items)), "an item of a lineage page is no page")
        for child in items:
            yield from self.records(child, level, pages)

    def check_samples(self, record):
        """Fails if a sampled run is not what stands there in the content."""
        runs = [record.blob] if record.blob else [name for name, _ in self.items(record.list)] if record.list else []
        for run, first in record.samples:
            need(run < len(runs) and runs[run] is not None, f"{record.path!r} has no run {run}")
            need(runs[run][: len(first)] == first, f"run {run} of {record.path!r} is another one")
        return runs

    def content(self, node):
        """The content of a file in pieces: bytes, or the number of bytes of a hole. Fails at the end if it is wrong."""
        pieces = self.items(node.list) if node.list else [(node.blob, node.size)] if node.blob else []
        digest, total = blake3(key=self.id_keys[ENUMS["blob kind"]["data"]]), 0
        for name, length in pieces:
            total += length
            need(total <= node.size, "a content is longer than its file")
            piece = length if name is None else self.blob("data", name)
            need(name is None or len(piece) == length, "a chunk has another length than its list says")
            for part in zeros(length) if name is None else (piece,):
                digest.update(part)
            yield piece
        need(total == node.size, "a content is shorter than its file")
        need(node.hash is None or digest.digest() == node.hash, "a content is not what its hash says")

    def walk(self, root):
        """("enter" | "leave" | "entry", names from the root down, node) in the order of paths."""
        stack, names = [(None, self.entries(root))], []
        while stack:
            node, rest = stack[-1]
            child = next(rest, None)
            if child is None:
                stack.pop()
                if node:
                    yield "leave", names, node
                    names.pop()
                continue
            names.append(child.name)
            yield "enter" if child.kind == DIR else "entry", names, child
            if child.kind == DIR:
                stack.append((child, self.entries(child.subtree)))
            else:
                names.pop()

    def entries(self, root):
        """The nodes of a folder in order, and damaged logs as files beside their databases."""
        logs = {}
        for node in self.folder(root):
            while logs and min(logs) < node.name:
                yield logs.pop(min(logs))
            if node.name in logs:
                log = logs.pop(node.name)
                log.name += b".damaged"
                logs[log.name] = log
            yield node
            if node.damaged_log is not None:
                log = log_of(node)
                logs[log.name] = log
        while logs:
            yield logs.pop(min(logs))
