"""The catalogue of a connection: asked for by the gateway itself, shared, fresh, and never guessed."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from lockgate.govern.pending import Pending
from lockgate.model import Refusal, RefusalCode
from lockgate.proxy import catalogue
from lockgate.wire.spec import Enforcement
from tests.unit.proxy import line
from tests.unit.proxy.rig import Rig, rig

SPEC = line.spec(line.probe)


def looks(gateway: Rig) -> int:
    return gateway.backend.lines.count(b"catalogue\n")


async def test_one_look_serves_many() -> None:
    """Everybody who waits gets the same catalogue from one look; it is on record as the gateway's own."""
    async with rig(spec=SPEC) as gateway:
        clients = [await gateway.client() for _ in range(5)]
        for client in clients:
            await client.send("agent agents")
        for client in clients:
            assert (await client.line()).startswith("ok ")
            assert await client.ask("look") == "saw tables v1"
        assert looks(gateway) == 1
        first = gateway.world.recorder.begun[0]
        assert (first.issuer, first.subject, dict(first.claims)) == ("lockgate", "gateway", {"kind": "system"})


async def test_nothing_is_asked_before_it_is_on_record() -> None:
    """I1 and I2 hold for the gateway's own questions."""
    async with rig(spec=SPEC) as gateway:
        gateway.world.recorder.is_instant = False
        keeper = gateway.host.keepers["crm"]
        answer = keeper.refresh()
        mine: list[asyncio.StreamWriter] = []
        for count in (1, 2):    # two connections of the test's own: time enough for one of the gateway's
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.backend.port)
            mine.append(writer)
            await gateway.wait(lambda count=count: gateway.backend.open >= count)  # type: ignore[misc]
        assert gateway.backend.open == 2
        gateway.world.recorder.flush()
        await gateway.wait(lambda: answer.is_done)
        assert keeper.is_ready
        for writer in mine:
            writer.close()


async def test_newer_means_looked_for_after_the_question() -> None:
    """A look that was under way does not serve who must see what happened meanwhile."""
    async with rig(spec=SPEC) as gateway:
        keeper = gateway.host.keepers["crm"]
        first = keeper.refresh()
        newer = keeper.snapshot(0)
        assert isinstance(newer, Pending)
        await gateway.wait(lambda: first.is_done)
        gateway.backend.catalogue = b"changed"
        await gateway.wait(lambda: newer.is_done)
        assert str(keeper.catalogue) == "changed v2"
        assert keeper.snapshot(1) is keeper.catalogue


async def test_an_unchanged_catalogue_keeps_its_version() -> None:
    """What was analysed with it stays valid."""
    async with rig(spec=SPEC) as gateway:
        keeper = gateway.host.keepers["crm"]
        for _ in range(3):
            answer = keeper.refresh()
            await gateway.wait(lambda answer=answer: answer.is_done)  # type: ignore[misc]
        assert (keeper.catalogue.version, looks(gateway)) == (1, 3)


async def test_a_catalogue_that_cannot_be_confirmed_is_none() -> None:
    """Fail closed: an old catalogue is asked for again, and without an answer there is none."""
    async with rig(spec=SPEC) as gateway:
        client = await gateway.client()
        await client.log_in()
        assert await client.ask("look") == "saw tables v1"
        assert gateway.backend.server is not None
        gateway.backend.server.close()
        gateway.world.clock.time += catalogue.STALE + 1
        assert await client.ask("look") == "no backend_unavailable"


async def test_others_changes_are_seen_while_sessions_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway looks by itself."""
    monkeypatch.setattr(catalogue, "POLL", 0.01)
    async with rig(spec=SPEC) as gateway:
        client = await gateway.client()
        await client.log_in()
        gateway.backend.catalogue = b"changed"
        await gateway.wait(lambda: str(gateway.host.keepers["crm"].catalogue) == "changed v2")
        assert await client.ask("look") == "saw changed v2"


async def test_a_backend_that_comes_back_is_used() -> None:
    """Down at first: refused in words. As soon as it is there, the next log-in works."""
    async with rig(spec=SPEC) as gateway:
        backend = gateway.backend
        port = backend.port
        await backend.stop()
        assert await (await gateway.client()).ask("agent agents") == "no backend_unavailable"
        assert not gateway.host.keepers["crm"].is_ready
        await backend.start(port)
        await (await gateway.client()).log_in()
        assert gateway.host.keepers["crm"].is_ready


async def test_a_rule_that_cannot_be_enforced_stops_the_connection() -> None:
    """I5: no session, and the log names rule and reason."""
    row = Enforcement("crm", "hide", "mask *.ssn", "", "no such column")
    with structlog.testing.capture_logs() as logs:
        async with rig(spec=SPEC, check=lambda *_: [row]) as gateway:
            assert await (await gateway.client()).ask("agent agents") == "no not_enforceable"
    assert any(entry.get("rule") == "hide" and entry.get("reason") == "no such column" for entry in logs)


async def test_a_check_that_raises_stops_the_connection() -> None:
    """Nothing is admitted on the strength of a check that did not end."""

    def check(*_: object) -> list[Enforcement]:
        raise ValueError("canary")

    with structlog.testing.capture_logs() as logs:
        async with rig(spec=SPEC, check=check) as gateway:
            assert await (await gateway.client()).ask("agent agents") == "no backend_unavailable"
    assert "canary" not in str(logs)


async def test_a_stopped_keeper_refuses() -> None:
    """After a reload took the connection away nobody waits for ever."""
    async with rig(spec=SPEC) as gateway:
        keeper = gateway.host.keepers["crm"]
        keeper.stop()
        answers: list[object] = []
        keeper.refresh().then(answers.append)
        (refusal,) = answers
        assert isinstance(refusal, Refusal)
        assert refusal.code is RefusalCode.BACKEND_UNAVAILABLE
