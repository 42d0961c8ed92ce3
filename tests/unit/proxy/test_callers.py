"""Sessions that a caller's connections share: who is in which, when they end, and what is never shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lockgate.audit.recording.studio import OnCut
from lockgate.errors import AuditError
from lockgate.model import Rule
from lockgate.proxy import callers
from lockgate.proxy.catalogue import Keeper
from lockgate.wire.spec import RecordingSpec
from tests.unit.proxy import line
from tests.unit.proxy.rig import ALLOW, Client, Rig, rig
from tests.unit.proxy.test_recording import RECORD, joined, read, studio
from tests.unit.proxy.test_session import REVIEW


@asynccontextmanager
async def shared(*rules: Rule, **more: object) -> AsyncIterator[Rig]:
    """A gateway whose clients share their callers' sessions."""
    async with rig(*rules, **{"spec": line.joined(), **more}) as r:
        yield r


async def inside(r: Rig, token: str = "agent agents", address: str = "127.0.0.1") -> Client:
    """A client that is in a session."""
    client = await r.client(address)
    await client.log_in(token)
    return client


async def gone(r: Rig, *clients: Client) -> None:
    """These have left, and the gateway knows."""
    left = len(r.host.sessions) - len(clients)
    for client in clients:
        client.cut()
    await r.wait(lambda: len(r.host.sessions) == left)


def sids(r: Rig) -> list[str]:
    return [intent.session for intent in r.world.recorder.intents]


async def test_connections_of_one_caller_are_one_session() -> None:
    """One after the other and side by side: it begins once, and its records are in one order."""
    async with shared() as r:
        first = await inside(r)
        assert await first.ask("get 1") == "done get 1"
        second = await inside(r)
        assert await second.ask("get 2") == "done get 2"
        await gone(r, first, second)
        third = await inside(r)
        assert await third.ask("get 3") == "done get 3"
        assert len(r.world.recorder.begun) == 1
        assert sids(r) == [r.world.recorder.begun[0].session] * 3
        assert r.host.counters.sessions == 1
        assert r.world.recorder.ended == []


async def test_a_protocol_that_does_not_ask_for_it_shares_nothing() -> None:
    """A session that is its connection begins and ends with it."""
    async with rig() as r:
        await inside(r)
        await inside(r)
        assert len(r.world.recorder.begun) == 2


@pytest.mark.parametrize(("token", "address"), [
    ("agent agents#2", "127.0.0.1"),        # another token of the same identity, to the last claim
    ("agent agents dba", "127.0.0.1"),
    ("other agents", "127.0.0.1"),
    ("agent agents @task", "127.0.0.1"),
    ("agent agents", "127.0.0.2"),
])
async def test_another_caller_has_another_session(token: str, address: str) -> None:
    """Token, identity, task, address: all of it is the same, or nothing is shared."""
    async with shared() as r:
        await inside(r)
        await inside(r, token, address)
        assert len(r.world.recorder.begun) == 2


async def test_what_a_token_is_verified_to_be_now_counts() -> None:
    """The same bytes may mean another identity after a change of rules: that is another caller."""
    async with shared() as r:
        await inside(r)
        r.tokens.expires_at -= 1.0
        await inside(r)
        assert len(r.world.recorder.begun) == 2


async def test_two_that_come_together_begin_one_session() -> None:
    """The second waits for the first's begin to be durable; neither gets in before."""
    async with shared() as r:
        r.world.recorder.is_instant = False
        clients = [await r.client(), await r.client(), await r.client()]
        for client in clients:
            await client.send("agent agents")
        await r.wait(lambda: len(r.host.sessions) == 3 and all(s.client_lane.waits_for is not None for s in r.host.sessions))
        await r.wait(lambda: len(r.world.recorder.waiting) == 1)
        assert all(session.governor is None for session in r.host.sessions)
        r.world.recorder.flush()
        assert [(await client.line())[:3] for client in clients] == ["ok "] * 3
        assert len(r.world.recorder.begun) == 1
        r.world.recorder.is_instant = True


