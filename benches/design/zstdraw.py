"""The C interface of zstd as python-zstandard ships it: prefixes, and every parameter, as the engine uses them.

python-zstandard's own classes offer a base only as a dictionary, which zstd treats differently from a prefix.
"""
import time
from zstandard import _cffi

ffi, lib = _cffi.ffi, _cffi.lib
VERSION = ffi.string(lib.ZSTD_versionString()).decode()
STRATEGIES = dict(fast=1, dfast=2, greedy=3, lazy=4, lazy2=5, btlazy2=6, btopt=7, btultra=8, btultra2=9)


def checked(code):
    if lib.ZSTD_isError(code):
        raise RuntimeError(ffi.string(lib.ZSTD_getErrorName(code)).decode())
    return code


def window_log(length):
    """The least window that covers so many bytes."""
    return max(10, (length - 1).bit_length())


class Packer:
    """One compression context. `cpu` adds up the seconds of processor time that compressing took.

    Parameters carry zstd's own names; `window='both'` (the default with a base) covers base and plaintext.
    """

    def __init__(self, level, **parameters):
        self.context = ffi.gc(lib.ZSTD_createCCtx(), lib.ZSTD_freeCCtx)
        self.magicless = parameters.pop('magicless', False)
        self.window = parameters.pop('window', 'both')
        self.header = parameters.pop('header', None)
        self.cpu, self.room = 0.0, ffi.new('char[]', 1 << 20)
        self.set('compressionLevel', level)
        self.set('contentSizeFlag', parameters.pop('contentSizeFlag', 1))
        self.set('dictIDFlag', 0)
        if self.magicless:
            checked(lib.ZSTD_CCtx_setParameter(self.context, lib.ZSTD_c_format, 1))
        dictionary = parameters.pop('dictionary', None)
        for name, value in parameters.items():
            self.set(name, value)
        if dictionary is not None:
            checked(lib.ZSTD_CCtx_loadDictionary(self.context, dictionary, len(dictionary)))

    def set(self, name, value):
        value = STRATEGIES[value] if name == 'strategy' else int(value)
        checked(lib.ZSTD_CCtx_setParameter(self.context, getattr(lib, 'ZSTD_c_' + name), value))

    def pack(self, plain, base=None):
        """The frame of `plain`; with a base, one that rests on it."""
        bound = lib.ZSTD_compressBound(len(plain))
        if bound > len(self.room):
            self.room = ffi.new('char[]', bound)
        source = ffi.from_buffer(plain)
        began = time.thread_time()
        if base is not None:
            if self.window == 'both':
                self.set('windowLog', window_log(len(plain) + len(base)))
            elif self.window != 'level':
                self.set('windowLog', self.window)
            if self.header is None:
                below = ffi.from_buffer(base)
                checked(lib.ZSTD_CCtx_refPrefix(self.context, below, len(base)))
            else:
                below = self.header + base
                checked(lib.ZSTD_CCtx_loadDictionary(self.context, below, len(below)))
        length = checked(lib.ZSTD_compress2(self.context, self.room, len(self.room), source, len(plain)))
        self.cpu += time.thread_time() - began
        return ffi.buffer(self.room, length)[:]


class Unpacker:
    """One decompression context, with its processor time."""

    def __init__(self, header=None, magicless=False):
        self.context = ffi.gc(lib.ZSTD_createDCtx(), lib.ZSTD_freeDCtx)
        self.header, self.cpu = header, 0.0
        if magicless:
            checked(lib.ZSTD_DCtx_setParameter(self.context, lib.ZSTD_d_format, 1))

    def unpack(self, frame, length, base=None):
        out = bytearray(length)
        room, source = ffi.from_buffer(out), ffi.from_buffer(frame)
        began = time.thread_time()
        if base is not None and self.header is not None:
            below = self.header + bytes(base)
            checked(lib.ZSTD_DCtx_loadDictionary(self.context, below, len(below)))
        elif base is not None:
            below = ffi.from_buffer(base)
            checked(lib.ZSTD_DCtx_refPrefix(self.context, below, len(base)))
        got = checked(lib.ZSTD_decompressDCtx(self.context, room, length, source, len(frame)))
        self.cpu += time.thread_time() - began
        if got != length:
            raise RuntimeError(f'{got} bytes instead of {length}')
        return out


class PagePacker:
    """Deltas of changed pages alone: a bitmap of them, then a frame of their bytes on the same pages of the base.

    Its processor time holds the comparing and copying of pages too, in Python.
    """

    def __init__(self, level, unit=4096, **parameters):
        self.packer, self.unit, self.cpu = Packer(level, **parameters), unit, 0.0

    def pack(self, plain, base):
        began, unit = time.thread_time(), self.unit
        places = [at for at in range(0, len(plain), unit) if plain[at:at + unit] != base[at:at + unit]]
        bits = bytearray(-(-len(plain) // unit) // 8 + 1)
        for at in places:
            bits[at // unit // 8] |= 1 << at // unit % 8
        below = b''.join([base[at:at + unit] for at in places])
        frame = self.packer.pack(b''.join([plain[at:at + unit] for at in places]), below or None)
        self.cpu += time.thread_time() - began
        return bytes(bits) + frame


class PageUnpacker:
    """The other way. Its processor time is that of the whole, in Python."""

    def __init__(self, unit=4096):
        self.unpacker, self.unit, self.whole = Unpacker(), unit, 0.0

    @property
    def cpu(self):
        return self.unpacker.cpu + self.whole

    def unpack(self, frame, length, base=None):
        if base is None:
            return self.unpacker.unpack(frame, length)
        began, before, unit = time.thread_time(), self.unpacker.cpu, self.unit
        head = -(-length // unit) // 8 + 1
        places = [bit * unit for bit in range(head * 8) if frame[bit // 8] >> bit % 8 & 1]
        out = bytearray(base[:length]).ljust(length, b'\0')
        below = b''.join([base[at:at + unit] for at in places])
        lengths = [min(unit, length - at) for at in places]
        new, taken = self.unpacker.unpack(frame[head:], sum(lengths), below or None), 0
        for at, count in zip(places, lengths):
            out[at:at + count] = new[taken:taken + count]
            taken += count
        self.whole += time.thread_time() - began - (self.unpacker.cpu - before)
        return out
