"""`lockgate audit erase` and `lockgate audit hold`: destroying payloads, and keeping them from that.

Apart from `audit`, which only looks. Locally both go through the running gateway or open the log themselves
(`audit.admin`); with ``--url`` an erasure goes to the control API, where somebody else may have to approve it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lockgate.audit.admin import recorded
from lockgate.audit.custody import Scope
from lockgate.audit.erasing import Wish
from lockgate.audit.reader import Reader
from lockgate.audit.requests import erasure_requests
from lockgate.audit.standing import Standing
from lockgate.audit.storage.database.place import POINTER, fleet_folder, shard_folder
from lockgate.audit.storage.sqlite import open_source
from lockgate.cli.calling import TokenFile, token_of
from lockgate.cli.fleet_erasing import asked_of, erased_everywhere, left_lines, words_of
from lockgate.cli.requests import asked_for, status_of
from lockgate.cli.requests import words_of as request_words
from lockgate.cli.shown import clean, one_line
from lockgate.cli.state import State, audit_folder, log_folder
from lockgate.errors import ConfigError
from lockgate.store import SqlReviewStore, open_database
from lockgate.store.database import NAME

hold = typer.Typer(no_args_is_help=True, help="Legal holds: what is held is not erased, by nobody and by no period.")

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the record.")]
Subject = Annotated[str | None, typer.Option("--subject", help="Everything of this person or workload.")]
Issuer = Annotated[str | None, typer.Option("--issuer", help="The subject's issuer, where several know the name.")]
HoldName = Annotated[str, typer.Argument(help="The hold's name, like case-2026-117.")]
_SHOWN = 12     # numbers of records that are printed


def erase(
    reason: Reason, subject: Subject = None, issuer: Issuer = None,
    record: Annotated[
        list[str] | None, typer.Option("--records", help="A record's number, or a range like 10-20. Repeatable.")
    ] = None,
    state: State = Path("state"),
    url: Annotated[
        list[str] | None, typer.Option(
            "--url", help="Ask through this control address instead, with your token. Repeatable: each gateway of a fleet.")
    ] = None,
    token_file: TokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Destroy payloads of the log for good, and the recordings of the sessions concerned. The records stay, and
    say that it was done, by whom and why. A subject is erased in every shard of a fleet; what cannot be reached from
    here is named, and the exit status is 1 then.
    """
    records = [_range(text) for text in record or ()]
    if (subject is None) == (not records) or (issuer is not None and subject is None):
        raise ConfigError("say what to erase: --subject with or without --issuer, or --records")
    if url and len(url) > 1 and records:
        raise ConfigError("records' numbers are those of one log; give one --url with them")
    if url:
        words: dict[str, Any] = {"subject": subject, "issuer": issuer, "records": records, "reason": reason}
        answer = asked_of(url, token_of(token_file), words)
    else:
        answer = _erased(state, Wish(reason, subject, issuer, tuple((first, last) for first, last in records)))
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        for part in answer.get("shards", answer.get("gateways", [answer])):
            _say(part)
        for line in left_lines(answer.get("left", ())):
            typer.echo(line)
    if answer.get("left"):
        raise typer.Exit(1)


def _erased(state: Path, wish: Wish) -> dict[str, Any]:
    """What was erased from here: in every shard what is a subject's, in one log what is named by number."""
    base, folder = audit_folder(state), log_folder(state)
    fleet = fleet_folder(folder)
    own = folder.parent if fleet is None else fleet[0].parent

    def forget(tickets: Sequence[str]) -> None:
        _forget(own, tickets)

    if wish.subject is not None and (base / POINTER).is_file():
        return erased_everywhere(base, wish, forget)
    with recorded(folder, forget) as log:
        return words_of(log.erase(wish))


def _say(answer: dict[str, Any]) -> None:
    if "url" in answer:
        typer.echo(f"{answer['url']}:")
    if answer.get("payloads") == 0:
        typer.echo("nothing of it is there")
        return
    if "ticket" in answer:
        ticket = clean(answer["ticket"])
        typer.echo(f"{answer['payloads']} payloads wait for somebody else's approval: ticket {ticket}\n"
                   f"what becomes of it: lockgate audit erasures {ticket}")
        return
    leaves = [str(index) for index in answer["leaves"]]
    more = f" and {len(leaves) - _SHOWN} more" if len(leaves) > _SHOWN else ""
    where = f" in {shard_folder(answer['shard'])}" if "shard" in answer else ""
    typer.echo(f"erased{where}: {answer['payloads']} payloads, {answer['recordings']} recordings; on record as "
               f"{', '.join(leaves[:_SHOWN])}{more}")
    for sid in answer["unfinished"]:
        typer.echo(f"session {clean(sid)} is still open: erase again when it has ended")
    if not answer["is_scrubbed"]:
        typer.echo("somebody reads an older state of the log: the gateway overwrites the last bytes when that is over")


