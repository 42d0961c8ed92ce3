"""The verifier against real HTTP servers on loopback, with a clock that only tests move."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockgate.config.settings import Provider
from lockgate.errors import ConfigError, IdentityError
from lockgate.govern.identity import KEY_SET_LIMIT, Failure, ProviderRules
from lockgate.model import Identity
from lockgate.net.discovery import OidcProvider
from lockgate.net.oidc import OidcBounds, OidcVerifier
from tests.unit.govern.identity.material import AUDIENCE, claims, mint, public
from tests.unit.net.provider import DISCOVERY, KEYS, Answer, Clock, ScriptedProvider, at_once, log_in, running


def code_of(answer: object) -> str:
    assert isinstance(answer, IdentityError), answer
    return answer.code


async def test_first_login_waits_and_later_ones_do_not() -> None:
    """The first login waits for the keys; with keys in memory the answer comes on the same stack."""
    async with ScriptedProvider().serving() as provider, running(provider.settings()) as verifier:
        identity = await log_in(verifier, provider.token())
        assert isinstance(identity, Identity)
        assert identity.issuer == provider.issuer
        assert at_once(verifier, provider.token(sub="grace")).subject == "grace"  # type: ignore[union-attr]
        assert provider.requests == {DISCOVERY: 1, KEYS: 1}


async def test_issuer_with_path_and_slash() -> None:
    """Discovery is below the issuer's path, and a slash at its end is not doubled."""
    async with ScriptedProvider(path="/realms/one").serving() as provider, \
            running(provider.settings()) as verifier:
        assert isinstance(await log_in(verifier, provider.token()), Identity)
    rules = ProviderRules("x", "https://login.example.com/x/", AUDIENCE)
    assert OidcProvider(rules).discovery_url == "https://login.example.com/x/.well-known/openid-configuration"


async def test_logins_share_one_fetch() -> None:
    """Any number of logins that wait cause one fetch, and all of them are answered."""
    async with ScriptedProvider().serving() as provider:
        provider.gate.clear()
        async with running(provider.settings()) as verifier, asyncio.TaskGroup() as group:
            logins = [
                group.create_task(log_in(verifier, provider.token(sub=f"agent {number}")))
                for number in range(50)
            ]
            await provider.wait_asked(DISCOVERY, 1)
            provider.gate.set()
            names = {(await login).subject for login in logins}     # type: ignore[union-attr]
        assert len(names) == 50
        assert provider.requests == {DISCOVERY: 1, KEYS: 1}


async def test_rotated_keys_are_fetched_when_a_token_names_them() -> None:
    """A token of a new key causes a fetch; one of a withdrawn key is refused, also if it passed before."""
    clock = Clock()
    async with ScriptedProvider().serving() as provider, running(provider.settings(), clock=clock) as verifier:
        old = provider.token()
        assert isinstance(await log_in(verifier, old), Identity)
        provider.publish(public("P256-2"))
        clock.passed = 11
        assert isinstance(at_once(verifier, old), Identity)
        assert isinstance(await log_in(verifier, provider.token("P256-2")), Identity)
        assert code_of(at_once(verifier, old)) == Failure.KEY_UNKNOWN
        assert provider.requests[KEYS] == 2


async def test_key_replaced_under_the_same_id() -> None:
    """When a key changes and keeps its id, what the old one signed no longer passes after a refresh."""
    clock = Clock()
    async with ScriptedProvider().serving() as provider, running(provider.settings(), clock=clock) as verifier:
        old = provider.token()
        assert isinstance(await log_in(verifier, old), Identity)
        provider.publish(public("P256-2", kid="P256-1"))
        clock.passed = 301
        assert isinstance(at_once(verifier, old), Identity)
        await log_in(verifier, provider.token("P256-9"))
        assert code_of(at_once(verifier, old)) == Failure.SIGNATURE


async def test_invented_key_ids_cause_one_fetch_per_interval() -> None:
    """Tokens with invented key ids are refused at once between fetches and cannot flood the provider."""
    clock = Clock()
    async with ScriptedProvider().serving() as provider, running(provider.settings(), clock=clock) as verifier:
        await log_in(verifier, provider.token())
        for number in range(100):
            assert code_of(at_once(verifier, provider.token(f"P256-x{number % 3}"))) == Failure.KEY_UNKNOWN
        assert provider.requests[KEYS] == 1
        clock.passed = 10
        assert at_once(verifier, provider.token("P256-x1")) is None
        assert code_of(await log_in(verifier, provider.token("P256-x2"))) == Failure.KEY_UNKNOWN
        for _ in range(100):
            assert code_of(at_once(verifier, provider.token("P256-x1"))) == Failure.KEY_UNKNOWN
        assert provider.requests[KEYS] == 2


