"""The driver on real sockets: what goes where, when, and what happens when somebody leaves."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import threading
from pathlib import Path

import pytest
import structlog

from lockgate.config.settings import Connection
from lockgate.errors import AuditError
from lockgate.govern.pending import Pending
from lockgate.model import OutcomeStatus, ReviewTerms, Rule
from lockgate.net.tls import ServerCertificate, client_context
from lockgate.proxy import governed
from lockgate.proxy.catalogue import Keeper
from lockgate.proxy.session import Session
from lockgate.wire.steps import Alarm, Steps
from testbed.certificates import make_certificate
from tests.steps import calls
from tests.unit.govern.fakes import identity
from tests.unit.proxy import line
from tests.unit.proxy.line import Pass
from tests.unit.proxy.rig import ALLOW, rig

REVIEW = Rule("ask", when='op.verb == "delete"', review=ReviewTerms(frozenset({"dba"}), 900.0))
DENY = Rule("never", when='op.verb == "drop"', deny="no")


async def test_a_request_goes_round() -> None:
    """Judged, recorded, forwarded, answered, settled; a credential and a mask stay inside."""
    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        assert await client.ask("select canary") == "done select xxxxxx"
        await gateway.wait(lambda: len(gateway.world.recorder.outcomes) == 1)
        assert [intent.text for intent in gateway.world.recorder.intents] == ["select canary"]
        assert gateway.world.recorder.outcomes[0].status is OutcomeStatus.OK


async def test_pipelined_requests_keep_their_order() -> None:
    """Many requests in one packet, and one request in many packets."""
    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        await client.send(b"".join(b"select %d\n" % number for number in range(50)))
        assert [await client.line() for _ in range(50)] == [f"done select {number}" for number in range(50)]
        for byte in b"select x\n":
            await client.send(bytes([byte]))
        assert await client.line() == "done select x"


async def test_a_large_result_is_masked_while_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long holds up its own session alone: here it does not end until another one has had its answer. Then it
    is masked, or refused, as a small one is."""
    served = threading.Event()
    faults: list[Exception | None] = [None, ValueError("the canary")]

    def apply(self: Pass, chunk: bytes) -> bytes:
        if len(chunk) > 64:
            assert served.wait(10)
            fault = faults.pop(0)
            if fault is not None:
                raise fault
        return chunk.replace(b"canary", b"xxxxxx")

    async def work(data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 64 + b"canary\n" if data == b"select much\n" else b"done " + data)

    monkeypatch.setattr(governed, "LONG", 64)
    monkeypatch.setattr(Pass, "apply", apply)
    async with rig() as gateway:
        gateway.backend.work = work
        one, other = await gateway.client(), await gateway.client()
        await one.log_in()
        await other.log_in()
        for ends in ("xxxxxx", "refused internal"):
            served.clear()
            await one.send("select much")
            await gateway.wait(lambda: any(session.server_lane.waits_for is not None for session in gateway.host.sessions))
            assert await other.ask("select 1") == "done select 1"
            served.set()
            assert (await one.line()).endswith(ends)


async def test_a_client_that_leaves_does_not_wait_for_a_large_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session ends at once; what comes of the values is nobody's any more."""
    left = threading.Event()

    def apply(self: Pass, chunk: bytes) -> bytes:
        assert left.wait(10)
        return chunk

    monkeypatch.setattr(governed, "LONG", 0)
    monkeypatch.setattr(Pass, "apply", apply)
    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        await client.send("select much")
        await gateway.wait(lambda: any(session.server_lane.waits_for is not None for session in gateway.host.sessions))
        client.cut()
        await gateway.wait(lambda: not gateway.host.sessions)
        left.set()


async def test_a_denial_forwards_nothing_and_the_session_lives_on() -> None:
    """The refusal reaches the client, the backend sees nothing of it."""
    async with rig(ALLOW, DENY) as gateway:
        client = await gateway.client()
        await client.log_in()
        assert await client.ask("drop t") == "refused denied"
        assert await client.ask("select 1") == "done select 1"
        assert gateway.backend.lines == [b"select 1\n"]


async def test_nothing_is_forwarded_before_its_record_is_durable() -> None:
    """audit: full (I2). The request waits for the log, and goes on by itself."""
    async with rig(audit="full") as gateway:
        client = await gateway.client()
        await client.log_in()
        gateway.world.recorder.is_instant = False
        await client.send("select 1")
        await gateway.wait(lambda: len(gateway.world.recorder.waiting) == 1)
        assert gateway.backend.lines == []
        gateway.world.recorder.flush()
        assert await client.line() == "done select 1"