def erasures(
    ticket: Annotated[str | None, typer.Argument(metavar="[TICKET]", help="One request, by its ticket.")] = None,
    state: State = Path("state"),
    url: Annotated[
        str | None, typer.Option("--url", help="Ask through this control address instead, with your token.")
    ] = None,
    token_file: TokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What became of erasures that somebody else had to approve. Of one ticket the exit status says it as well:
    0 erased, 1 came to nothing, 2 still waits.
    """
    found = _requests(ticket, state, url, token_file)
    if ticket is not None and not found:
        raise ConfigError(f"no erasure was asked for with ticket {clean(ticket)}")
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("no erasure was asked for that somebody else had to approve")
    for request in found if not as_json else ():
        typer.echo(request_words(request))
    if ticket is not None:
        raise typer.Exit(status_of(found[0]))


def _requests(ticket: str | None, state: Path, url: str | None, token_file: Path | None) -> list[dict[str, Any]]:
    if url is not None:
        found: list[dict[str, Any]] = asked_for(url, token_of(token_file), ticket)
        return found
    with open_source(log_folder(state)) as source:
        return [request.shown() for request in erasure_requests(source, time.time(), ticket)]


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or not (last.isdecimal() or not dash):
        raise ConfigError(f"{text!r} is no record; write a number, or a range like 10-20")
    pair = (int(first), int(last or first))
    if pair[0] > pair[1]:
        raise ConfigError(f"{text!r} ends before it begins")
    return pair


def _forget(state: Path, tickets: Sequence[str]) -> None:
    """The statements that reviewers saw are in the state's database as well, where no gateway runs."""
    if not tickets or not (state / NAME).exists():
        return
    engine = open_database(state)
    try:
        SqlReviewStore(engine).drop(tickets)
    finally:
        engine.dispose()


@hold.command("set")
def set_hold(
    name: HoldName, reason: Reason,
    everything: Annotated[bool, typer.Option("--all", help="Everything, also what comes.")] = False,
    session: Annotated[str | None, typer.Option("--session", help="A session, by its id or the beginning of it.")] = None,
    subject: Subject = None, issuer: Issuer = None,
    records: Annotated[str | None, typer.Option("--records", help="A record's number, or a range like 10-20.")] = None,
    state: State = Path("state"),
) -> None:
    """Keep payloads and recordings from being erased until the hold is lifted."""
    scopes: list[Scope] = []
    if everything:
        scopes.append({"all": True})
    if session is not None:
        scopes.append({"session": session})
    if subject is not None:
        scopes.append({"subject": subject} if issuer is None else {"subject": subject, "issuer": issuer})
    if records is not None:
        first, last = _range(records)
        scopes.append({"first": first, "last": last})
    if len(scopes) != 1:
        raise ConfigError("say what to hold: one of --all, --session, --subject and --records")
    with recorded(log_folder(state)) as log:
        index = log.hold(name, "set", scopes[0], reason)
    typer.echo(f"hold {one_line(name)} is set; on record as {index}")


@hold.command("lift")
def lift_hold(name: HoldName, reason: Reason, state: State = Path("state")) -> None:
    """Let what was held be erased again."""
    with recorded(log_folder(state)) as log:
        index = log.hold(name, "lift", None, reason)
    typer.echo(f"hold {one_line(name)} is lifted; on record as {index}")


@hold.command("list")
def list_holds(
    state: State = Path("state"), as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the holds that stand, with who set them and why."""
    folder = log_folder(state)
    standing = Standing()
    with open_source(folder) as source:
        standing.advance(source)
    found = []
    with Reader(folder) as reader:
        for name, index in standing.setters.items():
            _, payload = reader.entry(index)
            said = json.loads(payload.content.get("body", "{}")) if payload.state == "open" else {}
            found.append({"hold": name, "scope": dict(standing.holds.standing[name]), "record": index,
                          "by": (said.get("requester") or [None, None])[1], "reason": said.get("reason")})
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("nothing is held")
    for entry in found:
        typer.echo(f"{entry['hold']}  {json.dumps(entry['scope'])}  record {entry['record']}  "
                   f"by {one_line(str(entry['by']))}: {one_line(str(entry['reason']))}")