async def test_old_keys_are_refreshed_behind_a_login() -> None:
    """Keys above `max_age` still answer at once, and the login sets off a refresh."""
    clock = Clock()
    async with ScriptedProvider().serving() as provider, running(provider.settings(), clock=clock) as verifier:
        await log_in(verifier, provider.token())
        clock.passed = 300
        assert isinstance(at_once(verifier, provider.token(jti="2")), Identity)
        await provider.wait_asked(KEYS, 2)


async def test_provider_down_is_bridged_until_the_stated_staleness() -> None:
    """With the provider down the keys in memory serve for `max_stale` seconds; then logins fail closed."""
    clock = Clock()
    async with ScriptedProvider().serving() as provider, running(provider.settings(), clock=clock) as verifier:
        token = provider.token(exp=int(clock.now()) + 90_000)
        assert isinstance(await log_in(verifier, token), Identity)
        provider.break_down()
        clock.passed = 3_599
        assert isinstance(at_once(verifier, token), Identity)
        await provider.wait_asked(DISCOVERY, 2)
        clock.passed = 3_600
        assert code_of(await log_in(verifier, token)) == Failure.KEYS_STALE
        assert code_of(at_once(verifier, token)) == Failure.KEYS_STALE
        status, = verifier.status()
        assert not status.usable
        assert status.error is not None
        assert status.error.startswith("identity.provider_unavailable")
        provider.discover()
        provider.publish(public("P256-1"))
        clock.passed = 3_700
        assert isinstance(await log_in(verifier, token), Identity)
        assert verifier.status()[0].usable


async def test_expiry_holds_for_remembered_tokens() -> None:
    """A token that was verified before expires like any other."""
    clock = Clock()
    async with ScriptedProvider().serving() as provider, running(provider.settings(), clock=clock) as verifier:
        token = provider.token()
        assert isinstance(await log_in(verifier, token), Identity)
        assert at_once(verifier, token) is at_once(verifier, token)
        clock.passed = 630
        assert code_of(at_once(verifier, token)) == Failure.EXPIRED


async def test_memory_of_tokens_is_bounded() -> None:
    """Remembered tokens never exceed their bound."""
    async with ScriptedProvider().serving() as provider, \
            running(provider.settings(), bounds=OidcBounds(remembered=2)) as verifier:
        tokens = [provider.token(jti=str(number)) for number in range(4)]
        identities = [await log_in(verifier, token) for token in tokens]
        assert at_once(verifier, tokens[3]) is identities[3]
        assert at_once(verifier, tokens[0]) is not identities[0]


async def test_provider_that_never_answered() -> None:
    """Without any keys logins fail with the reason, and the provider is not asked for each of them."""
    async with ScriptedProvider().serving() as provider:
        provider.break_down()
        async with running(provider.settings()) as verifier:
            assert code_of(await log_in(verifier, provider.token())) == Failure.PROVIDER_UNAVAILABLE
            for _ in range(20):
                assert code_of(at_once(verifier, provider.token())) == Failure.PROVIDER_UNAVAILABLE
            assert provider.requests == {DISCOVERY: 1}


async def test_nothing_listens() -> None:
    """A provider whose port is closed is unavailable, and the verifier lives on."""
    async with ScriptedProvider().serving() as provider:
        settings, token = provider.settings(), provider.token()
    async with running(settings) as verifier:
        assert code_of(await log_in(verifier, token)) == Failure.PROVIDER_UNAVAILABLE


async def test_provider_that_hangs() -> None:
    """A provider that takes the request and never answers is given up after the deadline."""
    async with ScriptedProvider().serving() as provider:
        provider.gate.clear()
        async with running(provider.settings(), bounds=OidcBounds(fetch_timeout=0.1)) as verifier:
            assert code_of(await log_in(verifier, provider.token())) == Failure.PROVIDER_UNAVAILABLE


async def test_provider_that_keeps_talking() -> None:
    """A provider that always sends something and never an answer is given up after the same deadline."""
    async with ScriptedProvider().serving() as provider:
        provider.answers[DISCOVERY] = Answer(endless=True)
        async with running(provider.settings(), bounds=OidcBounds(fetch_timeout=0.1)) as verifier:
            assert code_of(await log_in(verifier, provider.token())) == Failure.PROVIDER_UNAVAILABLE


