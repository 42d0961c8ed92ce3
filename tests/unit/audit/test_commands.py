"""The commands over a real log: verdicts as exit codes, and the answer to "who caused this write?"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockgate.cli import audit, session
from tests.unit.audit.logs import Driven, edit, sample

RUN = CliRunner()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    sample(tmp_path / "state" / "audit")
    return tmp_path / "state"


def test_verify_prints_a_line_per_check_and_the_verdict(state: Path) -> None:
    """A good log: exit 0, VERIFIED, the uncosigned tail named; the folder may be given either way."""
    for arguments in (["verify", str(state / "audit")], ["verify", str(state)], ["verify", "--state", str(state)]):
        result = RUN.invoke(audit.app, [*arguments, "--key", str(state / "audit" / "log.vkey")])
        assert result.exit_code == 0, result.output
        assert "VERIFIED" in result.output.splitlines()[-1]
        assert "16 of 16 entries are not cosigned" in result.output
        assert "pin" not in result.output


def test_verify_names_the_record_that_was_altered(state: Path) -> None:
    """A bad log: exit 1 and the index, in words and as JSON."""
    edit(state / "audit", "UPDATE entries SET leaf = zeroblob(9) WHERE idx = 5")
    result = RUN.invoke(audit.app, ["verify", "--state", str(state)])
    assert result.exit_code == 1
    assert "TAMPERED at index 5 (leaf hash)" in result.output.splitlines()[-1]
    found = json.loads(RUN.invoke(audit.app, ["verify", "--state", str(state), "--json"]).output)
    assert (found["verdict"], found["index"], found["check"]) == ("tampered", 5, "leaf hash")


def test_nothing_that_is_given_is_left_unread(state: Path, tmp_path: Path) -> None:
    """A policy counts for whatever is verified; a trust note that a verdict would not rest on is wrong usage."""
    package, key, given = tmp_path / "evidence.tar", str(state / "audit" / "log.vkey"), tmp_path / "given"
    given.write_text("quorum none\n")
    assert RUN.invoke(audit.app, ["export", "--out", str(package), "--state", str(state)]).exit_code == 0
    assert RUN.invoke(audit.app, ["verify", str(package), "--key", key, "--policy", str(given)]).exit_code == 0
    assert RUN.invoke(audit.app, ["verify", str(state), "--key", key, "--policy", str(given)]).exit_code == 0
    for arguments in ([str(package), "--key", key, "--trust", str(given)], ["https://log.invalid", "--root", key, "--policy", str(given)],
                      [str(state), "--key", key, "--trust", str(given)]):
        result = RUN.invoke(audit.app, ["verify", *arguments])
        assert result.exit_code == 4, result.output
        assert "VERIFIED" not in result.output


def test_verify_tells_its_other_verdicts_apart(state: Path, tmp_path: Path) -> None:
    """2 incomplete, 3 untrusted, 4 usage."""
    assert RUN.invoke(audit.app, ["verify", str(tmp_path / "nowhere")]).exit_code == 4
    assert RUN.invoke(audit.app, ["verify", str(tmp_path)]).exit_code == 2
    assert RUN.invoke(audit.app, ["verify", str(state), "--key", str(tmp_path / "no.vkey")]).exit_code == 4
    assert RUN.invoke(audit.app, ["verify", str(state), "--against", str(tmp_path / "no")]).exit_code == 4


@pytest.mark.parametrize(("arguments", "said"), [
    (["{evidence}", "--root", "{key}", "--trust", "{key}"], "leave out --trust"),
    (["{state}", "--root", "{key}", "--policy", "{key}"], "give --root, or --key with --policy"),
    (["{state}", "--policy", "{key}"], "is no witness policy"),
    (["{state}", "--trust", "{key}"], "give the pinned root with --root"),
    (["{state}", "--root", "{key}"], "name the organisation's trust note with --trust"),
    (["http://127.0.0.1:9/log", "--root", "{key}"], "name the organisation's trust note with --trust"),
])
def test_verify_ignores_no_option(state: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    """What an option cannot be held for is wrong usage, with what to do: a verdict without it would say too much."""
    out = tmp_path / "evidence.tar"
    assert RUN.invoke(audit.app, ["export", "--state", str(state), "--out", str(out)]).exit_code == 0
    names = {"evidence": str(out), "state": str(state), "key": str(state / "audit" / "log.vkey")}
    result = RUN.invoke(audit.app, ["verify", *(argument.format(**names) for argument in arguments)])
    assert result.exit_code == 4
    assert said in result.stderr


def test_an_unpacked_package_is_no_log(tmp_path: Path) -> None:
    """Wrong usage that says so, instead of a log without its store."""
    (tmp_path / "manifest.json").write_text("{}")
    result = RUN.invoke(audit.app, ["verify", str(tmp_path)])
    assert (result.exit_code, "unpacked" in result.stderr) == (4, True)


def test_the_verification_of_a_package_can_be_recorded(state: Path, tmp_path: Path) -> None:
    """In the log of --state, as that of anything else."""
    out = tmp_path / "evidence.tar"
    assert RUN.invoke(audit.app, ["export", "--state", str(state), "--out", str(out)]).exit_code == 0
    key = str(state / "audit" / "log.vkey")
    result = RUN.invoke(audit.app, ["verify", str(out), "--key", key, "--record", "--state", str(state)])
    assert result.exit_code == 0, result.output
    said = RUN.invoke(audit.app, ["query", "SELECT count(*) AS n FROM acts WHERE type = 'verify_run'", "--state", str(state),
                                  "--format", "json"])
    assert json.loads(said.output) == {"n": 1}


def test_show_prints_one_entry(state: Path) -> None:
    """Leaf and payload of one entry; a number that is not there is a usage error."""
    shown = RUN.invoke(audit.app, ["show", "8", "--state", str(state)])
    assert shown.exit_code == 0
    assert "DELETE FROM customers" in shown.output
    assert RUN.invoke(audit.app, ["show", "99", "--state", str(state)]).exit_code == 4


def test_list_answers_who_caused_this_write(state: Path) -> None:
    """Filtering by verb and object names the session, the person, the agent, the task and the entry."""
    result = RUN.invoke(session.app, ["list", "--state", str(state), "--verb", "delete", "--object", "customers"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == 2
    for word in ("aaaaaaaaaaaa", "alice", "planner", "ticket 4711", "crm", "8"):
        assert word in lines[1]
    assert len(RUN.invoke(session.app, ["list", "--state", str(state)]).output.splitlines()) == 3
    found = json.loads(RUN.invoke(session.app, ["list", "--state", str(state), "--verb", "drop", "--json"]).output)
    assert [(view["subject"], view["matching"], view["refused"]) for view in found] == [("bob", [5], 1)]
    by_subject = json.loads(
        RUN.invoke(session.app, ["list", "--state", str(state), "--subject", "bob", "--json"]).output)
    assert [view["session"] for view in by_subject] == ["b" * 16]


def test_replay_tells_the_whole_story(state: Path) -> None:
    """Who, for which task, each statement with parameters, decision, rules, reviewer and outcome."""
    result = RUN.invoke(session.app, ["replay", "aaaa", "--state", str(state)])
    assert result.exit_code == 0, result.output
    for word in ("alice", "planner", "model-1", "client-1", "task: ticket 4711", "crm (postgres)", "review  delete",
                 "DELETE FROM customers", "$1 = '7'", "$2 = NULL", "reach", "public.customers",
                 "ticket T1, approved by carol", "ok, 1 rows, 1.5 ms, masked 2 email", "closed"):
        assert word in result.output, word
    refused = RUN.invoke(session.app, ["show", "bbbb", "--state", str(state)])
    assert "→ not forwarded: denied by reach\n" in refused.output
    whole = json.loads(RUN.invoke(session.app, ["replay", "aaaa", "--state", str(state), "--json"]).output)
    assert whole["statements"][1]["review"] == {"verdict": "approved", "reviewer": "carol", "comment": ""}


def test_what_is_shown_of_a_refusal_says_by_which_rule_and_with_which_ticket(tmp_path: Path) -> None:
    """One line is enough to find the rule, and the ticket that the agent was given."""
    driven = Driven(tmp_path)
    driven.begin("s")
    driven.intent("s", "DELETE FROM t", decision="review", refusal="review_pending", rules=("reach", "deletes"), ticket="LG-1")
    driven.intent("s", "SELEC", decision="deny", rules=())
    driven.run("s", "SELECT 1")
    driven.log.close()
    shown = RUN.invoke(session.app, ["show", "s", "--state", str(tmp_path)]).output.splitlines()[-3:]
    assert [line.partition("→ ")[2] for line in shown[:2]] == [
        "not forwarded: review_pending by reach, deletes, ticket LG-1", "not forwarded: denied"]
    assert "reach" not in shown[2]


def test_erased_payloads_are_said_to_be_so(state: Path) -> None:
    """Without a payload the rest of the story is still told."""
    edit(state / "audit", "DELETE FROM payload_keys")
    result = RUN.invoke(session.app, ["replay", "aaaa", "--state", str(state)])
    assert result.exit_code == 0
    assert "(statement MISSING)" in result.output
    assert RUN.invoke(session.app, ["list", "--state", str(state)]).exit_code == 0


def test_unknown_and_ambiguous_sessions_are_usage_errors(state: Path, tmp_path: Path) -> None:
    """The reader says what to do instead."""
    for arguments in (["show", "zz", "--state", str(state)], ["show", "a", "--state", str(tmp_path)]):
        assert RUN.invoke(session.app, arguments).exit_code == 4
    edit(state / "audit", "UPDATE entries SET leaf = zeroblob(3) WHERE idx = 1")
    assert RUN.invoke(session.app, ["show", "aaaa", "--state", str(state)]).exit_code == 4


def test_recorded_text_cannot_drive_the_terminal(tmp_path: Path) -> None:
    """Escape sequences in statements are printed as text."""
    driven = Driven(tmp_path / "audit")
    driven.begin("s")
    driven.run("s", "SELECT '\x1b[2J\x9b31m' -- [red]")
    driven.log.close()
    for command in ("show", "replay"):
        output = RUN.invoke(session.app, [command, "s", "--state", str(tmp_path)]).output
        assert "\x1b" not in output
        assert "\x9b" not in output
        assert "\\x1b[2J" in output
        assert "[red]" in output
