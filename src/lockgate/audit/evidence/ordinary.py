"""The short way to read what a log is full of: a request that was let through, and its outcome.

That there is no second way to write a leaf is seen by reading its JSON and writing it again, which is most of what a
leaf costs. But two leaves of one kind differ in few places: numbers, hashes, the session's id. What stands between
two places (a *passage*) comes again and again, so each spelling of it is judged once: it is put into a sample leaf
for the sample's own, and `parse_leaf` must take that for a leaf, with ordinary fields only, and find in every place
what was put there.

A leaf that consists of passages that were judged so, with a number, a hash or an id as JSON spells them in each
place, is a leaf to `parse_leaf`. JSON is read from left to right, and what its reader knows at the end of a passage
(how deep it is, what is open, whose value comes next) is the same in every leaf, because it is so in the sample.
Keys ascend within a passage and from place to place, so they ascend in the whole.

Nothing is refused here: of what is not read the short way, the long way has to say what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.leaf import LEAF_LIMIT, NO_PREVIOUS, parse_leaf

if TYPE_CHECKING:
    from mypy_extensions import i64

_KNOWN_LIMIT: Final = 4096        # spellings of one passage that are remembered
_DIGITS: Final = 15         # of a number that is surely below 2^53
_ID_LENGTH: Final = 128
_HASH_DIGITS: Final = 64
_SHORT_LIMIT: Final = 16          # bytes below which comparing one by one is faster than cutting out
_SPACE: Final = 32
_QUOTE: Final = 34
_ZERO: Final = 48
_NINE: Final = 57
_BACKSLASH: Final = 92
_TILDE: Final = 126
_IS_HEX: Final = bytes(1 if code in b"0123456789abcdef" else 0 for code in range(256))


class _Place(NamedTuple):
    """A sample's passage, the name of the place behind it (none at the end), and what the sample has there."""

    text: bytes
    name: str = ""
    filled: bytes = b""
    value: Any = None


def _number(text: bytes, name: str) -> _Place:
    return _Place(text, name, b"1", 1)


def _hash(text: bytes, name: str) -> _Place:
    return _Place(text, name, NO_PREVIOUS.encode(), NO_PREVIOUS)


def _id(text: bytes, name: str) -> _Place:
    return _Place(text, name, b"s", "s")


_REQUEST: Final = [
    _number(b'{"decision":"allow","index":', "index"),
    _hash(b',"kind":"k","node":"n","objects":[],"payload":{"commitment":"', "commitment"),
    _number(b'","size":', "size"),
    _hash(b'},"policy":"p","prev":"', "prev"),
    _id(b'","rules":[],"sid":"', "sid"),
    _number(b'","sseq":', "sseq"),
    _number(b',"time":', "time"),
    _Place(b',"type":"intent","v":1,"verbs":[]}'),
]
_OUTCOME: Final = [
    _number(b'{"duration":', "duration"),
    _number(b',"index":', "index"),
    _hash(b',"masked":{},"node":"n","prev":"', "prev"),
    _number(b'","record":', "record"),
    _number(b',"rows":', "rows"),
    _number(b',"sent":', "sent"),
    _id(b',"sid":"', "sid"),
    _number(b'","sseq":', "sseq"),
    _number(b',"status":"s","time":', "time"),
    _Place(b',"type":"outcome","v":1}'),
]
_REQUEST_FIELDS: Final = frozenset({
    "decision", "index", "kind", "mask", "node", "objects", "objects_more", "payload", "policy", "prev", "rules", "rules_more",
    "sid", "sseq", "time", "type", "v", "verbs", "verbs_more",
})
_OUTCOME_FIELDS: Final = frozenset({
    "code", "duration", "index", "masked", "node", "prev", "reason", "record", "rows", "sent", "sid", "sseq", "status", "time",
    "type", "v",
})


