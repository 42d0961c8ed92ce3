"""Events against OCSF's own model, as published: every attribute known, every required one there."""

from __future__ import annotations

import copy
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from lockgate.audit.admin import account, recorded
from lockgate.audit.entry import canonical
from lockgate.audit.erasing import Wish
from lockgate.audit.export.told import Leaf, Teller, Told
from lockgate.audit.ocsf import VERSION, Mapper
from lockgate.audit.ocsf.envelope import CLASSES
from lockgate.audit.storage.sqlite import open_source
from lockgate.audit.tree import leaf_hash
from lockgate.model import Activity, Event, Exported
from tests.unit.audit.logs import ORIGIN, Driven, review_events, sample

PROTOCOLS = {"postgres": Exported(Activity.DATASTORE, "postgresql"), "web": Exported(Activity.WEB),
             "shell": Exported(Activity.TERMINAL)}
WHO = {"issuer": "https://issuer.test", "subject": "alice", "agent": "planner", "groups": ["analysts"],
       "peer": "[2001:db8::1]:50000", "claims": [["task", "ticket 4711"]]}
PAYLOAD = {"commitment": "ab" * 32, "size": 10}
PLACE = {"v": 1, "node": "n1", "time": 1_800_000_000_000}
PEOPLE = {"requester": "12" * 16, "reviewer": "34" * 16}


@cache
def model() -> tuple[Any, Any]:
    whole = get_ocsf_schema(VERSION)
    return whole, OcsfJsonSchemaEmbedded(whole)


@cache
def validator(class_uid: int, *profiles: str) -> Draft202012Validator:
    _, embedded = model()
    name = embedded.lookup_class_name_from_uid(class_uid)
    return Draft202012Validator(embedded.get_class_schema(name, list(profiles)))


def faults(event: dict[str, Any]) -> list[str]:
    """What the public model says, and whether captions and numbers agree with its enumerations."""
    found = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
             for error in validator(event["class_uid"], *event["metadata"]["profiles"]).iter_errors(json.loads(json.dumps(event)))]
    whole, embedded = model()
    attributes = whole["classes"][embedded.lookup_class_name_from_uid(event["class_uid"])]["attributes"]
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        found.append("type_uid")
    for name, caption in (("category_uid", "category_name"), ("class_uid", "class_name"), ("activity_id", "activity_name"),
                          ("severity_id", "severity"), ("status_id", "status"), ("action_id", "action"),
                          ("disposition_id", "disposition"), ("type_id", "type")):
        known = attributes.get(name, {}).get("enum", {}).get(str(event.get(name)))
        if name in event and event[name] != 99 and (known is None or known["caption"] != event[caption]):
            found.append(f"{name} {event[name]} is not {event[caption]}")
    return found


def told(record: dict[str, Any], *, index: int = 7, begin: Told | None = None, intent: Told | None = None,
         **more: Any) -> Told:
    text = canonical({**PLACE, "index": index, **record})
    leaf = Leaf(index, leaf_hash(text), text, json.loads(text))
    return Told(leaf, begin and begin.leaf, intent and intent.leaf, **more)


def session(protocol: str) -> Told:
    return told({"type": "session_begin", "sid": "aa", "sseq": 0, "prev": "0" * 64, "connection": "crm", "token": "cd" * 32,
                 "protocol": protocol, "policy": "ef" * 32, "principal": "56" * 16, "payload": PAYLOAD}, index=3)


def request(protocol: str, verbs: list[str], status: str = "ok", **fields: Any) -> list[Told]:
    """An intent and its outcome in a session of a protocol."""
    begin = session(protocol)
    asked = told({"type": "intent", "sid": "aa", "sseq": 1, "prev": "0" * 64, "kind": "query", "verbs": verbs,
                  "decision": "allow", "rules": ["reach"], "policy": "ef" * 32, "objects": ["public.customers"],
                  "payload": PAYLOAD, **fields}, index=4, begin=begin)
    ended = told({"type": "outcome", "sid": "aa", "sseq": 2, "prev": "0" * 64, "record": 1, "status": status, "rows": 3,
                  "sent": 100, "masked": {"email": 2, "column": 1}, "duration": 1500, "code": "42601"},
                 index=5, begin=begin, intent=asked, who=WHO, payload={"text": "SELECT 1", "length": 9})
    return [begin, asked, ended]


