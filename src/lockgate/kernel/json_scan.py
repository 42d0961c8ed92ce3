"""JSON as it passes: which values of a document go, without ever holding the document.

Apart from `rows`, whose fields say their lengths: here every byte is read, as strictly as RFC 8259 has it, and what does
not go is copied as it stands (numbers of any precision, spaces, order, equal names). A state machine that may stop
and go on at any byte; every split of a document gives the same output. UTF-8 is its caller's to check. Plain typed Python
that mypyc compiles; compiled and interpreted it behaves the same.

What goes is decided by an automaton over names and indexes, which its owner makes as it is needed (`Rules`), and by
looking at strings and numbers that a search of the raw bytes has pointed at.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from lockgate.kernel.json_rules import LOOK_KEY, LOOK_TEXT, JsonTooDeep, Rules
from lockgate.kernel.json_tokens import MINUS, WHOLE, ZERO, number_after, number_end, plain_end, string_end

DEEPEST: Final = 512
"""Objects and arrays inside each other."""

_VALUE: Final = 0
_FIRST: Final = 1           # a value or the end of an array
_FIRST_KEY: Final = 2       # a name or the end of an object
_KEY: Final = 3
_COLON: Final = 4
_AFTER: Final = 5           # a comma or the end
_DONE: Final = 6            # behind a document
_ROOT: Final = 7            # before one
_STRING: Final = 8
_ESCAPE: Final = 9
_HEX: Final = 10
_WORD: Final = 11
_BROKEN: Final = -1

_NO: Final = 0
_MAYBE: Final = 1           # a string that may be a document: held until it is whole
_UNKNOWN: Final = 2         # nothing of the string is there yet


class JsonScanner:
    """Reads documents in pieces and gives back what may go on. ValueError for what is no JSON, is nested deeper than
    `DEEPEST`, or has a string above `limit` bytes that must be seen whole; nothing is given back from then on.

    `many`: documents may follow each other, with white space or a record separator (RFC 7464) between them. `root` is
    the automaton's state for a whole document.
    """

    def __init__(self, rules: Rules, limit: int, many: bool, root: int = 0) -> None:
        self.rules = rules
        self.tables = rules.tables
        self.looks = rules.looks
        self.root: i64 = root
        self.limit: i64 = limit
        self.many = many
        self.state: i64 = _ROOT
        self.counts: dict[int, int] = {}
        """How often each of what hides did so by what is fixed; its reader clears it."""
        self.stack: list[int] = []                  # (state of the automaton << 1) | whether it is an object
        self.is_object = False
        self.indexes: list[int] = []                # of the outer containers
        self.index: i64 = 0
        self.inner: i64 = 0                         # the automaton's state in the container that is open
        self.next: i64 = 0                          # and of the value that comes
        self.in_key = False
        self.kind: i64 = _NO
        self.is_plain = True                        # the string has no escape and is ASCII
        self.hex: i64 = 0
        self.word: bytes = b""
        self.word_at: i64 = 0
        self.hides: i64 = -1                        # what hides the value that is being read
        self.hide_depth: i64 = -1                   # the depth of the container that is hidden
        self.first: i64 = 0
        self.mark: i64 = -1                         # where what is held begins in the data
        self.pieces: list[bytes] = []
        self.held: i64 = 0
        self.is_lost = False
        self.key_start: i64 = -1                    # content of the last name: in the data, or kept
        self.key_end: i64 = -1
        self.key: bytes | None = None
        self.key_touched = False
        self.above: bytes | None = None
        self.above_depth: i64 = -1
        self.has_read = False
        self.out: list[bytes] = []
        self.done: i64 = 0
        self.hits: list[tuple[int, int]] = []
        self.hit: i64 = 0

    def feed(self, data: bytes, hits: list[tuple[int, int]]) -> bytes:
        """What may go on. `hits` are the spans of `data` that want a look, ascending."""
        if self.state == _BROKEN:
            raise ValueError("not JSON")
        state = self.state
        self.state = _BROKEN                        # unless the end is reached
        self.hits = hits
        self.hit = 0
        self.done = 0
        if self.mark >= 0:
            self.mark = 0
        if self.kind == _UNKNOWN and len(data) > 0:
            self._decide(data[0])
        self.state = self._read(data, state)
        self._keep_name(data)
        out = self.out
        if not out and self.done == 0 and self.mark < 0:
            return data
        if self.mark >= 0:
            out.append(data[self.done:self.mark])
            self._hold(data[self.mark:])
        else:
            out.append(data[self.done:])
        joined = b"".join(out)
        out.clear()
        return joined

    def finish(self) -> bytes:
        """The rest. ValueError where a document is not whole, or none came although something did."""
        if self.state == _ROOT and not self.has_read:
            return b""
        rest = self.feed(b"\n", [])
        if self.state != _DONE and not (self.many and self.state == _ROOT):
            self.state = _BROKEN
            raise ValueError("not JSON: it ends too early")
        self.state = _BROKEN
        return rest[:-1]

    def _keep_name(self, data: bytes) -> None:
        """The data goes, and its last name may still be needed; no search has seen it together with what comes."""
        if self.key is None and self.key_end >= 0:
            self.key = data[self.key_start:self.key_end]
        if self.key is not None and self.looks and (self.state == _COLON or self.state == _VALUE):
            self.key_touched = True
        self.key_start = -1
        self.key_end = -1

    def _read(self, data: bytes, state: i64) -> i64:
        """Reads on to the end of `data` in `state` → the state there."""
        at: i64 = 0
        size: i64 = len(data)
        if size > 0:
            self.has_read = True
        byte: i64 = 0
        end: i64 = 0
        quiet: i64 = self._next_hit(0, size)        # where the next hit begins
        while at < size:
            byte = data[at]
            # What is whole in the data and wants no look is nearly all there is: gone over without a note of it.
            if state == _AFTER and byte == 44:
                at += 1
                if self.is_object:
                    state = _KEY
                else:
                    state = _VALUE
                    self.index += 1
                    self._element()
                continue
            if (state == _KEY or state == _FIRST_KEY) and byte == 34:
                end = plain_end(data, at + 1, size)
                if 0 < end < quiet:
                    self._plain_key(data, at + 1, end)
                    state = _COLON
                    at = end + 1
                    continue
            elif state == _VALUE or state == _FIRST:
                if byte == 34:
                    end = self._passing(data, at, size)
                    if 0 < end <= quiet:
                        self._passed(data, at, end, byte)
                        state = _AFTER
                        at = end
                        continue
                elif byte == 45 or 48 <= byte <= 57:
                    end = number_end(data, at, size)
                    if 0 < end <= quiet and self._may_pass():
                        self._passed(data, at, end, byte)
                        state = _AFTER
                        at = end
                        continue
            if state == _STRING:
                while at < size:
                    byte = data[at]
                    if byte == 34 or byte == 92 or byte < 32:
                        break
                    if byte > 127:
                        self.is_plain = False
                    at += 1
                if at == size:
                    break
                at += 1
                if byte == 34:
                    if self.in_key:
                        self._key_end(data, at)
                        state = _COLON
                    else:
                        state = self._scalar_end(data, at)
                    quiet = self._next_hit(at, size)
                elif byte == 92:
                    self.is_plain = False
                    state = _ESCAPE
                else:
                    raise ValueError("not JSON: a control character in a string")
                continue
            if state >= MINUS:
                after = number_after(state, byte)
                if after >= 0:
                    state = after
                    at += 1
                elif after == -1:
                    raise ValueError("not JSON: a number that is none")
                else:
                    state = self._scalar_end(data, at)
                    quiet = self._next_hit(at, size)
                continue
            if state == _ESCAPE:
                if byte == 117:
                    self.hex = 4
                    state = _HEX
                elif (byte == 34 or byte == 92 or byte == 47 or byte == 98 or byte == 102 or byte == 110 or byte == 114
                      or byte == 116):
                    state = _STRING
                else:
                    raise ValueError("not JSON: an escape that is none")
                at += 1
                continue
            if state == _HEX:
                if not (48 <= byte <= 57 or 97 <= byte <= 102 or 65 <= byte <= 70):
                    raise ValueError("not JSON: an escape that is none")
                self.hex -= 1
                if self.hex == 0:
                    state = _STRING
                at += 1
                continue
            if state == _WORD:
                if byte != self.word[self.word_at]:
                    raise ValueError("not JSON")
                self.word_at += 1
                at += 1
                if self.word_at == len(self.word):
                    state = self._scalar_end(data, at)
                continue
            if byte == 32 or byte == 10 or byte == 13 or byte == 9:
                if state == _DONE and self.many:
                    state = _ROOT
                at += 1
                continue
            if state == _COLON:
                if byte != 58:
                    raise ValueError("not JSON: no colon behind a name")
                state = _VALUE
                at += 1
                continue
            if state == _AFTER:
                state = self._close(data, at, byte)
                at += 1
                continue
            if state == _KEY or state == _FIRST_KEY:
                if byte == 34:
                    self._key_begin(at)
                    state = _STRING
                elif state == _FIRST_KEY:
                    state = self._close(data, at, byte)
                else:
                    raise ValueError("not JSON: no name behind a comma")
                at += 1
                continue
            if state == _DONE and not (byte == 30 and self.many):
                raise ValueError("something follows a JSON document")
            if byte == 30 and self.many and (state == _DONE or state == _ROOT):
                state = _ROOT
                at += 1
                continue
            if state == _ROOT:
                self.next = self.root
            if byte == 34:
                self._scalar_begin(at, byte)
                state = _STRING
                if self.kind == _UNKNOWN and at + 1 < size:
                    self._decide(data[at + 1])
            elif byte == 123 or byte == 91:
                self._open(data, at, byte)
                state = _FIRST_KEY if byte == 123 else _FIRST
            elif byte == 93 and state == _FIRST:
                state = self._close(data, at, byte)
            else:
                state = self._begin_word(at, byte)
            at += 1
        return state

    # ------------------------------------------------------------ the quick way

    def _next_hit(self, start: i64, size: i64) -> i64:
        """Where the first hit begins that ends behind `start`; behind everything if there is none."""
        hits = self.hits
        count: i64 = len(hits)
        while self.hit < count:
            first, last = hits[self.hit]
            if last > start:
                return first
            self.hit += 1
        return -1 if self.rules.every else size + 1

    def _plain_key(self, data: bytes, start: i64, end: i64) -> None:
        """A name in ASCII without escapes, that wants no look."""
        if self.hide_depth >= 0:
            return
        tables = self.tables
        inner = self.inner
        if tables.alive[inner]:
            lengths: i64 = tables.lengths
            size = end - start
            if (lengths >> (size if size < 62 else 62)) & 1:
                name = data[start:end]
                found = tables.known[inner].get(name)
                self.next = self.rules.member(inner, name) if found is None else found
            else:
                self.next = tables.others[inner]
        else:
            self.next = inner
        if self.looks:
            self.key = None
            self.key_start = start
            self.key_end = end
            self.key_touched = False

    def _may_pass(self) -> bool:
        """Whether a value that no hit touches wants no look."""
        return self.hide_depth >= 0 or not self.looks or not (self.key_touched or self.above is not None)

    def _passing(self, data: bytes, at: i64, size: i64) -> i64:
        """The end of the string at `at`, if it is whole, without escapes, no document and wants no look; else -1."""
        if at + 1 >= size or not self._may_pass():
            return -1
        if self.hide_depth < 0 and self.tables.alive[self.next]:
            byte: i64 = data[at + 1]
            if (byte == 123 or byte == 91 or byte == 32) and self.tables.scalars[self.next] < 0:
                return -1
        return string_end(data, at + 1, size)

    def _passed(self, data: bytes, at: i64, end: i64, first: i64) -> None:
        """A string or number that is whole, of which nothing but what hides it counts."""
        if self.hide_depth >= 0:
            return
        hides: i64 = self.tables.scalars[self.next]
        if hides >= 0:
            self.hides = hides
            self.first = first
            self.mark = at
            self.held = 0
            self.is_lost = False
            self._replace(data, end)
        if self.looks:
            self._forget_key()

    def _open(self, data: bytes, at: i64, byte: i64) -> None:
        """An object or array begins."""
        tables = self.tables
        depth: i64 = len(self.stack)
        if depth >= DEEPEST:
            raise JsonTooDeep("JSON is nested too deeply")
        inner = self.next
        is_object: i64 = 1 if byte == 123 else 0
        if self.hide_depth < 0:
            found: i64 = tables.objects[inner] if is_object else tables.arrays[inner]
            if found >= 0:
                self.hides = found
                self.hide_depth = depth
                self.first = byte
                self.mark = at
                self.held = 0
                self.is_lost = False
            elif self.key_touched and self.above is None:
                name = self._name(data)
                if name is not None and self.rules.hides_below(name):
                    self.above = name
                    self.above_depth = depth
            if is_object:
                inner = tables.inside[inner]
        self.stack.append((inner << 1) | is_object)
        self.is_object = is_object == 1
        self.indexes.append(self.index)
        self.inner = inner
        self.index = 0
        self._forget_key()
        if not is_object:
            self._element()

    def _close(self, data: bytes, at: i64, byte: i64) -> i64:
        """The container that is open ends → the state behind it."""
        stack = self.stack
        if byte != (125 if self.is_object else 93):
            raise ValueError("not JSON")
        stack.pop()
        self.index = self.indexes.pop()
        depth: i64 = len(stack)
        if self.hide_depth == depth:
            self._replace(data, at + 1)
            self.hide_depth = -1
        if self.above_depth == depth:
            self.above = None
            self.above_depth = -1
        self._forget_key()
        if depth == 0:
            return _DONE
        outer: i64 = stack[-1]
        self.inner = outer >> 1
        self.is_object = (outer & 1) == 1
        return _AFTER

    def _element(self) -> None:
        """What holds for the next element of the array that is open."""
        if self.hide_depth >= 0:
            return
        found: i64 = self.tables.elements[self.inner]
        self.next = self.rules.element(self.inner, self.index) if found < 0 else found

    def _key_begin(self, at: i64) -> None:
        self.in_key = True
        self.is_plain = True
        self.key = None
        self.key_touched = False
        self.key_start = at + 1
        self.key_end = -1
        if self.hide_depth >= 0:
            return
        self.next = self.inner
        if self.looks or self.tables.alive[self.inner]:
            self.mark = at
            self.held = 0

    def _key_end(self, data: bytes, end: i64) -> None:
        """A name ends before `end`: what holds for its member, and whether the two want a look."""
        self.in_key = False
        if self.mark < 0 or self.hide_depth >= 0:
            return
        tables = self.tables
        inner = self.inner
        is_torn = len(self.pieces) > 0
        if is_torn:
            self.key = self._raw(data, end)[1:-1]
        else:
            self.key_end = end - 1
        if tables.alive[inner]:
            size: i64 = len(self.key) if self.key is not None else end - 1 - self.key_start
            mask: i64 = tables.lengths
            if not self.is_plain or (mask >> (size if size < 62 else 62)) & 1:
                name = self.key if self.key is not None else data[self.key_start:self.key_end]
                found = tables.known[inner].get(name)
                self.next = self.rules.member(inner, name) if found is None else found
            else:
                self.next = tables.others[inner]
        if self.looks and (self._is_touched(self.mark, end) or is_torn):
            self.key_touched = True
            self._looked_at(data, end, -1, LOOK_KEY, None, None)
        else:
            self._release(data)

    def _name(self, data: bytes) -> bytes | None:
        """The content of the last name, if the value that comes is a member."""
        if self.key is None and self.key_end >= 0:
            return data[self.key_start:self.key_end]
        return self.key

    def _forget_key(self) -> None:
        self.key = None
        self.key_start = -1
        self.key_end = -1
        self.key_touched = False

    # ------------------------------------------------------------ strings, numbers, words

    def _scalar_begin(self, at: i64, byte: i64) -> None:
        self.kind = _NO
        if self.hide_depth >= 0:
            return
        tables = self.tables
        self.hides = tables.scalars[self.next]
        self.first = byte
        self.is_lost = False
        self.held = 0
        if self.hides >= 0 or self.looks:
            self.mark = at
        if byte == 34 and self.hides < 0 and tables.alive[self.next]:
            self.kind = _UNKNOWN
            self.mark = at

    def _decide(self, byte: i64) -> None:
        """Whether the string that begins with `byte` may be a document: behind space, or an escape, it may."""
        if byte == 123 or byte == 91 or byte == 32 or byte == 92:
            self.kind = _MAYBE
            return
        self.kind = _NO
        if not self.looks:
            self.out += self.pieces
            self.pieces = []
            self.mark = -1

    def _begin_word(self, at: i64, byte: i64) -> i64:
        """A number or one of the three words begins."""
        self._scalar_begin(at, byte)
        if byte == 45:
            return MINUS
        if byte == 48:
            return ZERO
        if 49 <= byte <= 57:
            return WHOLE
        if byte != 116 and byte != 102 and byte != 110:
            raise ValueError("not JSON")
        self.word = b"true" if byte == 116 else b"false" if byte == 102 else b"null"
        self.word_at = 1
        return _WORD

    def _scalar_end(self, data: bytes, end: i64) -> i64:
        """A string, number or word ends before `end` → the state behind it."""
        if self.hide_depth < 0 and self.mark >= 0:
            if self.hides >= 0:
                self._replace(data, end)
            else:
                touched = False
                if self.looks:
                    touched = (self.first == 34 or self.first < 97) and (
                        self._is_touched(self.mark, end) or self.key_touched or self.above is not None)
                if touched or self.kind == _MAYBE:
                    self._looked_at(data, end, self.next, LOOK_TEXT if self.kind == _MAYBE else 0, self._name(data), self.above)
                else:
                    self._release(data)
        self.kind = _NO
        self._forget_key()
        return _AFTER if len(self.stack) > 0 else _DONE

    # ------------------------------------------------------------ what is held

    def _is_touched(self, start: i64, end: i64) -> bool:
        """Whether a hit shares a byte with `data[start:end]`, or the token began in earlier data."""
        return len(self.pieces) > 0 or self._next_hit(start, end) < end

    def _raw(self, data: bytes, end: i64) -> bytes:
        """What is held, up to `end`."""
        if len(self.pieces) == 0:
            return data[self.mark:end]
        return b"".join(self.pieces) + data[:end]

    def _looked_at(self, data: bytes, end: i64, state: i64, kind: i64, name: bytes | None, above: bytes | None) -> None:
        raw = self._raw(data, end)
        new = self.rules.look(raw, state, kind, name, above)
        if new is raw:
            self._release(data)
        else:
            self._put(data, end, new)

    def _replace(self, data: bytes, end: i64) -> None:
        """The value that is held is hidden."""
        first = self.first
        kind: i64 = 0 if first == 34 or first == 123 or first == 91 else 1 if first < 58 else 3 if first == 110 else 2
        fixed = self.tables.fixed[4 * self.hides + kind]
        if len(fixed) > 0 and not self.rules.every:
            hides: int = self.hides
            self.counts[hides] = self.counts.get(hides, 0) + 1
            self._put(data, end, fixed)
            return
        raw = None if self.is_lost or self.held + end - self.mark > self.limit else self._raw(data, end)
        self._put(data, end, self.rules.hide(self.hides, self.first, raw))

    def _put(self, data: bytes, end: i64, new: bytes) -> None:
        """`new` in the place of what is held up to `end`."""
        self.out.append(data[self.done:self.mark])
        self.out.append(new)
        self.done = end
        self.pieces = []
        self.held = 0
        self.mark = -1

    def _release(self, data: bytes) -> None:
        """What is held goes on as it is."""
        if len(self.pieces) > 0:
            self.out += self.pieces
            self.pieces = []
        self.held = 0
        self.mark = -1

    def _hold(self, piece: bytes) -> None:
        """The end of the data lies inside what must be seen whole, or hidden."""
        self.held += len(piece)
        if self.held <= self.limit:
            if not self.is_lost:
                self.pieces.append(piece)
        elif self.hide_depth >= 0 or (self.hides >= 0 and not self.in_key):
            self.is_lost = True
            self.pieces = []
        else:
            self.state = _BROKEN
            raise JsonTooDeep("a string of the JSON document is too long to be looked at")