def discovery(**changes: object) -> Callable[[ScriptedProvider], None]:
    return lambda provider: provider.discover(**changes)


def answer(path: str, **members: object) -> Callable[[ScriptedProvider], None]:
    return lambda provider: provider.answers.update({path: Answer(**members)})  # type: ignore[arg-type]


def padded(path: str, size: int) -> Callable[[ScriptedProvider], None]:
    """A right document that is only too long."""
    def change(provider: ScriptedProvider) -> None:
        provider.answers[path] = Answer(provider.answers[path].body + b" " * size)
    return change


def redirected(path: str) -> Callable[[ScriptedProvider], None]:
    """To the same document on the same server: followed, it would even work."""
    def change(provider: ScriptedProvider) -> None:
        provider.answers["/moved"] = provider.answers[path]
        provider.answers[path] = Answer(status=302, headers={"location": f"{provider.origin}/moved"})
    return change


BROKEN: list[tuple[str, Callable[[ScriptedProvider], None], Failure]] = [
    ("discovery of another issuer", discovery(issuer="https://login.example.com"), Failure.DISCOVERY),
    ("discovery without issuer", discovery(issuer=None), Failure.DISCOVERY),
    ("discovery with a slash more", lambda provider: provider.discover(issuer=provider.issuer + "/"),
     Failure.DISCOVERY),
    ("discovery without keys", discovery(jwks_uri=None), Failure.DISCOVERY),
    ("keys elsewhere over http", discovery(jwks_uri="http://192.0.2.1/jwks"), Failure.DISCOVERY),
    ("keys in a file", discovery(jwks_uri="file:///etc/passwd"), Failure.DISCOVERY),
    ("keys with credentials", discovery(jwks_uri="https://a:b@127.0.0.1/jwks"), Failure.DISCOVERY),
    ("keys at no URL", discovery(jwks_uri="http://[::1"), Failure.DISCOVERY),
    ("keys at a port that is none", discovery(jwks_uri="http://127.0.0.1:99999/"), Failure.DISCOVERY),
    ("keys at a list", discovery(jwks_uri=["x"]), Failure.DISCOVERY),
    ("discovery not found", answer(DISCOVERY, status=404), Failure.DISCOVERY),
    ("discovery is HTML", answer(DISCOVERY, body=b"<html>"), Failure.DISCOVERY),
    ("discovery with a name twice", answer(DISCOVERY, body=b'{"issuer":"a","issuer":"b"}'), Failure.DISCOVERY),
    ("discovery huge", padded(DISCOVERY, 131_072), Failure.DISCOVERY),
    ("discovery redirects", redirected(DISCOVERY), Failure.DISCOVERY),
    ("discovery fails", answer(DISCOVERY, status=500), Failure.PROVIDER_UNAVAILABLE),
    ("keys redirect", redirected(KEYS), Failure.KEYS),
    ("keys not found", answer(KEYS, status=404), Failure.KEYS),
    ("keys huge", padded(KEYS, KEY_SET_LIMIT), Failure.KEYS),
    ("keys compressed", answer(KEYS, body=gzip.compress(b" " * 10**6), headers={"content-encoding": "gzip"}),
     Failure.KEYS),
    ("keys invalid JSON", answer(KEYS, body=b'{"keys":['), Failure.KEYS),
    ("keys empty", answer(KEYS, body=b'{"keys":[]}'), Failure.KEYS),
    ("keys only symmetric", answer(KEYS, body=b'{"keys":[{"kty":"oct","k":"AAAA","kid":"P256-1"}]}'),
     Failure.KEYS),
    ("keys fail", answer(KEYS, status=502), Failure.PROVIDER_UNAVAILABLE),
    ("answer is no HTTP", answer(KEYS, raw=b"SSH-2.0-OpenSSH\r\n\r\n"), Failure.PROVIDER_UNAVAILABLE),
    ("answer is cut", answer(KEYS, raw=b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"),
     Failure.PROVIDER_UNAVAILABLE),
    ("answer is nothing", answer(KEYS, raw=b""), Failure.PROVIDER_UNAVAILABLE),
]


@pytest.mark.parametrize(
    ("change", "failure"), [pytest.param(change, code, id=name) for name, change, code in BROKEN]
)
async def test_broken_provider_gives_no_keys(
    change: Callable[[ScriptedProvider], None], failure: Failure
) -> None:
    """Each way in which a provider can be wrong ends in its code, and right keys in memory survive it."""
    clock = Clock()
    async with ScriptedProvider().serving() as provider, running(provider.settings(), clock=clock) as verifier:
        token = provider.token()
        await log_in(verifier, token)
        change(provider)
        async with running(provider.settings()) as fresh:
            assert code_of(await log_in(fresh, token)) == failure
        clock.passed = 400
        assert code_of(await log_in(verifier, provider.token("P256-new"))) == Failure.KEY_UNKNOWN
        assert isinstance(at_once(verifier, token), Identity)
        assert verifier.status()[0].error is not None


async def test_providers_do_not_vouch_for_each_other() -> None:
    """One provider's key is worth nothing under another's issuer; each is fine under its own."""
    async with ScriptedProvider(public("P256-1")).serving() as one, \
            ScriptedProvider(public("P256-2")).serving() as two, \
            running(one.settings("one"), two.settings("two")) as verifier:
        assert (await log_in(verifier, one.token("P256-1"))).provider == "one"  # type: ignore[union-attr]
        assert (await log_in(verifier, two.token("P256-2"))).provider == "two"  # type: ignore[union-attr]
        assert code_of(await log_in(verifier, one.token("P256-2"))) == Failure.KEY_UNKNOWN
        forged = mint(claims(iss=one.issuer), signer="P256-2", kid="P256-1")
        assert code_of(at_once(verifier, forged)) == Failure.SIGNATURE


async def test_provider_down_does_not_hold_up_another() -> None:
    """A hanging provider delays its own logins only."""
    async with ScriptedProvider().serving() as slow, ScriptedProvider().serving() as quick:
        slow.gate.clear()
        async with running(slow.settings("slow"), quick.settings("quick")) as verifier:
            assert at_once(verifier, slow.token()) is None
            assert isinstance(await log_in(verifier, quick.token()), Identity)


async def test_waiting_logins_are_bounded() -> None:
    """More logins than the bound do not wait; they are refused with a reason."""
    async with ScriptedProvider().serving() as provider:
        provider.gate.clear()
        async with running(provider.settings(), bounds=OidcBounds(waiting=2)) as verifier:
            assert at_once(verifier, provider.token()) is None
            assert at_once(verifier, provider.token()) is None
            assert code_of(at_once(verifier, provider.token())) == Failure.OVERLOADED


async def test_stopped_verifier_answers_everyone() -> None:
    """When the gateway stops, waiting logins are refused, and so is every later one."""
    answers: list[Identity | Exception] = []
    async with ScriptedProvider().serving() as provider:
        provider.gate.clear()
        async with running(provider.settings()) as verifier:
            verifier.authenticate(provider.token(), answers.append)
            await provider.wait_asked(DISCOVERY, 1)
        await asyncio.sleep(0)
        assert [code_of(item) for item in answers] == [Failure.STOPPED]
        assert code_of(at_once(verifier, provider.token())) == Failure.STOPPED


async def test_login_before_run_is_answered_by_it() -> None:
    """A login that comes before `run` has begun waits for the first keys."""
    async with ScriptedProvider().serving() as provider:
        verifier = OidcVerifier([provider.settings()], Clock())
        async with asyncio.TaskGroup() as group:
            login = group.create_task(log_in(verifier, provider.token()))
            await asyncio.sleep(0)
            task = group.create_task(verifier.run())
            await verifier.wait_attempted()
            assert isinstance(await login, Identity)
            task.cancel()


async def test_raising_callback_does_not_stop_the_fetching() -> None:
    """A login whose callback raises after a wait harms no other login."""
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context["exception"]))

    def fail(_: object) -> None:
        raise ZeroDivisionError

    async with ScriptedProvider().serving() as provider:
        provider.gate.clear()
        async with running(provider.settings()) as verifier:
            verifier.authenticate(provider.token(), fail)
            provider.gate.set()
            assert isinstance(await log_in(verifier, provider.token()), Identity)
    assert [type(error) for error in seen] == [ZeroDivisionError]