def everything() -> list[Told]:
    """Each type of record that a log may hold, and the shapes that some of them have."""
    found: list[Told] = []
    for verbs in (["select"], ["insert"], ["update", "select"], ["delete", "update"], ["create"], ["vacuum"], []):
        found += request("postgres", verbs)
    for status in ("error", "refused", "cancelled", "unknown"):
        found += request("postgres", ["select"], status)
    for verb in ("get", "post", "put", "delete", "head", "options", "patch", "trace", "connect", "propfind"):
        found += request("web", [verb])
    found += request("shell", ["exec"]) + request("shell", ["exec"], decision="deny") + request("web", ["get"], decision="deny")
    found += request("nobody knows", ["select"], decision="deny", refusal="denied")
    begin = session("postgres")
    inside = {"sid": "aa", "sseq": 5, "prev": "0" * 64}
    ticket = {"ticket": "T1", "binding": "ef" * 32, "connection": "crm"}
    found += [
        told({"type": "session_end", **inside, "cause": "closed", "count": 5, "root": "ab" * 32,
              "coverage": {"state": "whole", "streams": 1, "chunks": 2, "bytes": 3, "reason": ""}}, begin=begin, who=WHO),
        told({"type": "rec_mark", **inside, "data": {"stream": "s", "chunks": 1, "bytes": 2, "root": "ab" * 32,
                                                     "final": True}}, begin=begin),
        told({"type": "recording_truncated", **inside, "data": {"stream": "s", "bytes": 2, "reason": "cap"}}, begin=begin),
        told({"type": "cancel", **inside, "data": {"peer": "127.0.0.1:1"}}, begin=begin),
        told({"type": "review_request", **inside, **PEOPLE, "data": ticket}, begin=begin),
        told({"type": "access_denied", "data": {"connection": "crm", "rules": [], "policy": "ef" * 32, "token": "cd" * 32}}),
        told({"type": "node_start", "epoch": 1, "size": 7, "root": "ab" * 32, "version": "1.0", "data": {"mode": "full"}}),
        told({"type": "node_stop", "size": 7, "root": "ab" * 32}),
        told({"type": "heartbeat", "size": 7, "root": "ab" * 32, "sessions": 1, "data": {"refusals": 0}}),
        told({"type": "erasure", **PEOPLE, "data": {"cause": "subject", "ranges": [[1, 2]], "approvals": 2},
              "payload": PAYLOAD}, payload={"requester": ["local", "root"], "reviewer": ["local", "eve"]}),
        told({"type": "legal_hold", "requester": "12" * 16, "data": {"hold": "case-1", "action": "set", "scope": {"all": True}}}),
        told({"type": "legal_hold", "requester": "12" * 16, "data": {"hold": "case-1", "action": "lift", "scope": {"all": True}}}),
        told({"type": "key_rotate", "data": {"old": "a+b+c", "new": "a+d+e"}}),
        told({"type": "something_new", "data": {"deep": [1, {"x": None}]}}),
    ]
    found += [told({"type": "review", **PEOPLE, "data": {**ticket, "verdict": verdict}}) for verdict in
              ("approved", "denied", "expired", "withdrawn")]
    found += [told({"type": kind, "requester": "12" * 16, "data": {"first": 1, "last": 2}}) for kind in
              ("config_change", "export", "recording_view", "verify_run")]
    return found


def test_every_kind_of_record_makes_events_that_the_public_model_accepts() -> None:
    """All classes of the mapping occur, and none has an attribute that OCSF does not know, or lacks one it needs."""
    mapper = Mapper(ORIGIN, "1.0", PROTOCOLS, raw=True)
    seen: set[int] = set()
    for entry in everything():
        for event in mapper.events(entry):
            assert faults(event) == [], json.dumps(event, indent=1)
            seen.add(event["class_uid"])
    assert seen == set(CLASSES)


@pytest.mark.parametrize("fault", [
    lambda event: event.update(unknown_attribute=1),
    lambda event: event["metadata"].update(log_nmae="x"),
    lambda event: event.pop("src_endpoint"),
    lambda event: event.update(database=None),
    lambda event: event["actor"]["user"].pop("uid") and event["actor"]["user"].pop("name"),
    lambda event: event.update(severity="Fatal"),
    lambda event: event.update(activity_id=42),
    lambda event: event["raw_data_hash"].update(value="no hash"),
    lambda event: event["time"].__class__ and event.update(time="now"),
])
def test_a_mistake_in_an_event_is_found(fault: Any) -> None:
    """The check has teeth: each seeded mistake is named by it."""
    event = Mapper(ORIGIN, "1.0", PROTOCOLS).events(request("postgres", ["select"])[2])[0]
    assert faults(event) == []
    broken = copy.deepcopy(event)
    fault(broken)
    assert faults(broken)