async def test_who_waits_does_not_depend_on_who_came_first() -> None:
    """The first one leaves while the session is being begun; the second gets it."""
    async with shared() as r:
        r.world.recorder.is_instant = False
        first, second = await r.client(), await r.client()
        await first.send("agent agents")
        await r.wait(lambda: len(r.world.recorder.waiting) == 1)
        await second.send("agent agents")
        await r.wait(lambda: all(s.client_lane.waits_for is not None for s in r.host.sessions))
        await gone(r, first)
        r.world.recorder.flush()
        r.world.recorder.is_instant = True
        assert (await second.line()).startswith("ok ")
        assert await second.ask("get 1") == "done get 1"
        assert len(r.world.recorder.begun) == 1


async def test_a_begin_that_fails_lets_nobody_in_and_is_not_remembered() -> None:
    """All who waited for it are refused; the next one begins anew."""
    async with shared() as r:
        r.world.recorder.is_instant = False
        clients = [await r.client(), await r.client()]
        for client in clients:
            await client.send("agent agents")
        await r.wait(lambda: len(r.host.sessions) == 2 and all(s.client_lane.waits_for is not None for s in r.host.sessions)
                     and len(r.world.recorder.waiting) == 1)
        r.world.recorder.flush(AuditError("full"))
        assert [await client.line() for client in clients] == ["no audit_unavailable"] * 2
        r.world.recorder.is_instant = True
        await inside(r)
        assert len(r.world.recorder.begun) == 2
        r.world.recorder.begun.pop(0)       # which never was


async def test_nobody_comes_back_and_it_ends() -> None:
    """`session_idle` after its last connection, not before."""
    async with shared(session_idle="60s") as r:
        await gone(r, await inside(r))
        r.world.clock.time += 59.0
        r.host.callers.sweep()
        assert r.world.recorder.ended == []
        r.world.clock.time += 1.0
        r.host.callers.sweep()
        assert [cause for _, cause in r.world.recorder.ended] == ["idle"]
        await inside(r)
        assert len(r.world.recorder.begun) == 2


async def test_whoever_comes_back_starts_the_clock_anew() -> None:
    """It is idle while no connection is in it."""
    async with shared(session_idle="60s") as r:
        await gone(r, await inside(r))
        r.world.clock.time += 50.0
        client = await inside(r)
        r.world.clock.time += 500.0
        r.host.callers.sweep()
        await gone(r, client)
        r.host.callers.sweep()
        assert r.world.recorder.ended == []


async def test_with_no_time_it_ends_with_the_last_one() -> None:
    """`0s`: connections at the same time share, and no more."""
    async with shared(session_idle="0s") as r:
        first, second = await inside(r), await inside(r)
        await gone(r, first)
        assert r.world.recorder.ended == []
        await gone(r, second)
        assert len(r.world.recorder.ended) == len(r.world.recorder.begun) == 1


async def test_a_token_that_runs_out_ends_it_at_once() -> None:
    """Nothing waits for a caller who cannot come back."""
    async with shared(session_idle="1h") as r:
        r.tokens.expires_at = r.world.clock.time + 10.0
        await gone(r, await inside(r))
        r.world.clock.time += 10.0
        r.host.callers.sweep()
        assert [cause for _, cause in r.world.recorder.ended] == ["ended: expired"]


async def test_a_token_that_has_run_out_joins_nothing() -> None:
    """Its time is looked at when a connection comes, and at each request."""
    async with shared() as r:
        r.tokens.expires_at = r.world.clock.time + 10.0
        client = await inside(r)
        r.world.clock.time += 10.0
        late = await r.client()
        assert await late.ask("agent agents") == "no expired"
        assert await client.ask("get 1") == "refused expired"


async def test_a_token_that_is_not_valid_any_more_joins_nothing() -> None:
    """Each connection has its token verified, whatever session there is."""
    async with shared() as r:
        await inside(r)
        r.tokens.authenticate = lambda token, callback, certificate=None: callback(ValueError())  # type: ignore[assignment, method-assign]
        late = await r.client()
        assert (await late.ask("agent agents")) == "no unauthenticated"


