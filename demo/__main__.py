"""`python -m demo`: the main job, told in five short scenes. Ends by itself with exit 0.

`--stay` keeps everything up afterwards and prints how to connect with psql.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

from autogen_agentchat.messages import (
    TextMessage,
    ToolCallExecutionEvent,
    ToolCallRequestEvent,
)
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from demo import team
from demo.world import World, running
from testbed.gateway import run as run_lockgate

console = Console(width=112, highlight=False, force_terminal=os.environ.get("NO_COLOR") is None)


def scene(number: int, title: str) -> None:
    console.print()
    console.rule(f"[bold cyan]{number}. {title}", align="left")


def show_output(text: str, style: str = "") -> None:
    console.print(Text.from_ansi("  " + text.rstrip().replace("\n", "\n  ")), style=style)


class Reviewer(threading.Thread):
    """The person in the demo: looks at what is held and approves it, with the reviewer's own command."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self._url = world.gateway.control_url
        self._env = {"LOCKGATE_TOKEN": world.token("dora.dba", "dba")}
        self.done = threading.Event()
        self.approved: list[str] = []

    def run(self) -> None:
        while not self.done.wait(0.3):
            tickets = json.loads(run_lockgate("review", "list", "--url", self._url, "--json", env=self._env))
            for ticket in (entry["ticket"] for entry in tickets if entry["state"] == "pending"):
                console.print(f"\n  [bold magenta]reviewer[/] $ lockgate review show {ticket}")
                show_output(run_lockgate("review", "show", ticket, "--url", self._url, env=self._env))
                console.print(f"  [bold magenta]reviewer[/] $ lockgate review approve {ticket}")
                show_output(run_lockgate("review", "approve", ticket, "--url", self._url,
                                         "--comment", "closed tickets only, fine", env=self._env))
                self.approved.append(ticket)


async def run_team(folder: Path) -> None:
    async for message in team.run(folder):
        if isinstance(message, ToolCallRequestEvent):
            for call in message.content:
                sql = json.loads(call.arguments)["sql"]
                console.print(f"\n  [bold yellow]{message.source}[/] calls [bold]{call.name}[/]")
                console.print(Syntax("  " + sql, "sql", theme="ansi_dark", background_color="default"))
        elif isinstance(message, ToolCallExecutionEvent):
            for result in message.content:
                text = str(result.content)
                show_output(text, style="red" if text.startswith("ERROR") else "green")
        elif isinstance(message, TextMessage) and message.source == "coder":
            console.print("\n  [bold yellow]coder[/] ran the Python that the model wrote")
            show_output(message.content, style="green")
        elif isinstance(message, TextMessage) and message.source == "analyst" and "```" not in message.content:
            console.print(f"\n  [bold yellow]analyst[/] {message.content.replace(' TERMINATE', '')}")


def who_caused_this_write(world: World) -> str:
    state = str(world.folder / "state")
    console.print("  $ lockgate session list --verb delete")
    show_output(run_lockgate("session", "list", "--state", state, "--verb", "delete"))
    sessions = json.loads(run_lockgate("session", "list", "--state", state, "--verb", "delete", "--json"))
    sid = sessions[0]["session"]
    console.print(f"  $ lockgate session replay {sid}")
    show_output(run_lockgate("session", "replay", sid, "--state", state))
    return str(sid)


def a_stranger_verifies(world: World, sid: str) -> None:
    """The session as evidence, and its verifier: one file of plain Python, run without Lockgate or any library."""
    package, key = world.folder / "evidence.tar", world.folder / "state" / "audit" / "log.vkey"
    console.print(f"  $ lockgate audit export --session {sid[:12]} --out evidence.tar")
    run_lockgate("audit", "export", "--session", sid, "--out", str(package), "--state", str(world.folder / "state"))
    console.print("  $ tar xf evidence.tar verify.py && python3 -I verify.py evidence.tar --key pinned.vkey")
    with tarfile.open(package) as archive:
        verifier = archive.extractfile("verify.py")
        assert verifier is not None
        (world.folder / "verify.py").write_bytes(verifier.read())
    done = subprocess.run([sys.executable, "-I", "-S", str(world.folder / "verify.py"), str(package), "--key", str(key)],
                          capture_output=True, text=True, check=True, timeout=60)
    show_output(done.stdout, style="green")