def events_of(folder: Path, **options: bool) -> list[dict[str, Any]]:
    raw = options.pop("raw", False)
    with open_source(folder) as source:
        mapper = Mapper(source.origin, "1.0", PROTOCOLS, raw=raw)
        return [event for entry in Teller(**options).tell(source, 0) for event in mapper.events(entry)]


def test_a_real_log_as_events(tmp_path: Path) -> None:
    """Every request is told once, with what it touched, how it ended and who let it through; order is the log's."""
    sample(tmp_path)
    events = events_of(tmp_path)
    assert [fault for event in events for fault in faults(event)] == []
    assert [(event["metadata"]["sequence"], event["class_uid"], event["activity_name"]) for event in events] == [
        (0, 6002, "Start"), (1, 3002, "Logon"), (2, 3002, "Logon"), (4, 6005, "Read"), (4, 2006, "Create"),
        (5, 6005, "Delete"), (5, 3003, "Deny"), (6, 3003, "Request Review"), (7, 3003, "Assign Privileges"),
        (9, 6005, "Delete"), (9, 2006, "Create"), (10, 6002, "Heartbeat"), (12, 6005, "Read"), (12, 2006, "Create"),
        (13, 3002, "Logoff"), (14, 3002, "Logoff"), (15, 6002, "Stop"),
    ]
    read, finding, denied = events[3], events[4], events[5]
    assert read["metadata"]["uid"] == f"{ORIGIN}/4"
    assert (read["status"], read["action"], read["disposition"]) == ("Success", "Modified", "Allowed")
    assert (denied["status"], denied["action"], denied["disposition"]) == ("Failure", "Denied", "Blocked")
    assert read["table"] == {"name": "public.customers"}
    assert finding["data_security"]["discovery_details"] == [{"type": "email", "count": 2}]
    assert events[8]["actor"]["user"]["uid"] != events[8]["user"]["uid"]


def test_every_event_points_back_at_its_leaf(tmp_path: Path) -> None:
    """`raw_data_hash` is the leaf hash of the entry that `metadata.uid` names; an outcome's intent is named as well."""
    sample(tmp_path)
    with open_source(tmp_path) as source:
        rows = {index: (bytes(digest).hex(), bytes(leaf).decode()) for index, digest, leaf in source.leaves()}
    for event in events_of(tmp_path, raw=True):
        index = int(event["metadata"]["uid"].removeprefix(f"{ORIGIN}/").partition("/")[0])
        assert (event["raw_data_hash"]["value"], event["raw_data"]) == rows[index]
        if "intent" in event["unmapped"]:
            assert event["unmapped"]["intent"]["hash"] == rows[event["unmapped"]["intent"]["index"]][0]


def test_names_and_statements_leave_only_when_asked_for(tmp_path: Path) -> None:
    """By default an event holds opaque ids: no subject, no address, no text."""
    sample(tmp_path)
    opaque = json.dumps(events_of(tmp_path))
    for word in ("alice", "carol", "planner", "127.0.0.1", "SELECT", "ticket 4711", "issuer.test"):
        assert word not in opaque
    named = events_of(tmp_path, names=True)
    assert [fault for event in named for fault in faults(event)] == []
    assert "SELECT" not in json.dumps(named)
    logon = named[1]
    assert logon["user"]["name"] == "alice"
    assert logon["src_endpoint"] == {"ip": "127.0.0.1", "port": 50000}
    assert named[8]["actor"]["user"]["name"] == "carol"
    texts = [event["query_info"]["query_string"] for event in events_of(tmp_path, statements=True) if "query_info" in event]
    assert texts == ["SELECT 1", "DROP TABLE customers", "DELETE FROM customers", "SELECT 'bob'"]


@pytest.mark.parametrize("statements", [False, True])
def test_a_request_is_told_with_the_connection_that_it_came_over(tmp_path: Path, statements: bool) -> None:
    """A session may have several; without names no address leaves."""
    driven = Driven(tmp_path)
    driven.begin("a" * 16)
    driven.run("a" * 16)
    driven.run("a" * 16, peer="127.0.0.1:50001")
    driven.log.end_session("a" * 16, "idle")
    driven.log.close()
    told = [event["src_endpoint"] for event in events_of(tmp_path, names=True, statements=statements) if event["class_uid"] == 6005]
    assert [one["port"] for one in told] == [50000, 50001]
    assert "50001" not in json.dumps([event["src_endpoint"] for event in events_of(tmp_path, statements=statements)
                                      if "src_endpoint" in event])


