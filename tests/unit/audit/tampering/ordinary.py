"""Leaves that are ordinary and leaves that are nearly so, and what the verifier's short ways make of them.

The short ways refuse nothing, so whether one was taken shows in no report: these calls show it.
"""

from __future__ import annotations

import re
from typing import Any

from lockgate.audit.entry import canonical
from lockgate.audit.tree import leaf_hash
from tests.unit.audit.tampering.parts import PARTS, Space, part

__all__ = ["NOT_ORDINARY", "OUTCOME", "PARTS", "REQUEST", "VARIANTS"]

PREV = "0123456789abcdef" * 4
REQUEST: dict[str, Any] = {
    "decision": "allow", "index": 23, "kind": "query", "node": "f81ded1de08aef17", "objects": ["public.customers"],
    "payload": {"commitment": "ab" * 32, "size": 221}, "policy": "cd" * 32, "prev": PREV, "rules": ["reach"], "sid": "s1",
    "sseq": 7, "time": 1_795_746_159_209, "type": "intent", "v": 1, "verbs": ["select"],
}
OUTCOME: dict[str, Any] = {
    "duration": 1500, "index": 24, "masked": {"email": 2}, "node": "f81ded1de08aef17", "prev": PREV, "record": 7, "rows": 1,
    "sent": 90, "sid": "s1", "sseq": 8, "status": "ok", "time": 1_795_746_159_210, "type": "outcome", "v": 1,
}
VARIANTS: list[dict[str, Any]] = [
    REQUEST, OUTCOME, {**REQUEST, "mask": "m"}, {**REQUEST, "objects": [], "objects_more": 3}, {**REQUEST, "objects": ["ü", 'a"b\\c']},
    {**REQUEST, "rules": [], "rules_more": 1}, {**REQUEST, "verbs": [], "verbs_more": 1}, {**OUTCOME, "code": "42601", "status": "error"},
    {**OUTCOME, "masked": {}}, {**OUTCOME, "reason": "lost", "status": "unknown"}, {**OUTCOME, "masked": {"prev": 1, "time": 2, "index": 3}},
    {**REQUEST, "index": 0, "sseq": 10**14}, {**REQUEST, "sid": "!~" * 64},
]
NOT_ORDINARY: list[dict[str, Any]] = [
    {**REQUEST, "decision": "deny"}, {**REQUEST, "refusal": "no"}, {**REQUEST, "ticket": "T"}, {**REQUEST, "binding": "b"},
    {**REQUEST, "clock": 5}, {**OUTCOME, "clock": 5}, {**REQUEST, "payload": {**REQUEST["payload"], "kept": False}},
    {**REQUEST, "v": 2}, {**REQUEST, "type": "outcome"}, {**OUTCOME, "payload": REQUEST["payload"]}, {**OUTCOME, "rows": -1},
    {**REQUEST, "sid": 'a"b'}, {**REQUEST, "sid": "a\\b"}, {**REQUEST, "sid": ""}, {**REQUEST, "sid": "s" * 129},
    {**REQUEST, "sseq": 10**15}, {**REQUEST, "objects": ["x" * 4096]}, {**OUTCOME, "root": "0" * 64}, {**OUTCOME, "extra": 1},
    {**REQUEST, "payload": {"commitment": "AB" * 32, "size": 1}}, {**REQUEST, "prev": "0" * 63}, {"v": 1}, {},
]
_NUMBERS = re.compile(rb'"(?:duration|index|record|rows|sent|size|sseq|time)":(\d+)')


