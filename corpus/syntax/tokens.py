"""Cut source bytes into identifiers, punctuation and line ends, as 64-bit hashes, in whole-array steps.

Knows no language: strings, comments and numbers are cut like all else. Keeps no text, so nothing can be
read back out of an index, and a string and an identifier of the same letters are the same token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

PIECE = 1 << 16  # bytes hashed at once: the working set stays in the processor's cache, the power table small
SEPARATOR = b"\1"  # between texts that are cut together: a mark, so no word and no run of blank lines goes on behind it

SPACE, MARK, LINE_END, DIGIT, LETTER = range(5)  # a word is of digits and letters
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_$"
_DIGITS = b"0123456789"
_LINE_FEED = 10


def _classes() -> bytes:
    """The class of every byte."""
    classes = bytearray([MARK]) * 0x80 + bytearray([LETTER]) * 0x80
    for members, own in ((b" \t\r\f\v\0", SPACE), (b"\n", LINE_END), (_DIGITS, DIGIT), (_LETTERS, LETTER)):
        for code in members:
            classes[code] = own
    return bytes(classes)


_CLASSES = _classes()

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def _powers(base: int, count: int) -> U64:
    """`base**0 … base**(count - 1)` modulo 2**64."""
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


_UP = _powers(_BASE, PIECE)
_DOWN = _powers(pow(_BASE, -1, 1 << 64), PIECE)


@dataclass(frozen=True, slots=True)
class Tokens:
    """`hashes` uint64 [n] and `names` bool [n]: whether the token could be a completion (a word, no number)."""

    hashes: U64
    names: Bools

    def ids(self) -> U32:
        """uint32 [n]: 31 bits of hash, the lowest bit set for names. What the workspace's counts are made of."""
        return name_ids(self.hashes) ^ (~self.names).astype(np.uint32)


def tokenize(data: bytes) -> Tokens:
    """The tokens of `data`. A run of blank lines counts as one line end."""
    parts: list[Tokens] = []
    start = 0
    while start < len(data):
        end = _piece_end(data, start)
        piece = data[start:end]
        first, last, names = _spans(piece)
        parts.append(Tokens(_hash_spans(np.frombuffer(piece, np.uint8), first, last), names))
        start = end
    return _joined(parts)


class Names(NamedTuple):
    """Where a text's names stand: int64 [m] offsets of its bytes."""

    first: I64  # where each starts
    last: I64  # where it ends
    before: U8  # the byte before it

    def of(self, which: slice | Bools) -> Names:
        """Those of them."""
        return Names(self.first[which], self.last[which], self.before[which])


@dataclass(frozen=True, slots=True)
class Cut:
    """Texts cut together."""

    hashes: U64  # [n] of all tokens, and of what stands between the texts
    tokens: Sequence[slice]  # of each text, its part of `hashes`
    names: Sequence[Names]  # of each text


def cut(texts: Sequence[bytes]) -> Cut:
    """The tokens of each text, and where its names stand. A megabyte at once is quickest: small arrays cost by the call."""
    joined = SEPARATOR.join([*texts, b""])
    first, last, named = _spans(joined)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths + 1) - 1
    separators = np.searchsorted(first, ends)
    names = np.flatnonzero(named)
    bounds = np.searchsorted(names, separators)
    starts = first[names]
    shift = np.repeat(ends - lengths, np.diff(bounds, prepend=0))
    before = np.frombuffer(joined, np.uint8)[np.maximum(starts - 1, 0)]
    all_names = Names(starts - shift, last[names] - shift, before)
    return Cut(
        hashes=_hash_pieces(joined, first, last),
        tokens=_slices(separators, 1),
        names=[all_names.of(own) for own in _slices(bounds, 0)],
    )


def _slices(ends: I64, between: int) -> list[slice]:
    """Stretches that end there, so many apart."""
    found = ends.tolist()
    return [slice(start, end) for start, end in zip([0, *(end + between for end in found)], found, strict=False)]