async def test_forged_texts_are_refused_at_once() -> None:
    """What is no token, or of no configured issuer, is refused without any fetch."""
    async with ScriptedProvider().serving() as provider, running(provider.settings()) as verifier:
        await verifier.wait_attempted()
        for text in ("", "secret", "a.b.c", "\ud800", "\0", "x" * 100_000, mint()):
            assert code_of(at_once(verifier, text)).startswith("identity.")
        assert provider.requests == {DISCOVERY: 1, KEYS: 1}


async def test_observer_is_told() -> None:
    """Changed keys and failures are told once each, for the log."""
    told: list[tuple[str, str]] = []
    async with ScriptedProvider().serving() as provider:
        provider.break_down()
        clock = Clock()
        verifier = OidcVerifier(
            [provider.settings()], clock, observe=lambda event, name, detail: told.append((event, name))
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(verifier.run())
            await verifier.wait_attempted()
            provider.discover()
            provider.publish(public("P256-1"))
            clock.passed = 10
            await log_in(verifier, provider.token())
            task.cancel()
    assert told == [("keys_failed", "corp"), ("keys_changed", "corp")]


@pytest.mark.parametrize(
    ("issuer", "unsafe"),
    [
        ("http://127.0.0.1:9", False), ("http://login.example.com", True), ("http://192.0.2.1", True),
        ("http://127.0.0.1.example.com", True), ("http://localhost.example.com", True), ("ftp://127.0.0.1", True),
        ("https://", False), ("https://a:b@login.example.com", False), ("https://login.example.com/?a=b", False),
        ("https://login.example.com/#a", False), ("https://login.example.com:x", False), ("login.example.com", False),
        ("http://0.0.0.0", True),
    ],
)
def test_unsafe_issuers_are_refused(issuer: str, unsafe: bool) -> None:
    """Plain http is for loopback, with the setting that says so; everything else must be https."""
    with pytest.raises(ConfigError):
        OidcProvider(ProviderRules("x", issuer, AUDIENCE), unsafe_http=unsafe)


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9"])
def test_loopback_may_use_http(issuer: str) -> None:
    """Development on loopback works with the explicit setting."""
    assert OidcProvider(ProviderRules("x", issuer, AUDIENCE), unsafe_http=True).unsafe_http


def test_provider_from_the_configuration() -> None:
    """Every setting of a provider reaches the rules; wrong ones end in `ConfigError`."""
    settings = Provider(
        name="corp", issuer="https://login.example.com", audience="db", groups_claim="realm.roles",
        agent_claim="act.sub", model_claim="m", algorithms=("ES256",), leeway="2m", ca=Path("ca.pem"),
    )
    assert OidcProvider.of(settings) == OidcProvider(
        ProviderRules("corp", "https://login.example.com", "db", "realm.roles", "act.sub", "m",
                      frozenset({"ES256"}), 120.0),
        Path("ca.pem"),
    )
    with pytest.raises(ConfigError, match="HS256"):
        OidcProvider.of(settings.model_copy(update={"algorithms": ("HS256",)}))
    with pytest.raises(ConfigError, match="leeway"):
        OidcProvider.of(settings.model_copy(update={"leeway": "1h"}))


def certificate(folder: Path, address: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context and the CA file (the self-signed certificate) that vouches for `address`."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test provider")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1)).not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(private, hashes.SHA256())
    )
    chain, secret = folder / "ca.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return context, chain


