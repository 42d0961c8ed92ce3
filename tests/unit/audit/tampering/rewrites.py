"""Attacks by somebody who has the log's key and writes the whole log anew: only its own grammar can contradict them.

Each says what the verifier has to name: the check, the first entry, the verdict. Indices are those of `honest`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from lockgate.audit.evidence.bindings import request_binding
from lockgate.audit.evidence.erasures import erasure_binding, erasure_link
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.evidence.salting import bound_to
from tests.unit.audit.tampering import honest as log
from tests.unit.audit.tampering.forge import Forge

Rewrite = Callable[[Forge], None]


@dataclass(frozen=True)
class Rewritten:
    """One attack. `asked` is the question of the package; the folder is always looked at as a whole. `at_folder` is
    the entry that is named there where it is another one. `in_folder` and `in_package` say where it can be seen.
    """

    name: str
    rewrite: Rewrite
    check: str
    index: int | None
    verdict: Verdict = Verdict.TAMPERED
    asked: Mapping[str, Any] = field(default_factory=dict)
    at_folder: int | None = None
    in_folder: bool = True
    in_package: bool = True

    @property
    def folder_index(self) -> int | None:
        return self.index if self.at_folder is None else self.at_folder


REWRITES: list[Rewritten] = []


def attack(check: str, index: int | None, verdict: Verdict = Verdict.TAMPERED, **more: Any) -> Callable[[Rewrite], Rewrite]:
    """Register an attack under its function's name."""
    def register(rewrite: Rewrite) -> Rewrite:
        REWRITES.append(Rewritten(rewrite.__name__, rewrite, check, index, verdict, **more))
        return rewrite
    return register


def late(name: str, at: int, check: str, named: int | None = None, at_folder: int | None = None, **fields: Any) -> None:
    """An attack that only puts fields into one leaf, behind everything that is made to fit. It is named, or `named`."""
    def rewrite(forge: Forge) -> None:
        forge[at].late.update(fields)
    rewrite.__name__ = name
    attack(check, at if named is None else named, at_folder=at_folder)(rewrite)


def raw(name: str, index: int, change: Callable[[bytes], bytes], *, in_package: bool = True) -> None:
    """An attack on the bytes of one leaf. What is no JSON at all is not exported."""
    def rewrite(forge: Forge) -> None:
        forge[index].raw = change
    rewrite.__name__ = name
    attack("leaf grammar", index, in_package=in_package)(rewrite)


# ---------------------------------------------------------------- sessions


@attack("gapless", 21)
def gap_in_a_session(forge: Forge) -> None:
    forge.keep("sseq")
    del forge.rows[12]


@attack("outcome", 21)
def outcome_missing(forge: Forge) -> None:
    del forge.rows[12]


@attack("outcome", 11)
def intent_missing(forge: Forge) -> None:
    del forge.rows[11]


@attack("outcome", 3)
def outcome_before_its_intent(forge: Forge) -> None:
    forge.rows[3], forge.rows[4] = forge.rows[4], forge.rows[3]


@attack("outcome", 5)
def two_outcomes(forge: Forge) -> None:
    forge.insert(5, forge.twin(4))


@attack("outcome", 6)
def denied_with_rows(forge: Forge) -> None:
    forge.insert(6, forge.twin(12))
    forge[6].fields.update(record=1, rows=3, sent=0)


@attack("outcome", 7)
def denied_and_settled_twice(forge: Forge) -> None:
    forge.insert(6, forge.twin(12), forge.twin(12))
    for index in (6, 7):
        forge[index].fields.update(record=1, rows=0, sent=0)


@attack("outcome", 6)
def refused_with_bytes_sent(forge: Forge) -> None:
    forge.insert(6, forge.twin(12))
    forge[6].fields.update(record=1, rows=0, sent=40)


@attack("outcome", 9)
def outcome_of_another_request(forge: Forge) -> None:
    forge[9].fields["record"] = 1


@attack("outcome", 4)
def outcome_of_no_request(forge: Forge) -> None:
    forge[4].fields["record"] = 0


@attack("session", 4)
def session_without_a_beginning(forge: Forge) -> None:
    del forge.rows[2]


@attack("session", 22)
def session_without_an_end(forge: Forge) -> None:
    """The log was closed properly, so somebody must have left it out."""
    del forge.rows[22]


@attack("session", 3)
def session_begun_twice(forge: Forge) -> None:
    forge.insert(3, forge.twin(1))


@attack("session", 23)
def record_after_the_end(forge: Forge) -> None:
    forge.insert(23, forge.twin(5))


