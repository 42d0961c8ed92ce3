"""Configuration files: what is accepted, and that every mistake is told with its line and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from lockgate.config.load import Loaded, load
from lockgate.config.policy_checks import Known
from lockgate.errors import ConfigError
from lockgate.model import AuditMode, ColumnMask, DetectMask, MaskMethod, ReviewMode, ReviewTerms, Rule, Who

GOOD = """\
state: state
listeners:
  - {name: agents, protocol: echo, address: "127.0.0.1:5432", plaintext_tokens: loopback}
identity:
  providers:
    - {name: corp, issuer: https://login.example.com, audience: lockgate}
connections:
  - name: crm
    protocol: echo
    address: crm-db.internal:5432
    credential: {user: crm_app, password: {env: CRM_PASSWORD}}
policies:
  - name: analysts-reach-crm
    who: {groups: [autogen-analysts]}
    connections: [crm]
    allow: connect
  - name: hide-ssn
    connections: [crm]
    mask:
      - {columns: ["*.ssn"], with: null}
      - {detect: [credit_card, aws_key], with: partial}
  - name: deletes-need-a-person
    when: op.verb == "delete"
    review: {by: [dba], expires: 15m}
  - name: never-drop
    when: op.verb in ["drop", "truncate"]
    deny: destructive DDL is not allowed through the gateway
  - name: everything-on-record
    audit: full
"""


class Options(BaseModel):
    """A protocol's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    search_path: str = "public"
    socket: Path | None = None


def condition(when: str) -> str | None:
    return "unknown name `op.verbb`; write `op.verb`" if "verbb" in when else None


KNOWN = Known({"echo": Options, "other": Options}, {"credit_card", "aws_key", "jwt"}, condition)


def load_text(folder: Path, text: str) -> Loaded:
    path = folder / "lockgate.yaml"
    path.write_text(text)
    return load(path, KNOWN)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as failed:
        load_text(folder, text)
    return [line.removeprefix(f"{folder}/") for line in str(failed.value).splitlines()]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_a_good_file_becomes_rules(tmp_path: Path) -> None:
    """Every kind of rule arrives in the model's words, with its line."""
    loaded = load_text(tmp_path, GOOD)
    file = tmp_path / "lockgate.yaml"
    assert loaded.rules == (
        Rule("analysts-reach-crm", Who(frozenset({"autogen-analysts"})), ("crm",), allow=True, origin=f"{file}:13"),
        Rule("hide-ssn", connections=("crm",), masks=(ColumnMask(("*.ssn",), MaskMethod.NULL),),
             detects=(DetectMask(("credit_card", "aws_key"), MaskMethod.PARTIAL),), origin=f"{file}:17"),
        Rule("deletes-need-a-person", when='op.verb == "delete"', origin=f"{file}:22",
             review=ReviewTerms(frozenset({"dba"}), 900.0, ReviewMode.HOLD)),
        Rule("never-drop", when='op.verb in ["drop", "truncate"]', origin=f"{file}:25",
             deny="destructive DDL is not allowed through the gateway"),
        Rule("everything-on-record", audit=AuditMode.FULL, origin=f"{file}:28"),
    )
    assert loaded.settings.connections[0].options == Options()


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    """Also inside options and secret references; absolute ones stay."""
    text = changed("{env: CRM_PASSWORD}", "{file: secrets/crm}").replace(
        "    credential", "    options: {socket: run/s}\n    credential", 1)
    settings = load_text(tmp_path, text).settings
    assert settings.state == tmp_path / "state"
    password = settings.connections[0].credential.password
    assert password is not None
    assert password.file == tmp_path / "secrets/crm"
    assert settings.connections[0].options.socket == tmp_path / "run/s"
    assert load_text(tmp_path, changed("state: state", "state: /var/lib/x")).settings.state == Path("/var/lib/x")


def test_the_policy_hash_covers_what_decides_and_nothing_else(tmp_path: Path) -> None:
    """Policies, identity and connections change it; listeners, the folder and the order of rules do not."""
    base = load_text(tmp_path, GOOD).policy_hash
    for text in (changed("15m", "16m"), changed("audience: lockgate", "audience: other"),
                 changed("crm_app", "crm_other"), changed("audit: full", "deny: x"),
                 changed("state: state", "state: state\ntimezone: Asia/Tokyo")):
        assert load_text(tmp_path, text).policy_hash != base
    (tmp_path / "elsewhere").mkdir()
    assert load_text(tmp_path / "elsewhere", GOOD).policy_hash == base
    assert load_text(tmp_path, changed("5432\", plain", "5433\", plain")).policy_hash == base
    head, _, tail = GOOD.partition("  - name: everything-on-record\n    audit: full\n")
    moved = head.replace("policies:\n", "policies:\n  - name: everything-on-record\n    audit: full\n") + tail
    assert load_text(tmp_path, moved).policy_hash == base
    assert load_text(tmp_path, moved).config_hash != load_text(tmp_path, GOOD).config_hash


@pytest.mark.parametrize(("old", "new", "says"), [
    ("    allow: connect", "    alow: connect", "lockgate.yaml:16: unknown key `alow`; write `allow`"),
    ("    allow: connect", "    allow: conect", "lockgate.yaml:16: `allow` must be 'connect'"),
    ("groups: [autogen", "group: [autogen", "lockgate.yaml:14: unknown key `group`; write `groups`"),
    ("15m", "15", "lockgate.yaml:24: `expires` must be a duration: a number and ms, s, m, h or d, like 30s or 15m, not a"),
    ("with: null", "with: null, lookups: 5/m", "lockgate.yaml:20: `lookups` must be a number an hour, like 60/h"),
    ("with: null", "with: null, lookups: 5", "lockgate.yaml:20: `lookups` must be a number an hour, like 60/h, not a number"),
    ("    audit: full", "    limit: {changed: 1.5}", "lockgate.yaml:29: `changed` must be a whole number"),
    ("policies:", "labels: {a: {names: ['(']}}\npolicies:", "`(` is not a regular expression (RE2): missing )"),
    ('["*.ssn"]', "*.ssn", ("lockgate.yaml:20: not valid YAML: expected alphabetic or numeric character, but found '.'; "
                           "put a value that begins with * in quotes: '*…'")),
    ('["*.ssn"]', "[*.ssn]", "put a value that begins with * in quotes: '*…'"),
    ('when: op.verb == "delete"', 'when: "delete" in op.verbs', "put a value that begins with \" in quotes: '\"…'"),
    ('when: op.verb == "delete"', "when: 'delete' in op.verbs", "put a value that begins with ' in quotes: \"'…\""),
    ('when: op.verb == "delete"', 'when: !(op.verb == "delete")', "lockgate.yaml:23: the tag '!(op.verb' is not allowed"),
    ('when: op.verb == "delete"', "when: !op.has_where", "one that begins with ! in quotes: '!(…)'"),
    ("policies:", ("labels: {pii: {columns: ['*.x'], detect: [jwt]}}\npolicies:\n  - {name: h, mask: [{labels: [pii], "
                  "with: hash}]}"), "can be hidden with partial, redact or null (label `pii` has `detect`)"),
    ("15m", "15 minutes", "lockgate.yaml:24: `expires` must be a duration: a number and ms, s, m, h or d"),
    ("  - name: crm\n    protocol", "  - name: crm\n   protocol", "; indent the line like its neighbours"),
    ("15m", "0s", "lockgate.yaml:24: `expires` must be longer than nothing"),
    ("by: [dba]", "by: []", "lockgate.yaml:24: `by` is empty; write at least one entry"),
    ("by: [dba]", "by: dba", "lockgate.yaml:24: `by` must be a list, like [a, b], not text"),
    ("by: [dba]", 'by: [" "]', "lockgate.yaml:24: a reviewers' group has no name"),
    ("with: partial", "with: hide", "lockgate.yaml:21: `with` must be 'partial', 'date_shift', 'fpe', 'token', 'hash', 'fake', 'redact' or 'null'"),
    (", with: partial", "", "lockgate.yaml:21: `with` is missing; add it"),
    ("detect: [credit_card", "detect: [credit_crad", "unknown detector `credit_crad`; write `credit_card`"),
    ("{detect: ", '{columns: ["*.a"], detect: ', "lockgate.yaml:21: a mask is for `columns`, for `labels` or for `detect`"),
    ("with: partial", "with: partial, lookups: 0/h", "lockgate.yaml:21: `lookups`"),
    ('["*.ssn"]', "[]", "lockgate.yaml:20: a mask is for `columns`, for `labels` or for `detect`"),
    ('["*.ssn"]', '["a.b.c.d.e"]', "lockgate.yaml:20: `a.b.c.d.e` is not a column glob"),
    ('["*.ssn"]', '["shop.public.customers.ssn"]',
     "lockgate.yaml:20: `shop.public.customers.ssn` begins with the unknown connection `shop`; known are `crm`"),
    ('["*.ssn"]', '["crn.public.customers.ssn"]', "the unknown connection `crn`; write `crm`"),
    ('["*.ssn"]', '["x*.public.customers.ssn"]', "lockgate.yaml:20: `x*.public.customers.ssn` begins with the unknown"),
    ("policies:", "labels: {pii: {columns: [crn.a.b.c]}}\npolicies:", "the unknown connection `crn`; write `crm`"),
    ("connections: [crm]\n    mask", "connections: [crn]\n    mask", "lockgate.yaml:18: unknown connection `crn`; write `crm`"),
    ("name: hide-ssn", "name: never-drop", "lockgate.yaml:25: name `never-drop` is taken by another of the policies"),
    ("name: hide-ssn", "name: Hide SSN", "lockgate.yaml:17: `name` must be a name"),
    ("    audit: full\n", "", "lockgate.yaml:28: rule `everything-on-record` does nothing"),
    ("    audit: full\n", "    audit: async\n", "lockgate.yaml:29: a rule can only raise the audit mode"),
    ("    audit: full\n", "    deny: x\n    allow: connect\n", "lockgate.yaml:29: `deny` always wins"),
    ("    deny: destructive DDL is not allowed through the gateway", '    deny: " "', "lockgate.yaml:27: `deny` is the reason"),
    ('op.verb == "delete"', 'op.verbb == "delete"', "lockgate.yaml:23: unknown name `op.verbb`; write `op.verb`"),
    ("state: state", "state: state\nstate: b", "lockgate.yaml:2: `state` is here twice (first on line 1)"),
    ("state: state", "stat: state", "lockgate.yaml:1: unknown key `stat`; write `state`"),
    ("state: state", "state: !!python/object:os.system x", "is not allowed; write plain values"),
    ("state: state", "timezone: Europe/Berln", "lockgate.yaml:1: `Europe/Berln` is no time zone that this machine knows"),
    ("state: state", "timezone: ../../etc/passwd", "is no time zone"),
    ("state: state", "state: &a [*a]", "an alias that contains itself"),
    ("state: state", "state: [", "not valid YAML"),
    ("state: state", "[]: 1", "a key must be a word"),
    ("state: state", "limits: {sessions: true}", "`sessions` must be a whole number, not true or false"),
    ("state: state", "limits: {sessions: 0}", "`sessions`: input should be greater than or equal to 1"),
    ("protocol: echo, address", "protocol: ecko, address", "lockgate.yaml:3: unknown protocol `ecko`; write `echo`"),
    ('"127.0.0.1:5432"', '"10.0.0.1:5432"', "lockgate.yaml:3: tokens without TLS are for loopback only"),
    ('"127.0.0.1:5432"', '"localhost.evil.example:1"', "tokens without TLS are for loopback only"),
    (", plaintext_tokens: loopback", "", "lockgate.yaml:3: listener `agents` can take no token; write `tls:"),
    (", plaintext_tokens: loopback", ", tls: {certificate: c, key: k}", "there is no file"),
    (", plaintext_tokens: loopback", ", tls: {certificate: c, key: k, clients: mesh}", "lockgate.yaml:3: unknown certificates `mesh`"),
    ("connections:", "  certificates: [{name: corp, ca: c, subject: cn}]\nconnections:", "name `corp` is taken"),
    ("connections:", "  certificates: [{name: mesh, ca: c, subject: cn}]\nconnections:", "lockgate.yaml:7: there is no file"),
    ("connections:", "  certificates: [{name: mesh, ca: c, subject: san}]\nconnections:", "`subject` must be 'san_uri', 'san_dns'"),
    ("connections:", "  certificates: [{name: mesh, ca: c, subject: none, groups: {a: [b]}}]\nconnections:", "`subject: none` names nobody"),
    (", plaintext_tokens: loopback", ", plaintext_tokens: loopback, connection: crn", "unknown connection `crn`"),
    ('"127.0.0.1:5432"', '"127.0.0.1:70000"', "has no valid port"),
    ('"127.0.0.1:5432"', '"127.0.0.1"', "`address` must be host:port"),
    ("crm-db.internal:5432", "crm-db.internal", "lockgate.yaml:10: `address` must be host:port, like 127.0.0.1:5432"),
    ("crm-db.internal:5432", "https://crm-db.internal:5432", "not a URL; `tls` says whether it is https"),
    ("https://login", "http://login", "lockgate.yaml:6: an issuer over plain http can be forged"),
    ("https://login.example.com", "http://login.example.com, unsafe_http: true", "`unsafe_http` is for loopback only"),
    ("https://login.example.com", "ftp://x", "`issuer` must be a URL"),
    ("audience: lockgate", "audience: lockgate, algorithms: [HS256]", "`HS256` is not an accepted signature algorithm"),
    ("audience: lockgate", 'audience: lockgate, unsafe_http: "yes"', "`unsafe_http` must be true or false, not text"),
    ("{env: CRM_PASSWORD}", "{}", "lockgate.yaml:11: a secret has one place"),
    ("{env: CRM_PASSWORD}", "{env: A, file: b}", "lockgate.yaml:11: a secret has one place"),
    ("{env: CRM_PASSWORD}", "hunter2", "lockgate.yaml:11: `password` must be keys and values, not text"),
    ("    credential", "    options: {serch_path: x}\n    credential", "lockgate.yaml:11: unknown key `serch_path`; write `search_path`"),
])
def test_a_mistake_is_told_with_its_line_and_the_remedy(tmp_path: Path, old: str, new: str, says: str) -> None:
    """file:line: what is wrong; what to write instead."""
    assert any(says in line for line in problems(tmp_path, changed(old, new))), problems(tmp_path, changed(old, new))


TWO = GOOD.replace("policies:\n", """\
  - {name: shop, protocol: echo, address: "shop.internal:5432", credential: {user: app}}
labels:
  pii.there: {columns: ["shop.public.customers.phone"]}
  pii.either: {columns: ["shop.public.customers.phone", "*.phone"]}
policies:
""").replace('["*.ssn"], with: null', '%s')


@pytest.mark.parametrize(("mask", "says"), [
    ('{columns: ["shop.public.customers.ssn"], with: redact}',
     "`shop.public.customers.ssn` is on another connection than the rule; known are `crm`, or change the rule's"),
    ('{labels: [pii.there], with: redact}', "`pii.there` names columns of other connections than the rule's (crm)"),
    ('{labels: [pii.either], with: redact}', ""), ('{labels: ["pii.*"], with: redact}', ""),
    ('{columns: ["c*.public.customers.ssn"], with: redact}', ""), ('{columns: ["*.*.*.ssn"], with: redact}', ""),
])
def test_a_mask_is_on_a_connection_of_its_rule(tmp_path: Path, mask: str, says: str) -> None:
    """One that could hide nothing anywhere is a mistake, and not silence."""
    text = TWO.replace('{columns: %s}', mask)
    assert mask in text
    if says:
        assert any(says in line for line in problems(tmp_path, text)), problems(tmp_path, text)
    else:
        load_text(tmp_path, text)


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    """Nobody has to run it again and again."""
    text = changed("connections: [crm]\n    mask", "connections: [x]\n    mask").replace("verb ==", "verbb ==", 1)
    text = text.replace("https:", "http:", 1)
    assert [line.split(":")[1] for line in problems(tmp_path, text)] == ["6", "18", "23"]


def test_a_secret_that_stands_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    """The message says what is wrong without showing what was written."""
    assert "hunter2" not in "\n".join(problems(tmp_path, changed("{env: CRM_PASSWORD}", "hunter2")))


@pytest.mark.parametrize(("content", "says"), [
    (b"", "the file is empty"),
    (b"- a\n- b\n", "must hold keys and values"),
    (b"a: \xff\n", ":1: not UTF-8 text"),
    (b"a: \x07\n", "not valid YAML"),
    (b"x: " + b"[" * 100 + b"]" * 100, "nested deeper than 32 levels"),
    (b"a: &a 1\nb: [" + b"*a," * 100 + b"]", "more than 64 aliases"),
    (b"#" * 1_100_000, "longer than 1048576 bytes"),
    (b"a: &a [" + b"1," * 1000 + b"]\nb: &b [" + b"*a," * 20 + b"]\nc: [" + b"*b," * 20 + b"]", "more than 100000 values"),
])
def test_hostile_files_are_refused_quickly(tmp_path: Path, content: bytes, says: str) -> None:
    """Size, depth, aliases and what they unfold to are bounded."""
    path = tmp_path / "lockgate.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """And so is a folder."""
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            load(path)


def test_words_stay_words(tmp_path: Path) -> None:
    """YAML 1.1's surprises (`on`, `no`, `12:30`, dates) are text here."""
    text = changed("groups: [autogen-analysts]", "groups: [on, no, 12:30, 2026-01-01, 0x10, yes]")
    assert load_text(tmp_path, text).rules[0].who.groups == {"on", "no", "12:30", "2026-01-01", "0x10", "yes"}


def test_duplicate_listener_addresses_and_server_names_are_found(tmp_path: Path) -> None:
    """Two listeners on one port, two connections for one server name."""
    double = '  - {name: b, protocol: echo, address: "127.0.0.1:5432", plaintext_tokens: loopback}\nidentity:'
    assert "address `127.0.0.1:5432` is taken" in problems(tmp_path, changed("identity:", double))[0]
    second = ("  - {name: hr, protocol: echo, address: h:1, credential: {user: u}, server_names: [A.example]}\n"
              "policies:")
    text = changed("policies:", second).replace("    credential", "    server_names: [a.example]\n    credential", 1)
    assert "leads to connection `crm` already" in problems(tmp_path, text)[0]


@pytest.mark.parametrize(("old", "new", "says"), [
    ("    allow: connect", "    deny: nobody", "lockgate.yaml:13: no rule allows anything, so nobody can connect"),
    ("    audit: full", "    notice: true", "lockgate.yaml:29: rule `everything-on-record` only gives notice"),
    ("policies:", "labels: {pii.x: {columns: ['*.x']}}\npolicies:", "lockgate.yaml:12: no mask uses the label `pii.x`"),
    ("with: null", "with: null, lookups: 5/h", "lockgate.yaml:20: `lookups` counts with `predicates: equality` only"),
    ("    audit: full", "    limit: {rows: 0}", "lockgate.yaml:29: `rows: 0` lets no statement return a row"),
])
def test_what_is_probably_a_mistake_is_doubted(tmp_path: Path, old: str, new: str, says: str) -> None:
    """It is valid, and told all the same, with its line."""
    found = [line.removeprefix(f"{tmp_path}/") for line in load_text(tmp_path, changed(old, new)).doubts]
    assert [line[:len(says)] for line in found] == [says]


def test_no_policies_are_doubted_and_a_sound_file_is_not(tmp_path: Path) -> None:
    """Nothing is said where there is nothing to say."""
    (found,) = load_text(tmp_path, GOOD.partition("policies:")[0]).doubts
    assert "there are no policies, so nobody can connect" in found
    sound = changed("with: null", "with: null, predicates: equality, lookups: 5/h")
    assert load_text(tmp_path, GOOD).doubts == load_text(tmp_path, sound).doubts == ()


def test_a_rule_and_its_globs_have_lines(tmp_path: Path) -> None:
    """Also those of a label, and a glob as it is on its connection."""
    loaded = load_text(tmp_path, changed("policies:\n", "labels: {pii: {names: [ssn], columns: [crm.a.b.c]}}\npolicies:\n").replace(
        "{detect: [credit_card, aws_key], with: partial}", "{labels: [pii], with: partial}"))
    places = [loaded.place("hide-ssn", what).removeprefix(f"{tmp_path}/") for what in ("", "*.ssn", "a.b.c", "names ssn", "?")]
    assert places == [f"lockgate.yaml:{line}" for line in (18, 21, 12, 12, 18)]