def _is_ordinary(leaf: bytes, places: list[_Place]) -> bool:
    """Whether a sample is a leaf that has ordinary fields only, and in every place what was put there."""
    try:
        record = parse_leaf(leaf)
    except EvidenceError:
        return False
    if places is _REQUEST:
        if record["type"] != "intent" or record.get("decision") != "allow" or not _REQUEST_FIELDS.issuperset(record):
            return False
        if set(record["payload"]) != {"commitment", "size"}:
            return False
        record.update(record["payload"])
    elif record["type"] != "outcome" or not _OUTCOME_FIELDS.issuperset(record):
        return False
    return all(record[place.name] == place.value for place in places if place.name)


class Passage:
    """What stands before one place, in every spelling that was met."""

    __slots__ = ("_after", "_before", "_known", "_mark", "_places", "last")

    def __init__(self, places: list[_Place], number: int) -> None:
        own = places[number]
        self._places = places
        self._before = b"".join([place.text + place.filled for place in places[:number]])
        self._after = own.filled + b"".join([place.text + place.filled for place in places[number + 1:]])
        self._mark = own.text[own.text.rindex(b'"' + own.name.encode() + b'"'):] if own.name else b""
        self._known: dict[bytes, bool] = {own.text: True}
        self.last = own.text
        """The spelling that was met last."""

    def other(self, leaf: bytes, at: int, found: bytes) -> int:
        """Where the passage ends that begins at `at`, in whatever spelling; -1 where there is none. `found` is what stands
        there, as long as the last spelling was.
        """
        if self._known.get(found):
            self.last = found
            return at + len(found)
        end = len(leaf)
        if self._mark:
            begin = leaf.find(self._mark, at)
            if begin < 0:
                return -1
            end = begin + len(self._mark)
        text = leaf[at:end]
        known = self._known.get(text)
        if known is None:
            known = _is_ordinary(self._before + text + self._after, self._places)
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            self._known[text] = known
        if not known:
            return -1
        self.last = text
        return end