@attack("session", 23)
def session_begun_again_after_its_end(forge: Forge) -> None:
    forge.insert(23, forge.twin(2))


@attack("session", 11)
def session_begun_again_without_saying_by_whom(forge: Forge) -> None:
    """What its first owner was approved for says nothing of what the second one does under its name."""
    begin, request = forge.twin(1), forge.twin(8)
    begin.is_kept = False
    request.commit_to({**request.content, "salt": "another"})
    end = forge.rows.pop(21)
    del end.fields["coverage"], forge.rows[19:21]
    forge.insert(10, end, begin, request)
    forge.drop_recordings = True


late("chain_broken", 9, "chain", at_folder=8, prev="ab" * 32)
late("chain_begins_elsewhere", 1, "chain", prev="ab" * 32)
late("session_root_forged", 21, "session root", root="ab" * 32)
late("session_count_forged", 21, "session root", count=3)
late("sequence_begins_late", 2, "gapless", sseq=1)


# ---------------------------------------------------------------- the life of the log


late("epoch_skipped", 0, "epoch", epoch=2)
late("entry_at_another_place", 5, "position", index=6)
late("heartbeat_counts_wrong", 10, "position", size=11)
late("heartbeat_with_another_root", 10, "position", 0, root="ab" * 32)
late("start_with_another_root", 0, "position", root="ab" * 32)
late("stop_with_another_root", 23, "position", 10, root="ab" * 32)
late("clock_backwards", 11, "clock", time=1_000_000_000_000)
late("clock_that_had_not_gone_back", 11, "clock", clock=2_000_000_000_000)
late("clock_that_is_no_number", 11, "clock", clock="yesterday")


@attack("epoch", 9)
def start_missing(forge: Forge) -> None:
    del forge.rows[0]


@attack("epoch", 23)
def opened_twice_as_the_first(forge: Forge) -> None:
    forge.insert(23, forge.twin(0))
    forge.epoch = 2


# ---------------------------------------------------------------- leaves


raw("leaf_with_a_space", 11, lambda leaf: leaf.replace(b'{"', b'{ "', 1))
raw("leaf_in_another_order", 5, lambda leaf: b'{"zz":1,' + leaf[1:])
raw("leaf_with_a_key_twice", 5, lambda leaf: leaf.replace(b'"v":1', b'"v":1,"v":1'))
raw("leaf_with_a_float", 4, lambda leaf: leaf.replace(b'"rows":1', b'"rows":1.0'))
raw("leaf_with_an_exponent", 4, lambda leaf: leaf.replace(b'"rows":1', b'"rows":1e0'))
raw("leaf_with_minus_zero", 4, lambda leaf: leaf.replace(b'"rows":1', b'"rows":-0'))
raw("leaf_with_an_escaped_letter", 5, lambda leaf: leaf.replace(b'"denied"', b'"\\u0064enied"'))
raw("leaf_that_is_no_json", 11, lambda leaf: leaf[:-1], in_package=False)
raw("leaf_that_is_an_array", 10, lambda leaf: b"[" + leaf + b"]")
raw("leaf_that_is_no_utf8", 5, lambda leaf: leaf.replace(b"denied", b"deni\xff\xff"), in_package=False)
raw("leaf_that_is_empty", 10, lambda leaf: b"")
raw("leaf_with_nan", 4, lambda leaf: leaf.replace(b'"rows":1', b'"rows":NaN'))
late("leaf_too_long", 5, "leaf grammar", zz="x" * 4_096)
late("leaf_of_another_version", 5, "leaf grammar", v=2)
late("leaf_whose_version_is_a_truth", 5, "leaf grammar", v=True)
late("leaf_without_a_type", 5, "leaf grammar", type="")
late("leaf_whose_type_is_a_number", 5, "leaf grammar", type=5)
late("leaf_of_a_type_in_capitals", 5, "leaf grammar", type="Intent")
late("leaf_too_deep", 5, "leaf grammar", zz=[[[[[[[1]]]]]]])
late("leaf_with_a_large_number", 5, "leaf grammar", zz=2**53)
late("leaf_with_a_small_number", 5, "leaf grammar", zz=-(2**53))
late("leaf_with_a_foreign_key", 5, "leaf grammar", zü=1)
late("leaf_with_a_negative_time", 0, "leaf grammar", time=-1)
late("leaf_whose_time_is_text", 5, "leaf grammar", time="now")
late("leaf_without_a_node", 5, "leaf grammar", node="")
late("leaf_with_a_node_of_two_words", 5, "leaf grammar", node="a b")
late("leaf_with_a_sid_too_long", 5, "leaf grammar", sid="b" * 129)
late("leaf_with_a_negative_number_in_its_session", 5, "leaf grammar", sseq=-1)
late("leaf_with_a_short_link", 5, "leaf grammar", prev="ab")
late("leaf_with_a_link_in_capitals", 5, "chain", at_folder=2, prev="AB" * 32)
late("leaf_without_verbs", 11, "leaf grammar", verbs="select")
late("leaf_with_a_root_that_is_none", 10, "leaf grammar", root="xy" * 32)
late("leaf_whose_outcome_has_no_rows", 12, "leaf grammar", rows="1")
late("leaf_with_a_payload_that_is_none", 11, "leaf grammar", payload=[])
late("leaf_with_a_payload_without_size", 11, "leaf grammar", payload={"commitment": "ab" * 32})
late("leaf_with_a_payload_of_negative_size", 11, "leaf grammar", payload={"commitment": "ab" * 32, "size": -1})
late("leaf_with_a_payload_kept_somehow", 11, "leaf grammar", payload={"commitment": "ab" * 32, "size": 1, "kept": True})
late("leaf_with_a_short_commitment", 11, "leaf grammar", payload={"commitment": "ab", "size": 1})
late("number_in_a_session_without_one", 10, "leaf grammar", sseq=3)


