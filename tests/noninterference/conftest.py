"""Two servers with the databases of both models, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.noninterference.databases import Databases, compared
from testbed.noninterference.models import CRM, SHAPES


@pytest.fixture(scope="session")
def both() -> Iterator[dict[str, Databases]]:
    """The databases by their model's name."""
    with compared(SHAPES, CRM) as (shapes, crm):
        yield {"shapes": shapes, "crm": crm}


@pytest.fixture
def shapes(both: dict[str, Databases]) -> Databases:
    """The schema of the leak shapes."""
    return both["shapes"]


@pytest.fixture
def crm(both: dict[str, Databases]) -> Databases:
    """The schema that statements are generated for."""
    return both["crm"]