async def test_an_unwritable_log_refuses() -> None:
    """A record that fails is a refusal, and the request never leaves."""
    async with rig(audit="full") as gateway:
        client = await gateway.client()
        await client.log_in()
        gateway.world.recorder.is_instant = False
        await client.send("select 1")
        await gateway.wait(lambda: len(gateway.world.recorder.waiting) == 1)
        gateway.world.recorder.flush(AuditError("disk full"))
        assert await client.line() == "refused audit_unavailable"
        gateway.world.recorder.is_writable = False
        assert await (await gateway.client()).ask("agent agents") == "no audit_unavailable"
        assert gateway.backend.lines == []


# ---------------------------------------------------------------- invariants


async def test_no_byte_without_a_permit() -> None:
    """I1: a protocol that forwards raw bytes loses its session, and the backend gets nothing."""
    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        assert await client.ask("raw bytes") == ""
        assert gateway.backend.lines == []


async def test_no_result_without_clearance() -> None:
    """I3: a protocol that sends raw bytes to the client loses its session, and the client gets nothing."""
    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        assert await client.ask("leak canary") == ""


async def test_a_mask_that_raises_delivers_nothing() -> None:
    """I3: the client reads a refusal instead of the chunk."""
    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        mediator = gateway.session().mediator
        mediator.plan.fault = ValueError("canary")  # type: ignore[union-attr]
        assert await client.ask("select canary") == "refused internal"


async def test_the_guard_closes_settles_and_tells_no_values() -> None:
    """A protocol that raises costs its own session only; the log says type and place, no content."""
    async with rig() as gateway:
        gateway.backend.answers = False
        client, other = await gateway.client(), await gateway.client()
        await client.log_in()
        await other.log_in("other agents")
        await client.send("select 1")
        await gateway.backend.wait(lambda: gateway.backend.lines == [b"select 1\n"])
        with structlog.testing.capture_logs() as logs:
            assert await client.ask("boom") == ""
            await gateway.wait(lambda: len(gateway.host.sessions) == 1)
        assert "canary" not in str(logs)
        assert any(entry.get("error") == "ValueError" and "driver.py" in entry.get("place", "") for entry in logs)
        assert [outcome.status for outcome in gateway.world.recorder.outcomes] == [OutcomeStatus.UNKNOWN]
        gateway.backend.answers = True
        assert await other.ask("select 2") == "done select 2"


# ---------------------------------------------------------------- review


async def test_a_held_request_shows_life_and_goes_on_when_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told its ticket at once and again; the approval forwards the request."""
    monkeypatch.setattr(governed, "KEEP_ALIVE", 0.01)
    async with rig(ALLOW, REVIEW) as gateway:
        client = await gateway.client()
        await client.log_in()
        first = await client.ask("delete x")
        assert first.startswith("waiting LG-")
        assert await client.line() == first
        assert gateway.backend.lines == []
        assert gateway.host.counters.held == 1
        gateway.world.reviews.approve(first.removeprefix("waiting "), identity("dora", "dba"))
        while (answer := await client.line()) == first:
            pass
        assert answer == "done delete x"
        assert gateway.host.counters.held == 0


async def test_a_client_that_leaves_withdraws_its_request() -> None:
    """Nobody can approve what nobody waits for, and nothing is forwarded."""
    async with rig(ALLOW, REVIEW) as gateway:
        client = await gateway.client()
        await client.log_in()
        ticket = (await client.ask("delete x")).removeprefix("waiting ")
        client.cut()
        await gateway.wait(lambda: not gateway.host.sessions)
        review = gateway.world.reviews.get(ticket)
        assert review is not None
        assert review.state == "withdrawn"
        assert b"delete x\n" not in gateway.backend.lines


async def test_while_one_waits_the_backend_is_heard() -> None:
    """A held request does not stop what the backend sends."""
    async with rig(ALLOW, REVIEW) as gateway:
        client = await gateway.client()
        await client.log_in()
        assert (await client.ask("delete x")).startswith("waiting ")
        gateway.backend.writers[-1].write(b"news\n")
        assert await client.line() == "news"


async def test_a_cancel_ends_the_wait() -> None:
    """Whoever holds the session's key may call off what waits for a person; other keys do nothing."""
    async with rig(ALLOW, REVIEW) as gateway:
        client = await gateway.client()
        key = await client.log_in()
        assert (await client.ask("delete x")).startswith("waiting ")
        assert await (await gateway.client()).ask(f"cancel {secrets.token_hex(8)}") == ""
        assert gateway.host.counters.held == 1
        assert await (await gateway.client()).ask(f"cancel {key}") == ""
        assert await client.line() == "refused review_expired"
        assert "cancel" in gateway.world.recorder.types()