for _at, _names in (
    (0, ("epoch", "size", "root", "version")), (23, ("size", "root")), (10, ("size", "root", "sessions")),
    (1, ("connection", "protocol", "policy", "principal", "payload", "sid")), (21, ("cause", "count", "root", "sid")),
    (3, ("kind", "verbs", "decision", "rules", "policy", "objects", "payload", "prev")),
    (4, ("record", "status", "rows", "sent", "masked", "duration", "time", "node")), (17, ("data",)),
):
    for _name in _names:
        late(f"no_{_name}_at_{_at}", _at, "leaf grammar" if _at != 17 else "hold", **{_name: None})
late("leaf_with_a_foreign_key_deep_inside", 5, "leaf grammar", zz=[{"a": {"zü": 1}}])


@attack("leaf grammar", 11)
def intent_of_no_session(forge: Forge) -> None:
    del forge[11].fields["sid"], forge[11].fields["sseq"], forge[11].fields["prev"]


# ---------------------------------------------------------------- reviews


@attack("review", 7)
def reviewed_by_the_requester(forge: Forge) -> None:
    forge[7].fields["reviewer"] = forge[7].fields["requester"]


@attack("review", 7)
def reviewed_by_nobody(forge: Forge) -> None:
    del forge[7].fields["reviewer"]


@attack("review", 7)
def review_of_a_request_by_nobody(forge: Forge) -> None:
    del forge[6].fields["requester"]


@attack("review", 7)
def review_of_another_ticket(forge: Forge) -> None:
    forge[7].fields["data"]["ticket"] = "T9"


@attack("review", 7)
def review_bound_to_another_request(forge: Forge) -> None:
    forge[7].fields["data"]["binding"] = "00" * 32


@attack("review", 10)
def review_replayed_after_use(forge: Forge) -> None:
    forge.insert(10, forge.twin(7))


@attack("review", 8)
def review_missing(forge: Forge) -> None:
    """The request is at 7 then, and named there."""
    forge.insert(7, forge.new("note"))
    del forge.rows[8]


@attack("review", 10)
def ticket_denied_after_it_was_used(forge: Forge) -> None:
    """Somebody wants to have said no."""
    forge.insert(10, forge.twin(7))
    forge[10].fields["data"]["verdict"] = "denied"


@attack("review", 7)
def review_before_its_request(forge: Forge) -> None:
    forge.insert(6, forge.new("note"))
    forge.rows[7], forge.rows[8] = forge.rows[8], forge.rows[7]


@attack("review", 6)
def request_without_a_ticket(forge: Forge) -> None:
    del forge[6].fields["data"]["ticket"]


@attack("review", 7)
def ticket_opened_twice(forge: Forge) -> None:
    forge.insert(7, forge.twin(6))


@attack("review", 10)
def ticket_used_twice(forge: Forge) -> None:
    forge.insert(10, forge.twin(8), forge.twin(9))
    forge[11].fields["record"] = 6


@attack("review", 8)
def ticket_of_somebody_else(forge: Forge) -> None:
    for index in (6, 7):
        forge[index].fields["requester"] = log.who(forge, "bob")


@attack("review", 8)
def ticket_that_was_denied(forge: Forge) -> None:
    forge[7].fields["data"]["verdict"] = "denied"


@attack("review", 8)
def ticket_approved_after_it_was_denied(forge: Forge) -> None:
    """Somebody found a reviewer who says yes."""
    forge.insert(7, forge.twin(7))
    forge[7].fields["data"]["verdict"] = "denied"


