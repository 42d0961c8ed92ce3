"""One server with the two databases for all soundness tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.postgres import embedded
from tests.unit.analysis.taint.pair import Pair


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    with embedded({"autovacuum": "off"}) as server:
        made = Pair(server)
        yield made
        made.close()