async def test_a_log_that_cannot_be_written_lets_nobody_join() -> None:
    """As nobody could begin a session then."""
    async with shared() as r:
        await inside(r)
        r.world.recorder.is_writable = False
        late = await r.client()
        assert await late.ask("agent agents") == "no audit_unavailable"


async def test_a_policy_that_lets_nobody_in_lets_nobody_join() -> None:
    """And that somebody tried is on record."""
    async with shared() as r:
        await inside(r)
        r.world.pipeline.replace(type(r.world.pipeline.policy).compile((), "n" * 64))
        late = await r.client()
        assert await late.ask("agent agents") == "no denied"
        assert "access_denied" in r.world.recorder.types()


async def test_each_record_says_where_its_request_came_from() -> None:
    """The port of the first connection stands with the session, another one with the request; a rule sees it too."""
    async with shared(ALLOW) as r:
        first, second = await inside(r), await inside(r)
        for client in (first, second, first):
            await client.ask("get 1")
        begun, (one, two, three) = r.world.recorder.begun[0], r.world.recorder.intents
        ports = [client.writer.get_extra_info("sockname")[1] for client in (first, second)]
        assert begun.peer == f"127.0.0.1:{ports[0]}"
        assert (one.peer, two.peer, three.peer) == ("", f"127.0.0.1:{ports[1]}", "")
        facts = {session.governor.session_facts()["peer"] for session in r.host.sessions if session.governor is not None}
        assert facts == {f"127.0.0.1:{port}" for port in ports}


async def test_requests_count_together() -> None:
    """What a rule says of a session's requests is of all of them."""
    async with shared() as r:
        for _ in range(3):
            client = await inside(r)
            await client.ask("get 1")
            await gone(r, client)
        assert [(governor.statements, governor.rows) for governor in r.host.callers.resting] == [(3, 3)]


async def test_one_that_is_retired_is_joined_by_nobody_and_ends_with_its_last() -> None:
    """What it began under is not so any more; who is in it goes on."""
    async with shared() as r:
        client = await inside(r)
        r.host.callers.retire("reconfigured")
        await inside(r)
        assert len(r.world.recorder.begun) == 2
        assert await client.ask("get 1") == "done get 1"
        assert r.world.recorder.ended == []
        client.cut()
        await r.wait(lambda: len(r.world.recorder.ended) == 1)


async def test_one_that_rests_and_is_retired_ends_at_once() -> None:
    """Nobody is in it."""
    async with shared() as r:
        await gone(r, await inside(r))
        r.host.callers.retire("reconfigured")
        assert [cause for _, cause in r.world.recorder.ended] == ["reconfigured"]


async def test_other_settings_of_the_connection_are_another_session() -> None:
    """Even before anybody has said that they changed."""
    async with shared() as r:
        await inside(r)
        old = r.host.keepers["crm"]
        keeper = Keeper(r.host, old.spec, old.connection.model_copy(), lambda *_: [])
        r.host.set_keepers({"crm": keeper})
        await inside(r)
        assert len(r.world.recorder.begun) == 2


async def test_one_that_is_old_takes_no_more() -> None:
    """A caller who never pauses has more than one."""
    async with shared() as r:
        client = await inside(r)
        r.world.clock.time += callers.AGE
        await inside(r)
        assert len(r.world.recorder.begun) == 2
        assert await client.ask("get 1") == "done get 1"