@attack("review", 8)
def ticket_that_nobody_knows(forge: Forge) -> None:
    forge[8].fields["ticket"] = "T7"


@attack("review", 8)
def held_request_without_a_ticket(forge: Forge) -> None:
    del forge[8].fields["ticket"], forge[8].fields["binding"]


@attack("review", 8)
def another_statement_than_approved(forge: Forge) -> None:
    forge[8].fields["binding"] = "00" * 32


@attack("review", 8)
def statement_without_its_binding(forge: Forge) -> None:
    del forge[8].fields["binding"]


@attack("binding", 8)
def statement_swapped_under_its_binding(forge: Forge) -> None:
    forge[8].commit_to({**forge[8].content, "text": "DELETE FROM accounts"})


@attack("binding", 8)
def parameters_swapped_under_their_binding(forge: Forge) -> None:
    forge[8].commit_to({**forge[8].content, "parameters": ["8", None]})


@attack("review", 8)
def ticket_used_after_it_expired(forge: Forge) -> None:
    _expire(forge, 60)
    forge.delay(8, 122)


@attack("review", 7)
def ticket_approved_after_it_expired(forge: Forge) -> None:
    _expire(forge, 60)
    forge.delay(7, 61)


def _expire(forge: Forge, seconds: int) -> None:
    for index in (6, 7):
        forge[index].fields["data"]["expires"] = forge[6].fields["time"] // 1000 + seconds


# ---------------------------------------------------------------- payloads


@attack("payloads", 8)
def payload_changed(forge: Forge) -> None:
    forge[8].payload = (forge[8].payload or b"").replace(b"customers", b"accounts!")


@attack("payloads", 8)
def payload_of_another_size(forge: Forge) -> None:
    forge[8].fields["payload"]["size"] += 1


@attack("payloads", 8)
def payloads_swapped(forge: Forge) -> None:
    one, two = forge[8], forge[11]
    one.payload, one.secret, two.payload, two.secret = two.payload, two.secret, one.payload, one.secret


@attack("payloads", 11)
def salt_exchanged(forge: Forge) -> None:
    forge[11].secret = forge[11].secret[:32] + bytes(32)


@attack("payloads", 8, Verdict.INCOMPLETE)
def payload_missing_without_an_erasure(forge: Forge) -> None:
    forge[8].is_kept = False


@attack("payloads", 2, in_package=False)
def session_of_somebody_else(forge: Forge) -> None:
    forge[2].fields["principal"] = log.who(forge, "alice")


@attack("payloads", 5, in_folder=False)
def payload_that_is_no_object(forge: Forge) -> None:
    forge[5].commit_to(b"[]")


@attack("payloads", 5, in_package=False)
def payload_that_was_not_to_be_kept(forge: Forge) -> None:
    forge[5].fields["payload"]["kept"] = False


# ---------------------------------------------------------------- erasures and holds


def _erase(forge: Forge, first: int, last: int) -> None:
    """T2 approves this erasure as well, and it happens."""
    for index in range(first, last + 1):
        forge[index].is_kept = False
    for index in (14, 15):
        forge[index].fields["data"]["binding"] = log.bound_erasure(forge, [(3, 3), (first, last)])
    forge[16].fields["data"]["ranges"] = [[3, 3], [first, last]]


@attack("hold", 16)
def erased_under_a_hold_of_its_session(forge: Forge) -> None:
    _erase(forge, 11, 11)


@attack("hold", 16)
def erased_under_a_hold_of_its_person(forge: Forge) -> None:
    forge[13].fields["data"]["scope"] = {"principal": log.who(forge, "alice")}


@attack("hold", 16)
def erased_under_a_hold_of_its_range(forge: Forge) -> None:
    forge[13].fields["data"]["scope"] = {"first": 3, "last": 3}


@attack("hold", 16)
def erased_under_a_hold_of_everything(forge: Forge) -> None:
    forge[13].fields["data"]["scope"] = {"all": True}


@attack("hold", 16)
def erased_under_a_hold_of_its_reviewer(forge: Forge) -> None:
    """The review at 7, which is of no session."""
    _erase(forge, 7, 7)
    forge[13].fields["data"]["scope"] = {"principal": log.who(forge, "carol")}


@attack("hold", 16)
def erased_under_a_hold_of_its_requester(forge: Forge) -> None:
    """The request for T2 at 14, which is of no session."""
    _erase(forge, 14, 14)
    forge[13].fields["data"]["scope"] = {"principal": log.who(forge, "ann")}


