"""Credentials and tokens that pass through a gateway turn up in no log, record, file, answer, child or core."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pyrage
import pytest

from testbed.gateway import Gateway, Issuer, wait_ready
from testbed.postgres import Server, free_port
from tests.e2e import canaries, leaky
from tests.e2e.canaries import Place, hits
from tests.e2e.conftest import HEAD, PASSWORD, POLICIES
from tests.e2e.test_review import Held, call, wait_pending

FILE_PASSWORD = "b71d-file-canary-5a"
OTHER = "9c02-environment-canary-77"
STATEMENTS = {
    "ddl": "CREATE ROLE eve PASSWORD 'c4n-ddl-81f2'",
    "options": "CREATE USER MAPPING FOR app SERVER nowhere OPTIONS (user 'u', password 'c4n-options-3b')",
    "dblink": "SELECT * FROM dblink('host=h password=c4n-dblink-77', 'SELECT 1') AS t(x int)",
    "connection": "CREATE SUBSCRIPTION s CONNECTION 'postgres://u:c4n-connection-0a@h/d' PUBLICATION p",
    "syntax": "ALTER ROEL app PASSWORD 'c4n-syntax-5e'",
    "body": "DO $$ BEGIN EXECUTE 'ALTER ROLE nobody PASSWORD ''c4n-body-6d'''; END $$",
    "program": "COPY notes FROM PROGRAM 'curl -H \"Authorization: Bearer c4n-program-2f\" h'",
    "setting": "SELECT set_config('app.api_key', 'c4n-setting-9d', false) IS NULL",
    "raised": f"SELECT 1 AS \"{leaky.FORCE}\" WHERE 'password=c4n-raised-d0' <> ''",
}
BOUND = "host=h password=c4n-bound-44"
HELD = "DELETE FROM notes WHERE body = 'postgres://u:c4n-held-1c@h'"

PLAIN = """\
  - name: plain
    protocol: postgres
    address: 127.0.0.1:{backend}
    credential: {{user: app, password: {{env: CRM_PASSWORD}}}}
"""
CONFIG = HEAD.replace(PLAIN, PLAIN.replace("user: app, password: {{env: CRM_PASSWORD}}",
                                           "user: app_file, password: {{file: {folder}/plain.password}}")) + POLICIES
CONFIG = CONFIG.replace("audit: {{", "audit: {{recording: {{recipients: [{recipient}], record: true}}, ")
AUDITOR = pyrage.x25519.Identity.generate()


@dataclass
class Ran:
    """What is left of one run."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)


@contextmanager
def running(folder: Path, how: str, backend: Server, issuer: Issuer) -> Iterator[Gateway]:
    """`leaky.py` as a process in a folder of its own, so that a core would be there, in front of PostgreSQL."""
    folder.mkdir()
    (folder / "plain.password").write_text(FILE_PASSWORD + "\n")
    said = {"backend": backend.port, "issuer": issuer.url, "recipient": AUDITOR.to_public()}
    with started(folder, how, CONFIG, {"CRM_PASSWORD": PASSWORD, "OTHER_SECRET": OTHER}, said) as front:
        yield front


@contextmanager
def started(
    folder: Path, how: str, config: str, secrets: dict[str, str], said: dict[str, object], *more: str,
) -> Iterator[Gateway]:
    """The process with these secrets in its environment; `more` are further ports that the configuration names."""
    ports = {name: free_port() for name in ("port", "control", *more)}
    path = folder / "lockgate.yaml"
    path.write_text(config.format(folder=folder, **said, **ports))
    words = [sys.executable, leaky.__file__, how, str(path), *([secrets["CRM_PASSWORD"]] if how == "leaky" else [])]
    environment = {**os.environ, **secrets, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, env=environment)
    front = Gateway(ports["port"], ports["control"], folder, process, folder / "gateway.log", ports)
    try:
        wait_ready(f"{front.control_url}/readyz", process, front.log)
        yield front
    finally:
        front.stop()


def work(front: Gateway, issuer: Issuer, ran: Ran) -> None:
    """Everything that a credential takes part in, good and bad."""
    agent, dba = issuer.token("agent-7", "agents"), issuer.token("dora", "dba")
    short = issuer.token("agent-8", "agents", lifetime="1")
    forged = agent.rpartition(".")[0] + "." + "Zm9yZ2VkLXNpZ25hdHVyZS1jYW5hcnktMDAwMDAwMDAwMDA"
    for name, token in (("token", agent), ("reviewer's token", dba), ("expired token", short), ("forged token", forged)):
        ran.secrets[name] = token.rpartition(".")[2].encode()
    with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        for text in (*STATEMENTS.values(), f"SELECT '{agent}'"):
            with suppress(psycopg.Error):
                connection.execute(text)  # type: ignore[call-overload]
        connection.execute("SELECT 1 WHERE %s::text <> ''", (BOUND,))
    with psycopg.connect(front.dsn(agent, "plain")) as connection:
        connection.execute("SELECT 1")

    def delete() -> None:
        with psycopg.connect(front.dsn(agent), autocommit=True) as connection:
            connection.execute(HELD)

    held = Held(delete)
    ticket = wait_pending(front, dba, "DELETE FROM notes")["ticket"]
    said = [call(front, path, dba)[1] for path in ("/v1/reviews?state=all", f"/v1/reviews/{ticket}")]
    said.append(call(front, f"/v1/reviews/{ticket}/approve", dba, {})[1])
    assert held.finish().error is None
    said += [call(front, "/v1/reviews", bad)[1] for bad in (forged, "c4n-no-token-at-all", agent)]
    wait_expired(short)
    for bad in (short, forged):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(front.dsn(bad))
    (front.folder / "lockgate.yaml").write_text((front.folder / "lockgate.yaml").read_text().replace("never-drop", "no-drop"))
    front.process.send_signal(signal.SIGHUP)
    said += [fetch(front, "/v1/sessions", dba).decode() for _ in range(2)]
    assert any("agent-7" in str(answer) for answer in said)
    assert "lockgate_" in fetch(front, "/metrics").decode()
    said += [fetch(front, path).decode() for path in ("/metrics", "/readyz", "/healthz", "/v1/openapi.json", "/nothing")]
    ran.places += canaries.answers(front, [str(answer).encode() for answer in said])