async def test_as_many_wait_as_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has waited longest ends first."""
    monkeypatch.setattr(callers, "MOST", 2)
    async with shared() as r:
        for number in range(3):
            await gone(r, await inside(r, f"agent agents#{number}"))
        assert [sid for sid, _ in r.world.recorder.ended] == [r.world.recorder.begun[0].session]
        await inside(r, "agent agents#2")
        assert len(r.world.recorder.begun) == 3


async def test_those_that_rest_end_when_the_gateway_does() -> None:
    """A drain leaves nothing open, and nothing waits after it."""
    async with shared(session_idle="1h") as r:
        await gone(r, await inside(r))
        client = await inside(r, "other agents")
        async with asyncio.TaskGroup() as group:
            group.create_task(r.host.drain(5.0))
            assert await client.line() == "end shutting_down"
        assert len(r.world.recorder.ended) == 2
        assert r.host.callers.resting == []


async def test_a_request_that_waits_for_a_person_is_its_own_connections() -> None:
    """Another connection of the session that leaves withdraws nothing; the one that asked does."""
    async with shared(ALLOW, REVIEW) as r:
        first, second = await inside(r), await inside(r)
        assert (await first.ask("delete 1")).startswith("waiting ")
        assert await second.ask("get 1") == "done get 1"
        await gone(r, second)
        assert [review.state for review in r.world.store.reviews.values()] == ["pending"]
        await gone(r, first)
        assert [review.state for review in r.world.store.reviews.values()] == ["withdrawn"]


async def test_connections_share_the_recording(tmp_path: Path) -> None:
    """It is whole when the session has ended, with what each of them sent."""
    spec = line.joined(RecordingSpec("sql"))
    async with shared(ALLOW, RECORD, spec=spec, studio=studio(tmp_path), session_idle="0s") as r:
        first, second = await inside(r), await inside(r)
        assert await second.ask("get 2") == "done get 2"
        await gone(r, second)
        assert r.world.recorder.ended == []
        assert await first.ask("get 1") == "done get 1"
        first.cut()
        await r.wait(lambda: len(r.world.recorder.ended) == 1)
        sid = r.world.recorder.begun[0].session
    assert b"done get 2\ndone get 1\n" in joined(read(tmp_path, sid), "o")


@pytest.mark.parametrize("on_limit", [OnCut.MARK, OnCut.END])
async def test_one_whose_recording_is_cut_takes_no_more(tmp_path: Path, on_limit: OnCut) -> None:
    """A session that goes on unrecorded, or ends for it, is not the next connection's."""
    spec = line.joined(RecordingSpec("sql"))
    async with shared(ALLOW, RECORD, spec=spec, studio=studio(tmp_path, limit=300, on_limit=on_limit)) as r:
        await gone(r, await inside(r))
        client, other = await inside(r), await inside(r)
        await client.ask("get " + "x" * 400)
        if on_limit is OnCut.END:       # all who are in it
            assert (await other.line()) in ("", "end audit_unavailable")
        await inside(r)
        assert len(r.world.recorder.begun) == 2


async def test_one_whose_recording_is_half_full_takes_no_more(tmp_path: Path) -> None:
    """What others bring does not cut what a new connection asks."""
    spec = line.joined(RecordingSpec("sql"))
    async with shared(ALLOW, RECORD, spec=spec, studio=studio(tmp_path, limit=1000)) as r:
        client = await inside(r)
        await client.ask("get " + "x" * 100)
        await inside(r)
        assert len(r.world.recorder.begun) == 1
        await client.ask("get " + "x" * 150)
        await inside(r)
        assert len(r.world.recorder.begun) == 2


async def test_one_that_is_being_begun_while_the_gateway_ends_has_an_end_too() -> None:
    """Who asked for it is gone, its begin is not durable yet: the gateway waits for that, or the log would hold no end of it."""
    async with shared() as r:
        r.world.recorder.is_instant = False
        client = await r.client()
        await client.send("agent agents")
        await r.wait(lambda: len(r.world.recorder.waiting) == 1)
        await gone(r, client)
        async with asyncio.TaskGroup() as group:
            drained = group.create_task(r.host.drain(5.0))
            await r.wait(lambda: r.host.is_draining)
            for _ in range(10):
                await asyncio.sleep(0)
            assert not drained.done()
            r.world.recorder.flush()
        r.world.recorder.is_instant = True
        assert len(r.world.recorder.ended) == 1
