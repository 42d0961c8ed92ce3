"""Logging in against providers over real HTTP: npm's oidc-provider, and the development issuer."""

from __future__ import annotations

import asyncio
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, time

import httpx
import pytest
from typer.testing import CliRunner

from lockgate.cli.issuer import app
from lockgate.control.issuer import UnsafeDevelopmentIssuer, bind_loopback
from lockgate.errors import ConfigError, IdentityError
from lockgate.govern.identity import Failure, ProviderRules
from lockgate.model import Identity
from lockgate.net.discovery import OidcProvider
from lockgate.net.oidc import OidcBounds, OidcVerifier
from tests.issuers.development import development_issuer
from tests.issuers.independent import IndependentProvider, independent_provider


class RealClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time()

    def monotonic(self) -> float:
        return monotonic()


@pytest.fixture(scope="module")
def independent() -> Iterator[IndependentProvider]:
    with independent_provider() as provider:
        yield provider


async def log_in(issuer: str, *tokens: str, audience: str = "lockgate", groups: str = "groups",
                 model: str | None = "model") -> list[Identity | Exception]:
    """What logins with these tokens end with, one after the other at one verifier."""
    rules = ProviderRules("corp", issuer, audience, groups_claim=groups, agent_claim="agent", model_claim=model)
    verifier = OidcVerifier(
        [OidcProvider(rules, unsafe_http=True)], RealClock(), bounds=OidcBounds(refetch_interval=0.0)
    )
    answers = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(verifier.run())
        for token in tokens:
            answer: asyncio.Future[Identity | Exception] = asyncio.get_running_loop().create_future()
            verifier.authenticate(token, answer.set_result)
            answers.append(await answer)
        task.cancel()
    return answers


def log_in_to_independent(provider: IndependentProvider, token: str) -> Identity | Exception:
    answer, = asyncio.run(log_in(
        provider.issuer, token, groups="realm_access.roles", model="https://example.com/model"))
    return answer


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])
def test_token_of_an_independent_provider(independent: IndependentProvider, algorithm: str) -> None:
    """A JWT access token by client credentials logs in, with groups, client, agent and model."""
    identity = log_in_to_independent(independent, independent.token(algorithm=algorithm))
    assert isinstance(identity, Identity), identity
    assert identity.subject == identity.client_id == "crew"
    assert identity.issuer == independent.issuer
    assert identity.groups == {"analysts", "dbas"}
    assert (identity.agent, identity.model) == ("planner", "m-1")
    assert 0 < identity.expires_at - time() <= 330


def test_independent_token_for_another_audience(independent: IndependentProvider) -> None:
    """A token that the same provider made for another service is refused."""
    answer = log_in_to_independent(independent, independent.token(audience="payroll"))
    assert isinstance(answer, IdentityError)
    assert answer.code == Failure.AUDIENCE


def test_independent_token_changed(independent: IndependentProvider) -> None:
    """A changed signature is refused."""
    head, claims, signature = independent.token().split(".")
    forged = f"{head}.{claims}.{signature[:10]}{'A' if signature[10] != 'A' else 'B'}{signature[11:]}"
    answer = log_in_to_independent(independent, forged)
    assert isinstance(answer, IdentityError)
    assert answer.code == Failure.SIGNATURE


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "RS256", "PS256", "Ed25519"])
def test_development_issuer_over_http(algorithm: str) -> None:
    """What the development issuer mints and serves is accepted like any provider's."""
    with development_issuer(algorithm=algorithm) as issuer:     # type: ignore[arg-type]
        rules = ProviderRules("dev", issuer.issuer, "lockgate", algorithms=frozenset({algorithm}))
        verifier = OidcVerifier([OidcProvider(rules, unsafe_http=True)], RealClock())

        async def check() -> Identity | Exception:
            answer: asyncio.Future[Identity | Exception] = asyncio.get_running_loop().create_future()
            async with asyncio.TaskGroup() as group:
                task = group.create_task(verifier.run())
                verifier.authenticate(issuer.mint(subject="ada", groups=["dbas"]), answer.set_result)
                await answer
                task.cancel()
            return answer.result()

        identity = asyncio.run(check())
        assert isinstance(identity, Identity), identity
        assert identity.subject == "ada"
        assert identity.groups == {"dbas"}


def test_development_issuer_rotates() -> None:
    """After a rotation old and new tokens pass; after a second one the oldest no longer does."""
    with development_issuer() as issuer:
        tokens = [issuer.mint(subject="one")]
        issuer.rotate()
        tokens.append(issuer.mint(subject="two"))
        assert [type(answer) for answer in asyncio.run(log_in(issuer.issuer, *tokens))] == [Identity, Identity]
        issuer.rotate()
        answers = asyncio.run(log_in(issuer.issuer, *tokens))
        assert [type(answer) for answer in answers] == [IdentityError, Identity]