def test_a_reader_that_begins_in_the_middle_knows_what_was_before(tmp_path: Path) -> None:
    """Sessions and intents from before the cursor are looked up in the snapshot; the events are the same."""
    sample(tmp_path)
    mapper = Mapper(ORIGIN, "1.0", PROTOCOLS)
    with open_source(tmp_path) as source:
        whole = [mapper.events(entry) for entry in Teller(names=True, statements=True).tell(source, 0)]
        for first in range(len(whole)):
            teller = Teller(names=True, statements=True)
            assert [mapper.events(entry) for entry in teller.tell(source, first)] == whole[first:]


def test_few_intents_are_kept_in_memory_and_the_others_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More open intents than are remembered: the forgotten ones are found in the log."""
    monkeypatch.setattr("lockgate.audit.export.told._INTENTS", 20)
    driven = Driven(tmp_path)
    driven.begin("a" * 16)
    numbers = [driven.log.intent(each, None) for each in many(60)]
    from lockgate.model import Outcome, OutcomeStatus
    for number in reversed(numbers):
        driven.log.outcome(Outcome("a" * 16, number, OutcomeStatus.OK))
    driven.log.close()
    told_again = [event["unmapped"]["objects"][0] for event in events_of(tmp_path) if event["class_uid"] == 6005]
    assert told_again == [f"t{number}" for number in reversed(range(60))]


def many(count: int) -> list[Any]:
    from tests.unit.audit.logs import intent
    return [intent("a" * 16, objects=(f"t{number}",)) for number in range(count)]


def test_what_people_do_to_the_log_names_them_when_asked(tmp_path: Path) -> None:
    """Holds, erasures, exports and a new key, as the commands record them: who it was is an id, or a name on request."""
    sample(tmp_path)
    with recorded(tmp_path) as log:
        log.hold("case-1", "set", {"first": 3, "last": 4}, "asked for by court")
        log.erase(Wish(records=((5, 5),), reason="not needed"))
        log.append(Event("export", {"first": 1, "last": 2}))
    opaque, named = events_of(tmp_path)[17:], events_of(tmp_path, names=True, statements=True)[17:]
    assert [fault for event in opaque + named for fault in faults(event)] == []
    acts = [event for event in named if event["class_uid"] in (3004, 6003)]
    assert [(event["metadata"]["event_code"], event["activity_name"]) for event in acts] == [
        ("legal_hold", "Create"), ("erasure", "Delete"), ("export", "Read")]
    me = account(os.getuid())[1]
    assert {event["actor"]["user"]["name"] for event in acts} == {me}
    ids = {event["actor"]["user"]["uid"] for event in opaque if event["class_uid"] in (3004, 6003)}
    assert len(ids) == 1
    assert "name" not in opaque[1]["actor"]["user"]
    assert "DROP TABLE" not in json.dumps(events_of(tmp_path, names=True, statements=True))


def test_a_new_key_is_told_with_who_made_it() -> None:
    """Its leaf names nobody; the payload does, where names are asked for."""
    entry = told({"type": "key_rotate", "data": {"old": "a+b+c", "new": "a+d+e"}, "payload": PAYLOAD},
                 payload={"actor": ["local", "root"]})
    [event] = Mapper(ORIGIN, "1.0", PROTOCOLS).events(entry)
    assert faults(event) == []
    assert event["actor"]["user"]["name"] == "root"


def test_a_crash_is_an_unknown_outcome_with_its_reason(tmp_path: Path) -> None:
    """What a crash left open is told as unknown: the backend may have executed it."""
    driven = Driven(tmp_path)
    driven.begin("a" * 16)
    driven.intent("a" * 16)
    driven.log.end_session("a" * 16, "gone")
    for event in review_events("T9", "alice", "carol"):
        driven.log.event(event)
    driven.log.event(Event("config_change", {"before": "a", "after": "b"}))
    driven.log.close()
    told_of = next(event for event in events_of(tmp_path) if event["class_uid"] == 6005)
    assert (told_of["status"], told_of["severity"]) == ("Unknown", "Medium")
    assert "may have executed" in told_of["status_detail"]