def _near(leaf: bytes) -> list[bytes]:
    """A leaf and some that differ from it in one place."""
    found = [leaf, *(leaf[:end] for end in range(0, len(leaf), 40)), leaf[:-1], leaf + b" ", leaf.replace(b'"s1"', b'"s 1"'),
             leaf.replace(b'"s1"', b'"s\x7f1"'), leaf.replace(b'"s1"', b'"s\\u0031"'), leaf.replace(b'"v":1', b'"v":1.0')]
    for number in _NUMBERS.finditer(leaf):
        for text in (b"0", b"00", b"01", b"9", b"-1", b"1.0", b"", b"9" * 15, b"1" + b"0" * 15, b"/", b":"):
            found.append(leaf[:number.start(1)] + text + leaf[number.end(1):])
    for at, code in ((leaf.find(b"abab"), b"A"), (leaf.find(b"abab"), b"`"), (leaf.find(b"abab") + 63, b"g"), (leaf.find(b"abab") + 31, b'"')):
        found.append(leaf[:at] + code + leaf[at + 1:])
    return found


@part
def ordinary_leaves(space: Space) -> object:
    """Which leaves are read the short way, and as what: by a reader that met all before it, and by one that met none."""
    reader, found = space["OrdinaryLeaf"](), list[object]()
    for leaf in map(canonical, VARIANTS + NOT_ORDINARY):
        for near in (_near(leaf) if leaf.startswith((b'{"decision":"allow"', b'{"duration"', b'{"code"')) else [leaf]):
            if reader.read(near):
                found.append((reader.is_request, reader.index, reader.number, reader.time, reader.sid, reader.prev))
                found.append((reader.size, reader.commitment) if reader.is_request else reader.record)
            else:
                found.append(near)
        found.append(space["OrdinaryLeaf"]().read(leaf))
    return [*found, [space["plain_id"](name) for name in ("s", 's"', "s\\", "~")]]


@part
def passages(space: Space) -> object:
    """Where a passage ends, in this spelling and that, and what a sample must be."""
    found: list[object] = []
    for places in (space["_REQUEST"], space["_OUTCOME"]):
        for number, place in enumerate(places):
            passage = space["Passage"](places, number)
            text = b"??" + place.text
            found += [passage.last, passage.other(text, 2, b""), passage.other(text, 2, place.text), passage.other(text, 3, b""),
                      passage.other(text + b"1", 2, b""), passage.other(b"??", 2, b"x"), passage.last, place.text + place.filled]
        sample = b"".join([place.text + place.filled for place in places])
        found += [space["_is_ordinary"](one, places) for one in (
            sample, sample[:-1], sample.replace(b'"intent"', b'"outcome"'), sample.replace(b"allow", b"deny"), sample.replace(b':1,"kind', b':2,"kind'),
            sample.replace(b',"v":1', b',"v":1,"x":1'), sample.replace(b'{"commitment"', b'{"a":1,"commitment"'), sample.replace(b'"s"', b'"t"'))]
    passage = space["Passage"](space["_REQUEST"], 1)
    texts = [passage.last.replace(b"[]", b'["%d"]' % number) for number in range(4)]
    return [*found, *(passage.other(text * 2, 0, text[:5]) for text in texts * 2)]