@attack("hold", 16)
def review_erased_of_a_request_under_a_hold(forge: Forge) -> None:
    """The review at 7 is of no session; the request that went on by its ticket is on hold."""
    _erase(forge, 7, 7)
    forge[13].fields["data"]["scope"] = {"first": 8, "last": 8}


@attack("hold", 16)
def review_erased_of_what_was_asked_under_a_hold(forge: Forge) -> None:
    """The same, of what was asked for at 6."""
    _erase(forge, 7, 7)
    forge[13].fields["data"]["scope"] = {"first": 6, "last": 6}


@attack("hold", 18)
def recording_erased_under_a_hold(forge: Forge) -> None:
    """A recording is named by its last mark, which has no payload."""
    rows = forge.rows[13:19]
    del forge.rows[13:19]
    forge.insert(15, *rows)
    forge[15].fields["data"]["scope"] = {"session": log.A}
    for index in (16, 17):
        forge[index].fields["data"]["binding"] = log.bound_erasure(forge, [(14, 14)])
    forge[18].fields["data"]["ranges"] = [[14, 14]]
    forge[3].commit_to({"text": "kept"})
    forge[3].is_kept = True
    forge.drop_recordings = True


@attack("hold", 16)
def erased_beside_what_is_not_held(forge: Forge) -> None:
    _erase(forge, 8, 11)


@attack("erasure", 16)
def erased_by_one_person(forge: Forge) -> None:
    forge[16].fields["data"] = {"cause": "record", "ranges": [[3, 3]], "approvals": 1}


@attack("erasure", 16)
def erased_by_nobodys_approval(forge: Forge) -> None:
    forge[16].fields["data"]["approvals"] = 0


@attack("review", 15)
def erasure_approved_by_its_requester(forge: Forge) -> None:
    forge[15].fields["reviewer"] = forge[16].fields["reviewer"] = log.who(forge, "ann")


@attack("erasure", 16)
def erasure_of_more_than_approved(forge: Forge) -> None:
    forge[16].fields["data"]["ranges"] = [[3, 4]]


@attack("erasure", 16)
def erasure_for_another_reason(forge: Forge) -> None:
    forge[16].fields["data"]["purpose"] = "else"


@attack("erasure", 16)
def erasure_by_another_person(forge: Forge) -> None:
    forge[16].fields["requester"] = log.who(forge, "bob")


@attack("erasure", 16)
def erasure_reviewed_by_another_person(forge: Forge) -> None:
    forge[16].fields["reviewer"] = log.who(forge, "bob")


@attack("erasure", 16)
def erasure_by_another_ticket(forge: Forge) -> None:
    forge[16].fields["data"]["ticket"] = "T1"


@attack("erasure", 16)
def erasure_that_was_denied(forge: Forge) -> None:
    forge[15].fields["data"]["verdict"] = "denied"


@attack("erasure", 17)
def erasure_twice_by_one_ticket(forge: Forge) -> None:
    forge.insert(17, forge.twin(16))


@attack("erasure", 16)
def erasure_of_what_comes_later(forge: Forge) -> None:
    forge[16].fields["data"]["ranges"] = [[3, 3], [17, 17]]


@attack("erasure", 16)
def erasure_of_itself(forge: Forge) -> None:
    forge[16].fields["data"]["ranges"] = [[3, 3], [16, 16]]


@attack("erasure", 16)
def erasure_in_disorder(forge: Forge) -> None:
    forge[16].fields["data"]["ranges"] = [[8, 8], [3, 3]]


@attack("erasure", 16)
def erasure_of_a_range_backwards(forge: Forge) -> None:
    forge[16].fields["data"]["ranges"] = [[4, 3]]


@attack("erasure", 16)
def erasure_of_nothing(forge: Forge) -> None:
    forge[16].fields["data"]["ranges"] = []


@attack("erasure", 16)
def erasure_without_a_cause(forge: Forge) -> None:
    forge[16].fields["data"]["cause"] = "because"


@attack("erasure", 16)
def erasure_without_a_requester(forge: Forge) -> None:
    del forge[16].fields["requester"]


@attack("erasure", 8)
def erased_and_still_there(forge: Forge) -> None:
    _erase(forge, 8, 8)
    forge[8].is_kept = True


@attack("erasure", 16)
def retention_where_no_period_is_over(forge: Forge) -> None:
    forge[16].fields["data"] = {"cause": "retention", "ranges": [[3, 3]], "approvals": 1}


@attack("erasure", 16)
def retention_before_the_period_is_over(forge: Forge) -> None:
    _retain(forge, 61, 60)