async def test_a_cancel_reaches_the_backend_aside() -> None:
    """What runs is cancelled over a connection of its own."""
    async with rig() as gateway:
        gateway.backend.answers = False
        client = await gateway.client()
        key = await client.log_in()
        await client.send("select slow")
        await gateway.backend.wait(lambda: gateway.backend.lines == [b"select slow\n"])
        await (await gateway.client()).ask(f"cancel {key}")
        await gateway.backend.wait(lambda: gateway.backend.lines == [b"select slow\n", b"stop\n"])


async def test_an_aside_goes_over_tls_where_it_is_asked_to(tmp_path: Path) -> None:
    """To a backend that shows a certificate that is trusted, and to no other."""
    made = make_certificate(tmp_path, "127.0.0.1")
    other = make_certificate(tmp_path / "other", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server, rig() as gateway:
        for authority in (other.authority, made.authority):
            connection = Connection.model_validate({
                "name": "crm", "protocol": "line", "address": f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
                "tls": {"mode": "verify-full", "ca": authority}})
            taken: Pending[None] = Pending()
            gateway.host.spawn_aside(connection, b"word\n", taken, is_secured=True)
            await gateway.wait(lambda taken=taken: taken.is_done)  # type: ignore[misc]
        assert got == [b"word\n"]
        assert gateway.host.counters.errors["aside.failed"] == 1


async def test_connections_that_are_programs_are_reached_by_no_port() -> None:
    """A listener knows those with an address, a program's client the others."""
    async with rig() as gateway:
        spec = line.spec()
        reached = {name: Keeper(gateway.host, spec, Connection.model_validate(
            {"name": name, "protocol": "line", "address": address, "credential": {"user": "app"}}), lambda *_: [])
            for name, address in (("far", "127.0.0.1:1"), ("near", ""))}
        gateway.host.set_keepers(reached)
        assert set(gateway.host.connections_of(spec)) == {"far"}
        assert set(gateway.host.connections_of(spec, piped=True)) == {"near"}


async def test_a_backend_that_leaves_ends_the_wait() -> None:
    """The client hears that the backend is gone, not nothing until the ticket expires."""
    async with rig(ALLOW, REVIEW) as gateway:
        client = await gateway.client()
        await client.log_in()
        assert (await client.ask("delete x")).startswith("waiting ")
        gateway.backend.writers[-1].transport.abort()
        assert await client.line() == "refused backend_unavailable"
        assert await client.line() == "backend gone"
        assert await client.line() == ""


# ---------------------------------------------------------------- bad weather


async def test_a_backend_that_is_down() -> None:
    """The client gets a clear refusal; the process lives."""
    async with rig(start_backend=False) as gateway:
        assert await (await gateway.client()).ask("agent agents") == "no backend_unavailable"


async def test_a_backend_that_dies_in_the_middle_of_a_result() -> None:
    """What came before is delivered, then the client hears of it; the outcome is unknown."""

    async def die(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half of\nthe result")
        await writer.drain()
        writer.transport.close()

    async with rig() as gateway:
        gateway.backend.work = die
        client = await gateway.client()
        await client.log_in()
        await client.send(b"select 1\nselect 2\n")
        assert await client.line() == "half of"
        lines = [await client.line(), await client.line()]
        assert lines[-2:] in (["the result", "backend gone"], ["the resultbackend gone", ""], ["backend gone", ""])
        await gateway.wait(lambda: not gateway.host.sessions)
        assert OutcomeStatus.UNKNOWN in [outcome.status for outcome in gateway.world.recorder.outcomes]


async def test_a_client_that_leaves_in_the_middle() -> None:
    """Its open request is settled, the backend hears goodbye and its connection ends."""
    async with rig() as gateway:
        gateway.backend.answers = False
        client = await gateway.client()
        await client.log_in()
        await client.send("select 1")
        await gateway.backend.wait(lambda: gateway.backend.lines == [b"select 1\n"])
        client.cut()
        await gateway.backend.wait(lambda: gateway.backend.open == 0)
        assert gateway.backend.lines[-1] == b"bye\n"
        assert [outcome.status for outcome in gateway.world.recorder.outcomes] == [OutcomeStatus.UNKNOWN]


@pytest.mark.parametrize("said", [b"", b"agent", b"slow\n"])
async def test_a_log_in_has_a_deadline(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """Half-open connections, slow starters and a verifier that hangs are cut, when the time that was set is over."""
    with calls(monkeypatch, asyncio.get_running_loop(), "call_later") as timers:
        async with rig(login_timeout="200ms") as gateway:
            client = await gateway.client()
            await client.send(said)
            assert await client.line() == ""
            assert gateway.host.counters.logins["timeout"] == 1
    assert 0.2 in [delay for delay, *_ in timers]


async def test_a_backend_that_hangs_at_log_in_is_reported() -> None:
    """The deadline tells the client what it waited for."""
    async with rig(login_timeout="200ms") as gateway:
        gateway.backend.greets = False
        assert await (await gateway.client()).ask("agent agents") == "no backend_unavailable"


async def test_bad_tokens_are_refused() -> None:
    """A refused token and a verifier that raises: both are refusals without details."""
    async with rig() as gateway:
        with structlog.testing.capture_logs() as logs:
            for token in ("bad", "boom"):
                assert await (await gateway.client()).ask(token) == "no unauthenticated"
        assert "canary" not in str(logs)


async def test_random_and_oversized_bytes_cost_their_own_connection_only() -> None:
    """Before and after the log-in."""
    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        for noise in (secrets.token_bytes(300_000), b"x" * 20_000):
            stranger = await gateway.client()
            stranger.writer.write(noise)
            while await stranger.reader.read(65536):
                pass
        assert await client.ask("select 1") == "done select 1"


async def test_a_slow_client_bounds_memory() -> None:
    """What nobody reads stays in the backend: the gateway keeps its bound and no more."""
    sent = 0

    async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(2000):
            writer.write(b"x" * 65_535 + b"\n")
            await writer.drain()
            sent += 65_536

    async with rig(buffer=65_536) as gateway:
        gateway.backend.work = flood
        client = await gateway.client()
        await client.log_in()
        client.writer.transport.pause_reading()
        await client.send("select lots")
        await gateway.wait(lambda: bool(gateway.host.sessions) and gateway.session().server.is_held)
        session = gateway.session()
        assert session.server_lane.inbox_size < 65_536 + 1_048_576
        assert sent < 100 * 1_048_576
        client.writer.transport.resume_reading()
        async with asyncio.timeout(60):
            received = len(await client.reader.readexactly(2000 * 65_536))
        assert received == sent == 2000 * 65_536


async def test_a_slow_backend_stops_a_fast_client() -> None:
    """Requests that the backend does not take are not piled up."""

    async def never(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.get_running_loop().create_future()

    async with rig(buffer=65_536) as gateway:
        gateway.backend.work = never
        client = await gateway.client()
        await client.log_in()
        client.writer.write(b"select 0\n" + (b"select " + b"y" * 60_000 + b"\n") * 2000)
        await gateway.wait(lambda: bool(gateway.host.sessions) and gateway.session().client.is_held)
        assert gateway.host.counters.to_server < 64 * 1_048_576
        for task in asyncio.all_tasks():
            if "_serve" in str(task.get_coro()):
                task.cancel()


# ---------------------------------------------------------------- ends


async def test_an_expired_token_ends_the_session_between_requests() -> None:
    """The running request finishes; then the client reads why it ends."""
    async with rig() as gateway:
        gateway.backend.answers = False
        gateway.tokens.expires_at = gateway.world.clock.time + 0.05
        client = await gateway.client()
        await client.log_in()
        await client.send("select 1")
        await gateway.backend.wait(lambda: gateway.backend.lines == [b"select 1\n"])
        gateway.world.clock.time += 60
        await gateway.wait(lambda: gateway.session()._ending is not None)
        gateway.backend.writers[-1].write(b"finished\n")
        assert await client.line() == "finished"
        assert await client.line() == "end expired"
        assert await client.line() == ""


async def test_a_drain_ends_idle_sessions_at_once_and_lets_others_finish() -> None:
    """SIGTERM: idle ones end now, a running request is waited for, a held one is called off."""
    async with rig(ALLOW, REVIEW) as gateway:
        gateway.backend.answers = False
        idle, busy, held = [await gateway.client() for _ in range(3)]
        for client in (idle, busy, held):
            await client.log_in()
        await busy.send("select 1")
        await gateway.backend.wait(lambda: gateway.backend.lines == [b"select 1\n"])
        assert (await held.ask("delete x")).startswith("waiting")
        async with asyncio.TaskGroup() as tasks:
            drained = tasks.create_task(gateway.host.drain(10))
            assert await idle.line() == "end shutting_down"
            assert [await held.line(), await held.line()] == ["refused shutting_down", "end shutting_down"]
            assert not drained.done()
            gateway.backend.writers[1].write(b"finished\n")
            assert [await busy.line(), await busy.line()] == ["finished", "end shutting_down"]
            for client in (idle, busy, held):
                client.cut()


async def test_a_drain_during_log_in_ends_the_session_as_it_opens() -> None:
    """A session that was admitted before the drain began opens and ends at once, with the reason."""
    async with rig() as gateway:
        gateway.backend.greets = False
        client = await gateway.client()
        await client.send("agent agents")
        await gateway.wait(lambda: len(gateway.backend.writers) == 1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.host.drain(10))
            await gateway.wait(lambda: gateway.host.is_draining)
            gateway.backend.writers[0].write(b"hello\n")
            assert (await client.line()).startswith("ok ")
            assert await client.line() == "end shutting_down"
            client.cut()


async def test_what_comes_with_the_log_in_is_served() -> None:
    """Bytes that a client sends ahead are not lost between the log-in and the session."""
    async with rig() as gateway:
        client = await gateway.client()
        await client.send(b"agent agents\nselect 1\nselect 2\n")
        assert sorted([await client.line() for _ in range(3)])[:2] == ["done select 1", "done select 2"]


async def test_a_drain_has_a_deadline() -> None:
    """A request that does not end is cut, settled as unknown, and the gateway can go."""
    async with rig() as gateway:
        gateway.backend.answers = False
        client = await gateway.client()
        await client.log_in()
        await client.send("select 1")
        await gateway.backend.wait(lambda: gateway.backend.lines == [b"select 1\n"])
        await gateway.host.drain(0.05)
        assert await client.line() == ""
        assert [outcome.status for outcome in gateway.world.recorder.outcomes] == [OutcomeStatus.UNKNOWN]
        assert gateway.world.recorder.ended[0][1] == "drain deadline"


async def test_sessions_are_limited() -> None:
    """One more than allowed is refused in words; when one leaves there is room again."""
    async with rig(sessions=1) as gateway:
        first = await gateway.client()
        await first.log_in()
        assert await (await gateway.client()).ask("agent agents") == "no backend_unavailable"
        first.cut()
        await gateway.wait(lambda: not gateway.host.sessions)
        await (await gateway.client()).log_in()


async def test_tls_starts_in_the_middle(tmp_path: Path) -> None:
    """The listener becomes a TLS server after plaintext; noise instead of a handshake costs that client."""
    made = make_certificate(tmp_path, "127.0.0.1")
    async with rig(certificate=ServerCertificate(made.certificate, made.key)) as gateway:
        noise = await gateway.client()
        await noise.send(b"tls\nGET / HTTP/1.0\r\n\r\n")
        while await noise.reader.read(4096):
            pass
        port = gateway.door.ports[0]

        def talk() -> list[bytes]:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
                plain.sendall(b"tls\n")
                context = client_context("verify-full", made.authority, ())
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                    secure.sendall(b"agent agents\n")
                    stream = secure.makefile("rb")
                    stream.readline()
                    secure.sendall(b"".join(b"select %d\n" % number for number in range(2000)))
                    return [stream.readline() for _ in range(2000)]

        assert await asyncio.to_thread(talk) == [b"done select %d\n" % number for number in range(2000)]


async def test_of_several_alarms_the_last_one_goes_off() -> None:
    """Whether it is due later than the one before or sooner; and none after it was taken back."""
    rung: list[str] = []

    async with rig() as gateway:
        client = await gateway.client()
        await client.log_in()
        session = gateway.session()
        due = asyncio.Event()

        def alarm(seconds: float | None, name: str) -> None:
            def call() -> Steps[None]:
                rung.append(name)
                yield from ()

            Session.handlers[Alarm](session, session.client_lane, Alarm(seconds, None if seconds is None else call))

        alarm(0.02, "first")
        alarm(0.08, "later")
        session.loop.call_later(0.05, rung.append, "meanwhile")
        await gateway.wait(lambda: len(rung) > 1)
        alarm(60.0, "much later")
        alarm(0.02, "sooner")
        await gateway.wait(lambda: len(rung) > 2)
        alarm(0.02, "taken back")
        alarm(None, "")
        session.loop.call_later(0.06, due.set)
        await due.wait()
        assert rung == ["meanwhile", "later", "sooner"]
        assert await client.ask("select 1") == "done select 1"
