"""All numbers of the format that the reader knows. Run as a program it prints them as JSON.

(The name `numbers.py` would hide a module of the standard library from everything that runs in this folder.)
"""

import json

ENUMS = {
    "object type": {"config": 1, "key slot": 2, "pack": 3, "index": 4, "manifest": 5, "event": 6, "lease": 7},
    "algorithm": {"AES-256-GCM": 1, "ChaCha20-Poly1305": 2},
    "key source": {"epoch key": 0, "wrapped to a recipient": 1, "slot key": 2},
    "slot kind": {"password": 1, "recovery key": 2, "password and key file": 3},
    "blob kind": {"data": 0, "tree page": 1, "list page": 2, "secret": 3},
    "codec": {"raw": 0, "zstd": 1, "zstd delta": 2},
    "pack class": {"media": 0, "runs": 1, "metadata": 2},
    "node kind": {"file": 0, "dir": 1, "symlink": 2, "fifo": 3, "socket": 4, "chardev": 5, "dev": 6},
    "layout": {"stream": 0, "page runs": 1},
    "database state": {"quiescent": 0, "as it lay": 1, "captured": 2, "pair": 3},
    "check": {"not checked": 0, "quick": 1, "full": 2, "failed": 3},
    "verdict": {"good": 0, "suspect": 1, "unaccepted": 2},
    "action": {"tag": 1, "describe": 2, "accept": 3, "forget": 4, "undo": 5, "key change": 6},
}

# Map keys: key -> (name, type). A type that ends in `!` says that the field is always there. The types are those of
# `chatvault_reader.TYPES`; a field of type `reserved` is skipped like an unknown one.
MAPS = {
    "config": {
        0: ("created", "time!"),
        1: ("chunker", "uint!"),
        2: ("chunk_min", "uint!"),
        3: ("chunk_avg", "uint!"),
        4: ("chunk_max", "uint!"),
        5: ("run", "uint!"),
        6: ("media_pack", "uint!"),
        7: ("other_pack", "uint!"),
    },
    "key bundle": {0: ("dedup", "id!"), 1: ("epochs", "epochs!"), 2: ("mac", "id!")},
    "note": {
        0: ("created", "time!"),
        1: ("host", "text!"),
        2: ("user", "text!"),
        3: ("label", "text"),
        4: ("replaces", "id"),
    },
    "trailer": {0: ("pack_class", "uint!"), 1: ("padding", "uint"), 2: ("entries", "array")},
    "index": {0: ("prune_epoch", "uint"), 1: ("packs", "array")},
    "node": {
        0: ("name", "bytes!"),
        1: ("kind", "uint!"),
        2: ("mode", "uint!"),
        3: ("uid", "uint!"),
        4: ("gid", "uint!"),
        5: ("user", "text"),
        6: ("group", "text"),
        7: ("mtime", "time"),
        8: ("size", "uint"),
        9: ("layout", "uint"),
        10: ("blob", "id"),
        11: ("list", "id"),
        12: ("hash", "id"),
        13: ("target", "bytes"),
        14: ("hard_link", "group"),
        15: ("device", "array"),
        16: ("xattrs", "array"),
        17: ("subtree", "id"),
        18: ("changed_while_read", "flag"),
        19: ("database", "database"),
        20: ("container_recipe", "reserved"),
        21: ("container_key", "reserved"),
        22: ("damaged_log", "log"),
    },
    "manifest": {
        0: ("time", "time!"),
        1: ("created", "time!"),
        2: ("utc_offset_minutes", "int!"),
        3: ("writer", "writer!"),
        4: ("sequence", "uint!"),
        5: ("previous", "id"),
        6: ("lamport", "uint!"),
        7: ("heads", "array"),
        8: ("imported", "flag"),
        9: ("host", "text!"),
        10: ("user", "text!"),
        11: ("paths", "byte strings"),
        12: ("parent", "id"),
        13: ("root", "id!"),
        14: ("statistics", "array!"),
        15: ("program", "text!"),
        16: ("tags", "texts"),
        17: ("description", "text"),
        18: ("verdict", "array"),
        19: ("incomplete", "flag"),
        20: ("summaries", "id"),
        21: ("lineage", "id"),
        22: ("features", "uint"),
        23: ("links", "array"),
        24: ("is_stream", "flag"),
    },
    "event": {
        0: ("writer", "writer!"),
        1: ("sequence", "uint!"),
        2: ("previous", "id"),
        3: ("lamport", "uint!"),
        4: ("created", "time!"),
        5: ("action", "uint!"),
        6: ("snapshot", "id"),
        7: ("add", "texts"),
        8: ("remove", "texts"),
        9: ("text", "text"),
        10: ("target_writer", "writer"),
        11: ("target_sequence", "uint"),
        12: ("target_previous", "id"),
        13: ("slot_added", "id"),
        14: ("slots_removed", "byte strings"),
    },
    "lineage record": {
        0: ("path", "bytes!"),
        1: ("line", "line!"),
        2: ("page_size", "uint"),
        3: ("size", "uint"),
        4: ("blob", "id"),
        5: ("list", "id"),
        6: ("samples", "array"),
        7: ("check", "uint"),
        8: ("hash", "id"),
    },
    "lease": {
        0: ("writer", "writer!"),
        1: ("kind", "uint!"),
        2: ("host", "text!"),
        3: ("boot_id", "text!"),
        4: ("pid", "uint!"),
        5: ("started", "uint!"),
        6: ("begun", "time!"),
        7: ("machine", "writer!"),
        8: ("pid_namespace", "uint!"),
        9: ("ended", "uint"),
    },
}

# Context strings of key derivation. Capital words stand for the names in the tables above.
CONTEXTS = [
    "chatvault 1 object key: NAME",
    "chatvault 1 slot key: password",
    "chatvault 1 slot key: recovery",
    "chatvault 1 slot key: password and file",
    "chatvault 1 recovery key check",
    "chatvault 1 slot note",
    "chatvault 1 blob id: KIND",
]

# Longest object that is read, in bytes.
LONGEST = {
    "config": 64 << 10,
    "key slot": 256 << 10,
    "pack": 32 << 20,
    "index": 64 << 20,
    "manifest": 8 << 20,
    "event": 1 << 20,
    "lease": 16 << 10,
}
MAX_BLOB = 16 << 20
MAX_NOTE = 4096
MAX_KEY_FILE = 64 << 20
MAX_PAGE_ITEMS = 4096
MAX_LEVEL = 7
MAX_LINEAGE_LEVEL = 3
MAX_SAMPLES = 32
# Deepest copy that is read.
MAX_DEPTH = 64


def as_json():
    """All tables in one JSON object; of a map's keys the name of the field and whether it is always there."""
    maps = {
        title: {str(key): {"name": name, "always": kind.endswith("!")} for key, (name, kind) in fields.items()}
        for title, fields in MAPS.items()
    }
    return json.dumps({"numbers": ENUMS, "map keys": maps, "contexts": CONTEXTS, "longest": LONGEST}, indent=1)


if __name__ == "__main__":
    print(as_json())