@attack("erasure", 16)
def retention_by_another_period(forge: Forge) -> None:
    _retain(forge, 60, 60)
    forge[0].fields["data"]["retention"] = {"recordings": 60}


@attack("erasure", 16)
def retention_that_ends_beside_a_payload(forge: Forge) -> None:
    """What has no payload is old enough for a recording, and a payload goes with it before its own period is over."""
    _retain(forge, 3_600, 60)
    forge[0].fields["data"]["retention"]["recordings"] = 60
    forge[16].fields["data"]["ranges"] = [[3, 4]]


def _retain(forge: Forge, period: int, age: int) -> None:
    forge[0].fields["data"]["retention"] = {"payloads": period}
    forge.delay(16, age)
    forge[16].fields["data"] = {"cause": "retention", "ranges": [[3, 3]], "approvals": 1}


@attack("erasure", 17)
def retention_by_a_period_that_was_changed(forge: Forge) -> None:
    """It was a minute at the start, and an hour when it was used."""
    _retain(forge, 60, 61)
    forge.insert(16, forge.new("config_change", data={"retention": {"payloads": 3_600}}))


@attack("erasure", 17)
def retention_after_a_start_without_a_period(forge: Forge) -> None:
    _retain(forge, 60, 61)
    forge.insert(16, forge.twin(0))
    forge[16].fields.update(epoch=2, data={"approvals": 2})


@attack("erasure", 17)
def erased_by_one_person_after_two_were_asked_for(forge: Forge) -> None:
    forge[0].fields["data"] = {"approvals": 1}
    forge[16].fields["data"] = {"cause": "record", "ranges": [[3, 3]], "approvals": 1}
    forge.insert(16, forge.new("config_change", data={"approvals": 2}))


@attack("hold", 13)
def hold_without_a_name(forge: Forge) -> None:
    del forge[13].fields["data"]["hold"]


@attack("hold", 13)
def hold_of_a_strange_scope(forge: Forge) -> None:
    forge[13].fields["data"]["scope"] = {"all": False}


@attack("hold", 13)
def hold_of_two_scopes(forge: Forge) -> None:
    forge[13].fields["data"]["scope"] = {"session": "b", "first": 1}


@attack("hold", 13)
def hold_of_a_range_backwards(forge: Forge) -> None:
    forge[13].fields["data"]["scope"] = {"first": 4, "last": 3}


@attack("hold", 13)
def hold_of_a_range_before_the_log(forge: Forge) -> None:
    forge[13].fields["data"]["scope"] = {"first": -1, "last": 2}


@attack("hold", 13)
def hold_that_does_something_else(forge: Forge) -> None:
    forge[13].fields["data"]["action"] = "pause"


@attack("hold", 17)
def hold_set_twice(forge: Forge) -> None:
    forge[17].fields["data"]["hold"] = "case-7"


@attack("hold", 18)
def hold_lifted_that_was_not_set(forge: Forge) -> None:
    forge[18].fields["data"]["hold"] = "long"


# ---------------------------------------------------------------- recordings


def _covered(forge: Forge, at: int, **said: Any) -> None:
    """What a session's end states."""
    forge[at].fields["coverage"].update(said)


@attack("recordings", 20)
def mark_with_another_root(forge: Forge) -> None:
    forge[20].fields["data"]["root"] = "ab" * 32


@attack("recordings", 20)
def mark_that_shrinks(forge: Forge) -> None:
    forge[20].fields["data"] = {**forge[19].fields["data"], "chunks": 1, "bytes": 10, "final": True}


@attack("recordings", 20, at_folder=19)
def mark_after_the_final_one(forge: Forge) -> None:
    forge[19].fields["data"]["final"] = True


def covered(name: str, at: int = 21, **said: Any) -> None:
    """An attack on what a session's end states about its recording."""
    def rewrite(forge: Forge) -> None:
        forge[at].fields["coverage"] = {**forge[21].fields["coverage"], **said}
    rewrite.__name__ = name
    attack("recordings", at)(rewrite)


covered("more_chunks_stated_than_marked", chunks=4)
covered("more_bytes_stated_than_marked", bytes=31)
covered("more_streams_stated_than_marked", streams=2)
covered("a_state_that_is_none", state="good")
covered("a_recording_stated_with_one_field_more", more=1)
covered("a_recording_stated_of_a_session_without_one", 22)


@attack("recordings", 20)
def whole_stated_without_the_final_mark(forge: Forge) -> None:
    """The session's end is at 20 then."""
    del forge.rows[20]
    forge[20].fields["coverage"].update(chunks=2, bytes=20)