def tampering_is_found(world: World) -> None:
    log = world.folder / "state" / "audit"
    console.print("  $ lockgate audit verify")
    show_output(run_lockgate("audit", "verify", str(log)), style="green")
    copy = world.folder / "tampered"
    shutil.copytree(log, copy, ignore=shutil.ignore_patterns("*.sock"))
    index = flip_one_bit(copy)
    console.print(f"\n  Now somebody with root flips [bold]one bit[/] in record {index} of a copy of the log.\n")
    console.print("  $ lockgate audit verify tampered/")
    show_output(run_lockgate("audit", "verify", str(copy), "--key", str(log / "log.vkey"), expect=(1,)), style="red")


def flip_one_bit(copy: Path) -> int:
    """Change one bit of one stored leaf, as root could. Returns the record's index."""
    database = sqlite3.connect(next(copy.glob("*.db")))
    index, leaf = database.execute(
        "SELECT idx, leaf FROM entries WHERE CAST(leaf AS text) LIKE '%\"delete\"%' ORDER BY idx LIMIT 1").fetchone()
    at = leaf.index(b"intent") + 2
    changed = leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1:]
    database.execute("UPDATE entries SET leaf = ? WHERE idx = ?", (changed, index))
    database.commit()
    database.close()
    return int(index)


def agents_environment(world: World) -> dict[str, str]:
    """All that changes for the agents: the address, and the token as the password. (The last two are
    what any program may say of itself; they end up in the record as claims.)
    """
    token = world.token("agent-analyst", "autogen-analysts", "--agent", "analyst", "--model", "replay")
    return {"PGHOST": "127.0.0.1", "PGPORT": str(world.gateway.port), "PGDATABASE": "crm",
            "PGUSER": "agent", "PGPASSWORD": token, "PGSSLMODE": "disable",
            "PGAPPNAME": "support-team", "PGOPTIONS": "-c lockgate.task=ticket-clean-up"}


def stay(world: World) -> None:
    """Keep everything up until Ctrl-C or SIGTERM, and say how to reach it."""
    tokens = {"agent": os.environ["PGPASSWORD"], "reviewer": world.token("dora.dba", "dba")}
    for name, token in tokens.items():
        file = world.folder / f"{name}.token"
        file.touch(mode=0o600)
        file.write_text(token)
    url = world.gateway.control_url
    console.rule("still running", align="left")
    for line in (
        f"PGPASSWORD=$(cat {world.folder}/agent.token) psql -h 127.0.0.1 -p {world.gateway.port} -U agent crm",
        f"{Path(sys.executable).parent}/lockgate review list --url {url} --token-file {world.folder}/reviewer.token",
        f"curl {url}/readyz", f"curl {url}/metrics", f"$EDITOR {world.folder}/lockgate.yaml    # taken over as it is saved",
    ):
        console.print("  " + line, soft_wrap=True)
    console.print("Ctrl-C ends everything.")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        stop.wait()
    except KeyboardInterrupt:
        console.print("ending")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="keep everything running afterwards")
    options = parser.parse_args()
    started = time.monotonic()
    with running() as world:
        scene(1, "A PostgreSQL, an OIDC issuer and the gateway are up")
        console.print("  $ lockgate check -c lockgate.yaml")
        show_output(run_lockgate("check", "-c", str(world.folder / "lockgate.yaml"),
                                 env=world.secrets))
        os.environ.update(agents_environment(world))
        reviewer = Reviewer(world)
        reviewer.start()
        scene(2, "An AutoGen team works; only PGHOST and PGPASSWORD point at the gateway")
        asyncio.run(run_team(world.folder / "code"))
        reviewer.done.set()
        reviewer.join(10)
        scene(3, "Who caused this write?")
        sid = who_caused_this_write(world)
        scene(4, "A stranger verifies it, with one file of plain Python")
        a_stranger_verifies(world, sid)
        scene(5, "One flipped bit is found")
        tampering_is_found(world)
        console.print(f"\n[bold green]done[/] in {time.monotonic() - started:.0f} s; "
                      f"held and approved: {', '.join(reviewer.approved) or 'nothing'}")
        if not reviewer.approved:
            return 1
        if options.stay:
            stay(world)
    return 0


if __name__ == "__main__":
    sys.exit(main())
