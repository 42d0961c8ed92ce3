"""Ordinary work is let through a gateway with masks, and comes back as it is but for what is masked.

Every file of `tests/data/benign` is replayed on four equal databases: through the gateway, directly, directly once
more (what differs then depends on the moment), and directly on one whose labelled columns hold other values (what
differs then depends on them). All other values, the columns' names and types and the command tags have to be equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from testbed.gateway import Gateway, Issuer, gateway
from testbed.postgres import Server, embedded
from tests.e2e.conftest import HEAD, PASSWORD
from tests.e2e.replay import FOLDER, Corpus, Entry, Replay, corpora, differences, entries, independent

CORPORA = corpora()
PLACES = {corpus.place: corpus for corpus in CORPORA}
MOST = 0.02                         # of the statements may be refused
SIDES = ("direct", "again", "other", "gateway")
ABORTED = "25P02"                   # the block failed before: told of the statement that made it fail
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Stage:
    """A server with the databases, and the gateway before it."""

    server: Server
    front: Gateway
    token: str

    def replay(self, corpus: Corpus, side: str) -> Replay:
        if side == "gateway":
            return Replay(self.front.dsn(self.token, corpus.place))
        return Replay(self.server.dsn(f"{corpus.place}_{side}", user="app", password=PASSWORD))


def change_labelled(connection: psycopg.Connection[Any], labels: tuple[str, ...]) -> None:
    """Other values in the labelled columns, the rows in their order, and nothing else."""
    connection.execute("set session_replication_role = replica")           # no trigger, no foreign key
    for label in labels:
        relation, column = label.rsplit(".", 1)
        row = connection.execute("select format_type(atttypid, atttypmod) from pg_attribute where attrelid = %s::regclass"
                                 " and attname = %s", [relation, column]).fetchone()
        assert row is not None, label
        changed = {"date": f"{column} + 1000"}.get(row[0], f"{column} * 2 + 1" if row[0].startswith("numeric") else
                                                   f"translate({column}::text, '{LETTERS}', '{LETTERS[7:]}{LETTERS[:7]}')::{row[0]}")
        connection.execute(f"update {relation} set {column} = {changed}".encode())
        connection.execute(f"vacuum full {relation}".encode())


def configuration() -> str:
    connections = "".join(
        f"  - {{{{name: {corpus.place}, protocol: postgres, address: \"127.0.0.1:{{backend}}\", tls: {{{{mode: disable}}}},\n"
        "     credential: {{user: app, password: {{env: CRM_PASSWORD}}}}}}\n" for corpus in PLACES.values())
    policies = "".join(
        f"  - name: hide-{corpus.place.replace('_', '-')}\n    connections: [{corpus.place}]\n    mask:\n      - {{{{columns: ["
        + ", ".join(f'"{label}"' for label in corpus.labels) + "], with: redact}}\n" for corpus in PLACES.values())
    head, _, rest = HEAD.partition("connections:\n")
    return head + "connections:\n" + connections + rest[rest.index("policies:"):] + policies


@pytest.fixture(scope="module")
def stage(tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with embedded() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            def create(name: str, template: str = "template1") -> None:
                admin.execute(f"create database {name} template {template} owner app strategy file_copy".encode())

            admin.execute(f"create role app login password '{PASSWORD}'".encode())
            made: dict[str, str] = {}
            for place, corpus in PLACES.items():
                if corpus.database in made:
                    create(f"{place}_direct", made[corpus.database])
                else:
                    create(f"{place}_direct")
                    with psycopg.connect(server.dsn(f"{place}_direct", user="app", password=PASSWORD), autocommit=True) as owner:
                        owner.execute((FOLDER / corpus.database).read_bytes())
                    made[corpus.database] = f"{place}_direct"
                for name in (place, f"{place}_again", f"{place}_other"):
                    create(name, f"{place}_direct")
                with psycopg.connect(server.dsn(f"{place}_other"), autocommit=True) as changer:
                    change_labelled(changer, corpus.labels)
        with gateway(tmp_path_factory.mktemp("benign"), configuration(), env={"CRM_PASSWORD": PASSWORD},
                     backend=server.port, issuer=tokens.url) as front:
            yield Stage(server, front, tokens.token("agent-1", "agents"))


@dataclass(frozen=True)
class Refused:
    corpus: str
    entry: Entry
    code: str
    reason: str

    def __str__(self) -> str:
        return f"{self.corpus}: {self.code} {self.reason} | {' '.join(self.entry.sql.split())[:160]}"


def replayed(stage: Stage, corpus: Corpus) -> tuple[set[str], dict[str, Refused], list[str]]:
    """(shapes that ran directly, those of them that were refused, what differs where it may not)."""
    with psycopg.connect(stage.server.dsn(corpus.place), autocommit=True) as admin:
        statements = entries(corpus, admin)
        labelled = frozenset(pair for label in corpus.labels if (pair := admin.execute(
            "select attrelid, attnum from pg_attribute where attrelid = %s::regclass and attname = %s",
            label.rsplit(".", 1)).fetchone()))
    ran: set[str] = set()
    refused: dict[str, Refused] = {}
    wrong = []
    with ExitStack() as open_ones:
        sides = {side: open_ones.enter_context(stage.replay(corpus, side)) for side in SIDES}
        for entry in statements:
            answers = {side: session.run(entry) for side, session in sides.items()}
            direct, gated = answers["direct"], answers["gateway"]
            if direct.code:
                assert gated.code, f"{corpus.name}: fails directly, and not through the gateway: {entry.sql}"
                continue
            if entry.predicate:                 # it filters on a labelled column: what happens then is for the policy to say
                continue
            ran.add(entry.shape)
            if gated.code and gated.code != ABORTED:
                refused.setdefault(entry.shape, Refused(corpus.name, entry, gated.code, gated.reason))
            elif not gated.code:
                columns = independent(direct, answers["again"], answers["other"], labelled)
                difference = differences(direct, gated, columns)
                if difference:
                    wrong.append(f"{corpus.name}: {difference} | {entry.sql}")
    return ran, refused, wrong


def test_ordinary_statements_are_neither_refused_nor_wrongly_masked(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """At most 2 % of what ordinary clients send is refused, and no value that depends on no label is changed."""
    ran = 0
    refused: list[Refused] = []
    wrong: list[str] = []
    for corpus in CORPORA:
        shapes, over, differing = replayed(stage, corpus)
        ran += len(shapes)
        refused += over.values()
        wrong += differing
    with capsys.disabled():
        print(f"\nbenign statements: {ran}, over-refused {len(refused)} ({len(refused) / ran:.1%}), false masks {len(wrong)}")
        for one in refused:
            print(f"  {one}")
    assert wrong == []
    assert ran >= 400
    assert len(refused) <= MOST * ran


def test_a_false_mask_and_a_refusal_would_be_found(stage: Stage) -> None:
    """The comparison sees a masked value where the label is taken away from it, and a statement that gets no answer."""
    corpus = next(corpus for corpus in CORPORA if corpus.name == "analyst")
    entry = Entry("SELECT id, email FROM customers ORDER BY id LIMIT 3")
    with stage.replay(corpus, "direct") as direct, stage.replay(corpus, "again") as again, \
            stage.replay(corpus, "gateway") as gated:
        answers = {"direct": direct.run(entry), "again": again.run(entry), "gateway": gated.run(entry)}
        refused = gated.run(Entry("SELECT query_to_xml('SELECT 1', false, false, '')"))
    unlabelled = independent(answers["direct"], answers["again"], answers["again"], frozenset())
    assert unlabelled == [0, 1]
    assert "xxxx" in differences(answers["direct"], answers["gateway"], unlabelled)
    assert differences(answers["direct"], answers["gateway"], [0]) == ""
    assert refused.code