async def test_https_with_a_configured_authority(tmp_path: Path) -> None:
    """With its CA a provider is reached; without it, or under another name, it is not."""
    tls, ca = certificate(tmp_path, "127.0.0.1")
    async with ScriptedProvider(scheme="https").serving(tls) as provider:
        async with running(provider.settings(ca=ca, unsafe_http=False)) as verifier:
            assert isinstance(await log_in(verifier, provider.token()), Identity)
        async with running(provider.settings(unsafe_http=False)) as verifier:
            assert code_of(await log_in(verifier, provider.token())) == Failure.PROVIDER_UNAVAILABLE
    tls, ca = certificate(tmp_path, "127.0.0.2")
    async with ScriptedProvider(scheme="https").serving(tls) as provider, \
            running(provider.settings(ca=ca, unsafe_http=False)) as verifier:
        assert code_of(await log_in(verifier, provider.token())) == Failure.PROVIDER_UNAVAILABLE


async def test_unreadable_authority_is_a_configuration_error(tmp_path: Path) -> None:
    """A CA file that is missing or no certificate ends `run` with a clear error."""
    (tmp_path / "bad.pem").write_text("no certificate")
    for name in ("missing.pem", "bad.pem"):
        rules = ProviderRules("x", "https://127.0.0.1:9", AUDIENCE)
        with pytest.raises(ExceptionGroup) as caught:
            await OidcVerifier([OidcProvider(rules, ca=tmp_path / name)], Clock()).run()
        assert caught.group_contains(ConfigError, match="CA file")
