"""Starting npm's `oidc-provider` (MIT): a provider that was not written by those it tests."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.npm import installed

HERE = Path(__file__).parent


@dataclass(frozen=True)
class IndependentProvider:
    """A running provider with one client for the client credentials grant."""

    issuer: str
    secret: str

    def token(self, *, algorithm: str = "ES256", audience: str = "lockgate") -> str:
        """An access token (RFC 9068) for an audience, by resource indicator (RFC 8707)."""
        answer = httpx.post(
            f"{self.issuer}/token",
            auth=("crew", self.secret),
            data={
                "grant_type": "client_credentials",
                "resource": f"https://resources.example/{audience}/{algorithm}",
                "scope": "sql",
            },
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@contextmanager
def independent_provider() -> Iterator[IndependentProvider]:
    """The provider on a loopback port; it ends with the block."""
    node = installed(HERE)
    secret = secrets.token_urlsafe(32)
    with subprocess.Popen(
        [node, "provider.mjs"], cwd=HERE, env={**os.environ, "TEST_CLIENT_SECRET": secret},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().strip()
            assert issuer.startswith("http://127.0.0.1:"), "the provider did not start"
            yield IndependentProvider(issuer, secret)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