@part
def followed(space: Space) -> object:
    """Which records a ledger takes the short way, where it takes them, and what it is afterwards."""
    def leaf(known: dict[str, Any], **fields: Any) -> bytes:
        return canonical({**known, **fields})

    begin = {"type": "session_begin", "index": 0, "time": 5, "sid": "s1", "sseq": 0, "prev": "0" * 64, "principal": "p"}
    first = leaf(begin)
    asked = leaf(REQUEST, index=1, sseq=1, time=6, prev=leaf_hash(first).hex())
    done = leaf(OUTCOME, index=2, sseq=2, time=6, record=1, prev=leaf_hash(asked).hex())
    again = leaf(REQUEST, index=3, sseq=3, time=7, prev=leaf_hash(done).hex())
    found: list[object] = []
    ledger = space["LogLedger"]()
    ledger.take(0, begin, leaf_hash(first))
    for index, one in ((1, asked), (2, done), (3, again)):
        for at, wrong in ((index + 1, one), (index, one.replace(b'"time":', b'"time":4,"a":')), (index, one.replace(b'"s1"', b'"s2"')),
                          (index, one.replace(b'"sseq":%d' % index, b'"sseq":%d' % (index + 1))), (index, one.replace(b'"prev":"', b'"prev":"0')),
                          (index, one.replace(b'"record":1', b'"record":2')), (index, re.sub(rb'"time":\d', b'"time":4', one)), (index, asked)):
            found.append(wrong == one or ledger.follows(at, wrong))
        found.append(ledger.follows(index, one))
        ledger.advance(index, leaf_hash(one))
        session = ledger.open["s1"]
        found += [ledger.last_time, ledger.intents, session.next, session.last, session.digest, sorted(session.open), session.frontier.root()]
    settled = leaf(OUTCOME, index=4, sseq=4, time=7, record=3, prev=leaf_hash(again).hex())
    found.append(ledger.follows(4, settled))
    ledger.advance(4, leaf_hash(settled))
    more = leaf(REQUEST, index=5, sseq=5, time=7, prev=leaf_hash(settled).hex())
    found.append(ledger.follows(5, more))
    ledger.take(5, {"type": "session_end", "index": 5, "time": 7, "sid": "s1", "sseq": 5, "prev": leaf_hash(settled).hex(), "count": 5,
                    "root": ledger.open["s1"].frontier.root().hex()}, leaf_hash(b"end"))
    found.append(ledger.follows(5, more))       # nothing follows in a session that has ended
    for start, stop in ((0, 3), (0, 2), (1, 3), (2, 1), (0, 0)):
        other, tree = space["LogLedger"](), space["Frontier"]()
        other.take(0, begin, leaf_hash(first))
        tree.append(leaf_hash(first))
        leaves = [asked, done, again]
        found += [other.follow_all(tree, leaves, list(map(leaf_hash, leaves)), start, stop), tree.root(), other.intents]
    return found


@part
def payload_lines(space: Space) -> object:
    """Which lines of payloads are read by their parts."""
    found: list[object] = []
    for index, payload in ((5, '{"text":"ü"}'), (0, ""), (10**14, "{}"), (10**15, "{}")):
        line = canonical({"index": index, "payload": payload, "salt": "0f" * 32})
        for near in (line, line[:-1], line[:60], b"", line.replace(b"0f", b"0F", 1), line.replace(b"0f", b"0g", 1), line.replace(b"0f", b"0", 1),
                     line.replace(b'"index":', b'"index":0'), line.replace(b'"index":', b'"index":-'), line.replace(b'"index":', b'"index":/'),
                     line.replace(b'"index":', b'"index":9'), line.replace(b'"index":', b'"index":8'), line.replace(b'"index":', b'"index":::'),
                     line.replace(b",", b", "), line.replace(b'":"', b'":""'), line.replace(b'":"', b'":"\\u0061', 1), line.replace(b'"salt"', b'"sale"'),
                     line.replace(b'"payload"', b'"payloae"'), line.replace(b'"payload":"', b'"payload":"\\'), line[:-2] + b"}}", line[:-2] + b'",'):
            for last in (-1, index - 1, index):
                said = space["plain_payload"](near, last)
                found.append(None if said is None else (said.at, said.disclosed.salt, said.disclosed.payload))
    return found


@part
def levels(space: Space) -> object:
    """A tree that grows by many leaves at once, from every size."""
    leaves = [bytes([number]) * 32 for number in range(20)]
    found: list[object] = []
    for size in range(9):
        for more in (0, 1, 2, 3, 7, 11):
            tree = space["Frontier"]()
            tree.extend(leaves[:size])
            found += [tree.root_with(leaves[size:size + more]), tree.size]
            tree.extend(leaves[size:size + more])
            found += [tree.to_bytes(), tree.root()]
    return [*found, *(space["perfect_root"](b"".join(leaves[:count])) for count in (1, 2, 4, 8, 16)), space["leaf_hashes"]([b"", b"a"])]
