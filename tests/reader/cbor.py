"""Strict decoder for the deterministic CBOR of docs/format.md. Every length is checked before it is used.

Numbers become `int`, byte strings `bytes`, texts `str`, arrays `list`, maps `dict`. Nothing else occurs in the format.
"""

MAX_DEPTH = 16


class CborError(ValueError):
    """Bytes that are not deterministic CBOR."""


def decode(data):
    """The one value that `data` consists of."""
    value, end = _value(data, 0, 0)
    if end != len(data):
        raise CborError("bytes follow the value")
    return value


def _head(data, at):
    """Major type, argument and the place behind them; refuses every form but the shortest."""
    if at >= len(data):
        raise CborError("it ends too early")
    major, short = data[at] >> 5, data[at] & 31
    at += 1
    if short < 24 or major == 7:
        return major, short, at
    if short > 27:
        raise CborError("a length is indefinite or reserved")
    size = 1 << (short - 24)
    raw = data[at : at + size]
    if len(raw) != size:
        raise CborError("it ends too early")
    number = int.from_bytes(raw, "big")
    if number < (24, 1 << 8, 1 << 16, 1 << 32)[short - 24]:
        raise CborError("a number is not in its shortest form")
    return major, number, at + size


def _value(data, at, depth):
    if depth > MAX_DEPTH:
        raise CborError("it is nested too deeply")
    major, number, at = _head(data, at)
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        if number > len(data) - at:
            raise CborError("a string is longer than the rest")
        raw = bytes(data[at : at + number])
        try:
            return raw if major == 2 else raw.decode("utf-8"), at + number
        except UnicodeDecodeError as error:
            raise CborError("a text is not UTF-8") from error
    if major == 4:
        return _array(data, at, number, depth)
    if major == 5:
        return _map(data, at, number, depth)
    if major == 7 and number in (20, 21):
        return number == 21, at
    raise CborError("a value is of a type that does not occur in the format")


def _array(data, at, count, depth):
    if count > len(data) - at:
        raise CborError("an array is longer than the rest")
    items = []
    for _ in range(count):
        item, at = _value(data, at, depth + 1)
        items.append(item)
    return items, at


def _map(data, at, count, depth):
    if 2 * count > len(data) - at:
        raise CborError("a map is longer than the rest")
    fields, last = {}, -1
    for _ in range(count):
        major, key, at = _head(data, at)
        if major != 0:
            raise CborError("a key of a map is no unsigned number")
        if key <= last:
            raise CborError("the keys of a map do not ascend")
        last = key
        fields[key], at = _value(data, at, depth + 1)
    return fields, at