def test_token_by_command() -> None:
    """`lockgate issuer token` prints a token with what was asked for."""
    with development_issuer() as issuer:
        done = CliRunner().invoke(app, [
            "token", "--url", issuer.issuer, "--subject", "ada", "--group", "dbas", "--group", "on call",
            "--agent", "planner", "--model", "m-1", "--lifetime", "60",
        ])
        assert done.exit_code == 0, done.output
        identity, = asyncio.run(log_in(issuer.issuer, done.stdout.strip()))
        assert isinstance(identity, Identity), identity
        assert identity.groups == {"dbas", "on call"}
        assert (identity.agent, identity.model) == ("planner", "m-1")
        assert identity.expires_at < time() + 91


def test_groups_by_form() -> None:
    """`group` is one group, `groups` are several with spaces between; both may come several times."""
    with development_issuer() as issuer:
        form = {"subject": "ada", "group": ["on call"], "groups": ["a b", "c"]}
        answer = httpx.post(f"{issuer.issuer}/token", data=form, trust_env=False)
        identity, = asyncio.run(log_in(issuer.issuer, answer.json()["access_token"]))
        assert isinstance(identity, Identity), identity
        assert identity.groups == {"on call", "a", "b", "c"}


@pytest.mark.parametrize(
    "form",
    [
        {}, {"subject": ""}, {"subject": "a", "lifetime": "nan"}, {"subject": "a", "lifetime": "-1"},
        {"subject": "a", "lifetime": "1e9"}, {"subject": "a", "admin": "1"}, {"subject": "a" * 20_000},
    ],
    ids=lambda form: repr(form)[:30],
)
def test_wrong_form_is_refused(form: dict[str, str]) -> None:
    """`/token` refuses what it does not understand, with the error of RFC 6749."""
    with development_issuer() as issuer:
        answer = httpx.post(f"{issuer.issuer}/token", data=form, trust_env=False)
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_request"


def test_rebound_name_gets_no_token() -> None:
    """A web page that points its own name at loopback gets nothing from the development issuer."""
    with development_issuer() as issuer:
        for method, path in (("POST", "/token"), ("GET", "/jwks"), ("GET", "/.well-known/openid-configuration")):
            answer = httpx.request(
                method, issuer.issuer + path, headers={"host": "evil.example"}, trust_env=False,
                content="subject=root",
            )
            assert answer.status_code == 421
            assert "access_token" not in answer.text


def test_development_issuer_refuses_to_be_anything_else(tmp_path: Path) -> None:
    """It starts only with its flag, and only on loopback."""
    with pytest.raises(ConfigError, match="unsafe-development-only"):
        UnsafeDevelopmentIssuer("http://127.0.0.1:1", unsafe_development_only=False)
    for url in ("http://192.0.2.1:1", "https://login.example.com", "http://0.0.0.0:1"):
        with pytest.raises(ConfigError, match="loopback"):
            UnsafeDevelopmentIssuer(url, unsafe_development_only=True)
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0", ":0", "127.0.0.1:x", "127.0.0.1:70000"):
        with pytest.raises(ConfigError):
            bind_loopback(address)
    refused = CliRunner().invoke(app, ["run", "--address", "127.0.0.1:0"])
    assert refused.exit_code == 2
    refused = CliRunner().invoke(app, ["run", "--address", "0.0.0.0:0", "--unsafe-development-only"])
    assert refused.exit_code == 2
    assert "loopback" in refused.output


def test_keys_outlive_the_process(tmp_path: Path) -> None:
    """With a state folder a token survives a restart, and the key file is for its owner only."""
    url = "http://127.0.0.1:1"
    first = UnsafeDevelopmentIssuer(url, unsafe_development_only=True, state=tmp_path / "state")
    second = UnsafeDevelopmentIssuer(url, unsafe_development_only=True, state=tmp_path / "state")
    assert first.jwks() == second.jwks()
    assert "d" not in first.jwks()["keys"][0]       # type: ignore[index]
    file, = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("{")
    with pytest.raises(ConfigError, match="key file"):
        UnsafeDevelopmentIssuer(url, unsafe_development_only=True, state=tmp_path / "state")


def test_run_command_serves_and_ends(tmp_path: Path) -> None:
    """`lockgate issuer run` says where it listens, serves, and ends on SIGTERM."""
    command = "from lockgate.cli.issuer import app; app()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "run", "--unsafe-development-only", "--address", "127.0.0.1:0",
         "--state", str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found is not None
            asked = CliRunner().invoke(app, ["token", "--url", found.group(), "--subject", "ada"])
            assert asked.exit_code == 0, asked.output
            identity, = asyncio.run(log_in(found.group(), asked.stdout.strip()))
            assert isinstance(identity, Identity), identity
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def test_token_without_an_issuer_says_so() -> None:
    """Without an issuer the command fails with a hint and no traceback."""
    listening, url = bind_loopback("127.0.0.1:0")
    listening.close()
    done = CliRunner().invoke(app, ["token", "--url", url, "--subject", "ada"])
    assert done.exit_code == 1
    assert "is the issuer running" in done.output
