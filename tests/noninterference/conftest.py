"""Two servers with the databases of all models, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.noninterference.databases import Databases, compared
from testbed.noninterference.models import CRM, SHAPES, SPLIT


@pytest.fixture(scope="session")
def models() -> Iterator[dict[str, Databases]]:
    """The databases by their model's name."""
    with compared(SHAPES, CRM, SPLIT) as (shapes, crm, split):
        yield {"shapes": shapes, "crm": crm, "split": split}


@pytest.fixture
def shapes(models: dict[str, Databases]) -> Databases:
    """The schema of the leak shapes."""
    return models["shapes"]


@pytest.fixture
def crm(models: dict[str, Databases]) -> Databases:
    """The schema that statements are generated for."""
    return models["crm"]


@pytest.fixture
def split(models: dict[str, Databases]) -> Databases:
    """A table that is split by a labelled column."""
    return models["split"]