def wait_expired(token: str) -> None:
    """Until the token is no longer good."""
    body = token.split(".")[1]
    expires = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"]
    while time.time() <= expires:
        time.sleep(0.05)


def fetch(front: Gateway, path: str, token: str = "") -> bytes:
    asked = urllib.request.Request(front.control_url + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def crash(front: Gateway, agent: str, ran: Ran) -> None:
    """SIGABRT with a session open, after somebody has lifted the limit on cores."""
    ran.places += canaries.children(front.process.pid)
    ran.places += canaries.dumps(front.folder, front.process.pid)
    with suppress(psycopg.OperationalError), psycopg.connect(front.dsn(agent), autocommit=True) as connection:
        connection.execute("SELECT 1")
        ran.places += canaries.cores(front)


def run(folder: Path, how: str, backend: Server, issuer: Issuer) -> Ran:
    ran = Ran({"backend password": PASSWORD.encode(), "file password": FILE_PASSWORD.encode(), "environment": OTHER.encode(),
               "bound": b"c4n-bound-44", "held": b"c4n-held-1c", "no token": b"c4n-no-token-at-all"})
    ran.secrets |= {name: next(word for word in text.replace("'", " ").replace("=", " ").replace(":", " ").replace("@", " ")
                               .split() if word.startswith("c4n-")).encode() for name, text in STATEMENTS.items()}
    with running(folder, how, backend, issuer) as front:
        work(front, issuer, ran)
        crash(front, issuer.token("agent-7", "agents"), ran)
    state = front.state
    ran.secrets["mask key"] = (state / "mask.key").read_bytes().strip()
    ran.secrets["log key"] = (state / "audit" / "log.key").read_bytes().splitlines()[1]
    ran.places += canaries.files(state, "state", frozenset({"mask.key", "log.key"}))
    ran.places += canaries.payloads(state / "audit")
    ran.places += canaries.recordings(state / "audit", AUDITOR)
    ran.places.append(("log", front.log.read_bytes()))
    return ran


@pytest.fixture(scope="module")
def prepared(backend: Server) -> Server:
    """A second account, whose password is in a file."""
    with psycopg.connect(backend.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE app_file LOGIN PASSWORD '{FILE_PASSWORD}'")
    return backend


def test_no_credential_is_anywhere(prepared: Server, tokens: Issuer, tmp_path: Path) -> None:
    """Backend passwords, tokens good and bad, keys, and passwords in statements: sought in every place and form."""
    ran = run(tmp_path / "safe", "safe", prepared, tokens)
    assert len(ran.secrets) == 21
    assert {place for place, _ in ran.places} >= {
        "answer", "log", "payload", "recording", "cmdline", "environ of a child", "state:lockgate.db", "state:log.db"}
    assert any(b"CREATE ROLE eve" in content for place, content in ran.places if place == "recording")
    assert not hits(ran.places, ran.secrets)
    assert "core" not in {place for place, _ in ran.places}
    assert "core limit" not in {place for place, _ in ran.places}
    said = next(content for place, content in ran.places if place == "log").decode()
    assert "stage failed" in said           # the forced faults happened, and are told without their words
    assert "uncaught" in said
    assert said.count("ValueError") >= 3


def test_the_search_finds_each_of_them(prepared: Server, tokens: Issuer, tmp_path: Path) -> None:
    """A gateway that leaks in every place is caught in every place."""
    ran = run(tmp_path / "leaky", "leaky", prepared, tokens)
    found = hits(ran.places, ran.secrets)
    assert found >= {
        ("answer", "backend password"), ("answer", "held"), ("log", "backend password"), ("log", "raised"),
        ("state:debug.txt", "backend password"), ("environ of a child", "backend password"),
        ("environ of a child", "environment"), ("cmdline", "backend password"), ("payload", "token"), ("payload", "bound"),
        ("payload", "held"), ("recording", "held"), ("recording", "ddl"), ("recording", "bound"),
    }
    assert {("payload", name) for name in STATEMENTS if name != "raised"} <= found
    assert any(place.startswith("state:lockgate.db") and name == "held" for place, name in found)
    assert {"core", "core limit"} <= {place for place, _ in ran.places}


@pytest.mark.parametrize("form", range(12))
def test_every_form_is_looked_for(form: int) -> None:
    """Quoted, in hex, in UTF-16, in base64 at any offset: a secret is found in whatever it was written into."""
    import urllib.parse
    secret = b"it's a \"canary\"\\ 42"
    text = secret.decode()
    hidden = [
        b"x" + secret + b"y", secret.hex().encode(), secret.hex().upper().encode(), text.encode("utf-16-le"),
        text.replace("'", "''").encode(), json.dumps({"a": text}).encode(), urllib.parse.quote(text, safe="").encode(),
        *(base64.b64encode(b"abc"[:offset] + secret + b"tail") for offset in range(3)),
        base64.urlsafe_b64encode(b"\xff\xfe" + secret), repr([secret]).encode(),
    ][form]
    assert hits([("place", hidden)], {"it": secret}) == {("place", "it")}
    assert not hits([("place", hidden.swapcase() + b"other")], {"it": b"no such canary"})