@final
class BlockTokenizer:
    """`tokenize` for a text that is edited a little between calls: blocks seen in the last two calls are kept.

    Blocks end where the bytes around a line end say so, so an edit changes the blocks that it touches and no others.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, Tokens] = {}
        self._older: dict[bytes, Tokens] = {}

    def __call__(self, data: bytes) -> Tokens:
        kept: dict[bytes, Tokens] = {}
        parts: list[Tokens] = []
        start = 0
        for end in [*_block_ends(data).tolist(), len(data)]:
            block = data[start:end]
            tokens = kept.get(block) or self._kept.get(block) or self._older.get(block) or tokenize(block)
            kept[block] = tokens
            parts.append(tokens)
            start = end
        self._older, self._kept = self._kept, kept
        return _joined(parts)


def _block_ends(data: bytes) -> I64:
    """Offsets after the line ends that end a block: some one in 32, by the eight bytes that stand before."""
    codes = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(codes[8:] == _LINE_FEED) + 8
    window = np.zeros(len(at), np.uint64)
    for back in range(1, 9):
        window = (window << np.uint64(8)) | codes[at - back]
    return at[mix(window) < np.uint64(1 << 59)] + 1


def _joined(parts: Sequence[Tokens]) -> Tokens:
    """Pieces that were cut at line ends, as one: a line end that follows another is left out."""
    hashes: list[U64] = []
    names: list[Bools] = []
    after_line_end = False
    for part in parts:
        if not len(part.hashes):
            continue
        skip = int(after_line_end and part.hashes[0] == LINE_END_HASH)
        hashes.append(part.hashes[skip:])
        names.append(part.names[skip:])
        after_line_end = bool(part.hashes[-1] == LINE_END_HASH)
    if not hashes:
        return Tokens(np.zeros(0, np.uint64), np.zeros(0, np.bool_))
    return Tokens(np.concatenate(hashes), np.concatenate(names))


def hash_names(names: Sequence[str]) -> U64:
    """uint64 [n]: the hash that each name has as a token of a file. A name longer than a piece hashes its start."""
    encoded = [name.encode("utf-8", "surrogatepass")[:PIECE] for name in names]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    ends = np.cumsum(lengths)
    hashes = np.empty(len(encoded), np.uint64)
    joined = np.frombuffer(b"".join(encoded), np.uint8)
    first = 0
    while first < len(encoded):
        offset = int(ends[first] - lengths[first])
        last = max(first + 1, int(np.searchsorted(ends, offset + PIECE, side="right")))
        piece = joined[offset : int(ends[last - 1])]
        local = ends[first:last] - offset
        hashes[first:last] = _hash_spans(piece, local - lengths[first:last], local)
        first = last
    return hashes


def name_ids(hashes: U64) -> U32:
    """uint32 [n]: the ids that names with these hashes have in the workspace's counts."""
    return (hashes >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


def mix(values: U64) -> U64:
    """The finaliser of splitmix64: every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))


def _piece_end(data: bytes, start: int) -> int:
    """Where the piece from `start` ends: at a line end, so that no token is split (a 64 kB line may be)."""
    if len(data) - start <= PIECE:
        return len(data)
    end = data.rfind(b"\n", start, start + PIECE) + 1
    return end or start + PIECE


def _spans(data: bytes) -> tuple[I64, I64, Bools]:
    """Where each token starts and ends, and whether it is a name: a word, no number. A run of blank lines is one line end."""
    kinds = np.frombuffer(data.translate(_CLASSES), np.uint8)
    word = kinds >= DIGIT
    starts = kinds != SPACE
    ends = starts.copy()
    inner = word[1:] & word[:-1]
    starts[1:] &= ~inner
    ends[:-1] &= ~inner
    first, last = np.flatnonzero(starts), np.flatnonzero(ends) + 1
    opening = kinds[first]
    line_end = opening == LINE_END
    single = ~line_end
    single[1:] |= ~line_end[:-1]
    single[:1] = True
    kept = np.flatnonzero(single)
    return first[kept], last[kept], opening[kept] == LETTER


def _hash_pieces(data: bytes, first: I64, last: I64) -> U64:
    """`_hash_spans` of a text that may be longer than a piece."""
    parts: list[U64] = []
    start = 0
    while start < len(data):
        end = _piece_end(data, start)
        begin, until = np.searchsorted(first, [start, end])
        codes = np.frombuffer(data, np.uint8, end - start, start)
        parts.append(_hash_spans(codes, first[begin:until] - start, np.minimum(last[begin:until], end) - start))
        start = end
    return np.concatenate(parts)


def _hash_spans(codes: U8, starts: I64, ends: I64) -> U64:
    """Polynomial hashes of `codes[start:end]`, from differences of prefix sums shifted back to power zero."""
    terms = codes.astype(np.uint64)
    terms += np.uint64(1)
    terms *= _UP[: len(codes)]
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(terms, out=sums[1:])
    down = _DOWN[np.minimum(starts, PIECE - 1)]  # an empty last name starts behind the piece
    return mix((sums[ends] - sums[starts]) * down)


LINE_END_HASH = hash_names(["\n"])[0]
