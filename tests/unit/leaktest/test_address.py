"""Addresses: what is taken, and that a password in one is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.errors import ConfigError
from lockgate.leaktest.address import Address, parse_address

URL = "postgresql://ann@gateway.example.com:6432/crm"


def test_an_address_has_its_parts() -> None:
    """Host, port, account, database, and TLS that verifies unless something else is said."""
    assert parse_address(URL, "postgresql", 5432) == Address("gateway.example.com", 6432, "ann", "crm", "verify-full", None)
    assert parse_address("postgresql://a%40b@[::1]/x%20y?sslmode=require&sslrootcert=ca.pem", "postgresql", 5432) == Address(
        "::1", 5432, "a@b", "x y", "require", Path("ca.pem"))
    assert parse_address("postgresql://a@127.0.0.1/x", "postgresql", 5432).tls == "prefer"


@pytest.mark.parametrize(("url", "words"), [
    ("postgresql://ann:secret@host/crm", "holds a password"), ("mysql://ann@host/crm", "not a postgresql:// URL"),
    ("postgresql://host/crm", "user and host"), ("postgresql://ann@host", "names no database"),
    ("postgresql://ann@host:70000/crm", "cannot be read"), ("postgresql://ann@host/crm?sslmode=allow", "is none of"),
    ("postgresql://ann@host/crm?password=x", "unknown parameter password"),
])
def test_a_wrong_address_is_told_and_a_password_is_not_repeated(url: str, words: str) -> None:
    """Each mistake has its words, and no message holds a secret."""
    with pytest.raises(ConfigError, match=words) as caught:
        parse_address(url, "postgresql", 5432)
    assert "secret" not in str(caught.value)
    assert caught.value.advice()