@attack("recordings", 22)
def whole_stated_of_a_recording_that_was_truncated(forge: Forge) -> None:
    forge.insert(20, forge.new("recording_truncated", data={"stream": "sql", "bytes": 4_711, "reason": "full"}, sid=log.A))


@attack("recordings", 20)
def bytes_that_shrink_beside_their_chunks(forge: Forge) -> None:
    forge[20].fields["data"] = {**forge[19].fields["data"], "bytes": 10, "final": True}


@attack("erasure", 17)
def second_part_of_an_erasure_exchanged(forge: Forge) -> None:
    """The first part names the link of another one."""
    forge[11].is_kept = False
    last = erasure_link("record", [(8, 8)], "")
    bound = bound_to("s", erasure_binding(log.who(forge, "ann"), "why", erasure_link("record", [(3, 3)], last)))
    for index in (14, 15):
        forge[index].fields["data"]["binding"] = bound
    forge[16].fields["data"]["rest"] = last
    forge.insert(17, log.erasure(forge, [[11, 11]]))


@attack("erasure", 16)
def erasure_whose_rest_is_a_number(forge: Forge) -> None:
    forge[16].fields["data"]["rest"] = 5


@attack("recordings", 21)
def recording_not_stated(forge: Forge) -> None:
    del forge[21].fields["coverage"]


@attack("recordings", 19)
def mark_without_a_root(forge: Forge) -> None:
    del forge[19].fields["data"]["root"]


# ---------------------------------------------------------------- changes of keys


def _rotate(forge: Forge, at: int = 10, **data: Any) -> None:
    """The log goes on with another key, as the old one says at `at`."""
    old, new = forge.signer, log.another_signer()
    said = {"old": str(old.verifier), "new": str(new.verifier), **data}
    forge.insert(at, forge.new("key_rotate", log.body(actor="ops", reason="yearly"), data=said))
    forge.notes[at + 1] = forge.sign(at + 1, forge.root(at + 1))
    forge.signer = new


@attack("rotation", 11, Verdict.UNTRUSTED, in_package=False)
def keys_changed_twice_from_one(forge: Forge) -> None:
    _rotate(forge)
    forge.insert(11, forge.twin(10))


@attack("rotation", None, Verdict.UNTRUSTED, in_package=False)
def keys_changed_to_something_else(forge: Forge) -> None:
    _rotate(forge, new=5)