class OrdinaryLeaf:
    """The fields of the ordinary leaf that was read last."""

    def __init__(self) -> None:
        self.is_request = False
        self.index: i64 = 0
        self.number: i64 = 0
        """In its session."""
        self.time: i64 = 0
        """Unix milliseconds."""
        self.record: i64 = 0
        """The number of the request that an outcome settles."""
        self.size: i64 = 0
        """Bytes of a request's payload."""
        self.sid = b""
        self.prev = b""
        """Not looked at: whoever takes the leaf compares it with a hash."""
        self._leaf = b""
        self._commitment: i64 = 0       # where it begins
        self._value: i64 = 0
        self._request = [Passage(_REQUEST, number) for number in range(len(_REQUEST))]
        self._outcome = [Passage(_OUTCOME, number) for number in range(len(_OUTCOME))]

    @property
    def commitment(self) -> bytes:
        """That of a request to its payload, in hexadecimal."""
        return self._leaf[self._commitment:self._commitment + _HASH_DIGITS]

    def read(self, leaf: bytes) -> bool:
        """Whether a leaf is a request or an outcome that is ordinary, but for `prev`."""
        if len(leaf) > LEAF_LIMIT:
            return False
        if leaf.startswith(b'{"decision":'):
            return self._read_request(leaf)
        if leaf.startswith(b'{"duration":'):
            return self._read_outcome(leaf)
        return leaf.startswith(b'{"code":') and self._read_outcome(leaf)

    def _read_request(self, leaf: bytes) -> bool:
        passages = self._request
        at: i64 = self._counted(leaf, self._passed(leaf, 0, passages[0]))
        self.index = self._value
        at = self._passed(leaf, at, passages[1])
        self._commitment = at
        end: i64 = self._hashed(leaf, at)
        at = self._counted(leaf, self._passed(leaf, end, passages[2]))
        self.size = self._value
        at = self._passed(leaf, at, passages[3])
        if at < 0:
            return False
        end = at + _HASH_DIGITS
        self.prev = leaf[at:end]
        at = self._passed(leaf, end, passages[4])
        end = self._named(leaf, at)
        if end < 0:
            return False
        self.sid = leaf[at:end]
        at = self._counted(leaf, self._passed(leaf, end, passages[5]))
        self.number = self._value
        at = self._counted(leaf, self._passed(leaf, at, passages[6]))
        self.time = self._value
        self.is_request = True
        self._leaf = leaf
        return self._passed(leaf, at, passages[7]) == len(leaf)

    def _read_outcome(self, leaf: bytes) -> bool:
        passages = self._outcome
        at: i64 = self._counted(leaf, self._passed(leaf, 0, passages[0]))
        at = self._counted(leaf, self._passed(leaf, at, passages[1]))
        self.index = self._value
        at = self._passed(leaf, at, passages[2])
        if at < 0:
            return False
        end: i64 = at + _HASH_DIGITS
        self.prev = leaf[at:end]
        at = self._counted(leaf, self._passed(leaf, end, passages[3]))
        self.record = self._value
        at = self._counted(leaf, self._passed(leaf, at, passages[4]))
        at = self._counted(leaf, self._passed(leaf, at, passages[5]))
        at = self._passed(leaf, at, passages[6])
        end = self._named(leaf, at)
        if end < 0:
            return False
        self.sid = leaf[at:end]
        at = self._counted(leaf, self._passed(leaf, end, passages[7]))
        self.number = self._value
        at = self._counted(leaf, self._passed(leaf, at, passages[8]))
        self.time = self._value
        self.is_request = False
        return self._passed(leaf, at, passages[9]) == len(leaf)

    # Each of these is told where something begins, and says where it ends: -1 where it is not there, and behind -1.

    def _passed(self, leaf: bytes, at: i64, passage: Passage) -> i64:
        """A passage."""
        if at < 0:
            return -1
        text = passage.last
        length: i64 = len(text)
        end: i64 = at + length
        if length < _SHORT_LIMIT and end <= len(leaf):
            place: i64 = 0
            while place < length and leaf[at + place] == text[place]:
                place += 1
            if place == length:
                return end
        found = leaf[at:end]
        return end if found == text else passage.other(leaf, at, found)

    def _counted(self, leaf: bytes, at: i64) -> i64:
        """A whole number that is not negative; `_value` is it then."""
        if at < 0:
            return -1
        end: i64 = at
        stop: i64 = len(leaf)
        value: i64 = 0
        while end < stop:
            digit: i64 = leaf[end]
            if digit < _ZERO or digit > _NINE:
                break
            value = value * 10 + digit - _ZERO
            end += 1
            if end - at > _DIGITS:
                return -1
        if end == at or (end > at + 1 and leaf[at] == _ZERO):
            return -1
        self._value = value
        return end

    def _hashed(self, leaf: bytes, at: i64) -> i64:
        """64 lower-case hexadecimal digits."""
        end: i64 = at + _HASH_DIGITS
        if at < 0 or end > len(leaf):
            return -1
        is_hex = _IS_HEX
        place: i64 = at
        while place < end:
            code: i64 = leaf[place]
            if is_hex[code] == 0:
                return -1
            place += 1
        return end

    def _named(self, leaf: bytes, at: i64) -> i64:
        """An id that JSON spells as it is."""
        if at < 0:
            return -1
        end: i64 = at
        stop: i64 = len(leaf)
        while end < stop:
            code: i64 = leaf[end]
            if code == _QUOTE:
                break
            if code <= _SPACE or code > _TILDE or code == _BACKSLASH:
                return -1
            end += 1
        return end if at < end <= at + _ID_LENGTH else -1


def plain_id(name: str) -> bytes | None:
    """An id as it stands in a leaf, where JSON spells it as it is; else None."""
    return None if '"' in name or "\\" in name else name.encode()