def honest_rewrites() -> Iterator[tuple[str, Rewrite]]:
    """Changes after which the log is as good as before: what names them would name honest logs as well."""
    def nothing(forge: Forge) -> None:
        pass

    def later(forge: Forge) -> None:
        forge.delay(5, 3_600)

    def last_moment(forge: Forge) -> None:
        _expire(forge, 60)
        forge.delay(7, 60)
        forge.delay(8, 60)

    def erased_more(forge: Forge) -> None:
        _erase(forge, 6, 9)

    def retained(forge: Forge) -> None:
        _retain(forge, 60, 60)

    def retained_by_a_changed_period(forge: Forge) -> None:
        _retain(forge, 3_600, 61)
        forge.insert(16, forge.new("config_change", data={"retention": {"payloads": 60}}), forge.new("config_change", data={}))

    def recording_retained(forge: Forge) -> None:
        forge[0].fields["data"]["retention"] = {"recordings": 60}
        forge.insert(22, log.erasure(forge, [[20, 20]]))
        forge[22].fields["data"] = {"cause": "retention", "ranges": [[20, 20]], "approvals": 1}
        forge.delay(22, 60)
        forge.drop_recordings = True

    def one_person_where_one_is_enough(forge: Forge) -> None:
        forge[16].fields["data"] = {"cause": "record", "ranges": [[3, 3]], "approvals": 1}
        forge.insert(16, forge.new("config_change", data={"approvals": 1}))

    def erased_for_a_subject(forge: Forge) -> None:
        forge[16].fields["data"] = {"cause": "subject", "ranges": [[3, 3]], "approvals": 1}
        forge.insert(16, forge.new("config_change", data={"approvals": 1}))

    def erased_in_two_parts(forge: Forge) -> None:
        """One review, two records: the first one names the link of the second."""
        for index in (3, 8):
            forge[index].is_kept = False
        last = erasure_link("record", [(8, 8)], "")
        bound = bound_to("s", erasure_binding(log.who(forge, "ann"), "why", erasure_link("record", [(3, 3)], last)))
        for index in (14, 15):
            forge[index].fields["data"]["binding"] = bound
        forge[16].fields["data"]["rest"] = last
        forge.insert(17, log.erasure(forge, [[8, 8]]))

    def recording_cut(forge: Forge) -> None:
        """Its last chunk is behind the last mark: nobody vouches for it."""
        del forge.rows[20]
        _covered(forge, 20, state="cut", chunks=2, bytes=20, reason="unfinished")

    def recording_truncated(forge: Forge) -> None:
        """The disk was full, and the log says so."""
        forge.insert(20, forge.new("recording_truncated", data={"stream": "sql", "bytes": 4_711, "reason": "full"}, sid=log.A))
        _covered(forge, 22, state="cut", reason="full")

    def recording_truncated_from_its_beginning(forge: Forge) -> None:
        del forge.rows[19:21]
        forge.insert(19, forge.new("recording_truncated", data={"stream": "sql", "bytes": 4_711, "reason": "full"}, sid=log.A))
        forge.drop_recordings = True
        _covered(forge, 20, state="lost", streams=0, chunks=0, bytes=0, reason="full")

    def recording_stated_as_lost(forge: Forge) -> None:
        """Less may be stated than there is."""
        _covered(forge, 21, state="lost", reason="what was recorded is not there any more")

    def session_of_a_person_on_hold(forge: Forge) -> None:
        forge[13].fields["data"]["scope"] = {"principal": log.who(forge, "bob")}

    def a_payload_that_was_not_kept(forge: Forge) -> None:
        forge[5].fields["payload"]["kept"] = False
        forge[5].payload = None

    def holds_without_an_erasure(forge: Forge) -> None:
        del forge.rows[14:17]
        forge[3].commit_to({"text": "kept"})
        forge[3].is_kept = True

    def an_erasure_without_holds(forge: Forge) -> None:
        del forge.rows[17:19], forge.rows[13]

    def other_letters(forge: Forge) -> None:
        """The binding is over ASCII, the text is not."""
        content = {**forge[8].content, "text": "DELETE FROM kündigungen"}
        forge[8].commit_to(content)
        seen = orjson.loads(forge[6].content["body"]) | {"text": content["text"]}
        for index in (6, 7):
            forge[index].commit_to(log.body(**seen))
        bound = bound_to(content["salt"], request_binding(
            ("https://issuer.test", "alice"), "crm", forge[8].fields["policy"], content))
        for index in (6, 7):
            forge[index].fields["data"]["binding"] = bound
        forge[8].fields["binding"] = bound

    def rotated(forge: Forge) -> None:
        _rotate(forge)

    def hold_elsewhere(forge: Forge) -> None:
        forge[13].fields["data"]["scope"] = {"first": 4, "last": 9}

    def hold_from_the_beginning(forge: Forge) -> None:
        forge[13].fields["data"]["scope"] = {"first": 0, "last": 2}

    def stepped_back(forge: Forge) -> None:
        forge[11].late["clock"] = forge[11].fields["time"] - 5_000

    def unsettled_denial(forge: Forge) -> None:
        forge.insert(6, forge.twin(12))
        forge[6].fields.update(record=1, rows=0, sent=0)
        forge[13].fields["record"] = 3

    def opened_again(forge: Forge) -> None:
        forge.rows += [forge.twin(0), forge.twin(23)]
        forge[24].fields["epoch"] = 2
        forge[24].fields["time"] = forge[23].fields["time"]

    def nothing_said_of_what_is_in_force(forge: Forge) -> None:
        del forge[0].fields["data"]
        forge.insert(10, forge.new("config_change"))

    def expired_without_a_reviewer(forge: Forge) -> None:
        """Nobody said yes, so nobody else had to."""
        forge.insert(10, forge.twin(6), forge.twin(7))
        for index in (10, 11):
            forge[index].fields["data"]["ticket"] = "T3"
        forge[11].fields["data"]["verdict"] = "expired"
        del forge[11].fields["reviewer"]

    def largest_numbers(forge: Forge) -> None:
        forge[5].late.update(zz=[2**53 - 1, -(2**53) + 1, [[[[1]]]]], sid=forge[5].fields["sid"])

    for rewrite in (nothing, later, last_moment, erased_more, retained, retained_by_a_changed_period, recording_retained,
                    one_person_where_one_is_enough, erased_for_a_subject, erased_in_two_parts, recording_cut, recording_truncated,
                    recording_truncated_from_its_beginning, recording_stated_as_lost,
                    session_of_a_person_on_hold, a_payload_that_was_not_kept, holds_without_an_erasure, an_erasure_without_holds,
                    other_letters, rotated, hold_elsewhere, hold_from_the_beginning, stepped_back, unsettled_denial, opened_again,
                    nothing_said_of_what_is_in_force, expired_without_a_reviewer, largest_numbers):
        yield rewrite.__name__, rewrite
