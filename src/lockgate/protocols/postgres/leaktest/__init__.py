"""The leak test for PostgreSQL, the client's side. See `lockgate.wire.leaktest` for the contract."""

from __future__ import annotations

from lockgate.protocols.postgres.leaktest.client import Client
from lockgate.protocols.postgres.leaktest.columns import columns
from lockgate.protocols.postgres.leaktest.scratch import scratch
from lockgate.protocols.postgres.leaktest.ways import WAYS
from lockgate.wire.leaktest import Delivery, Inside, LeakSuite, Line, Login, Shot

__all__ = ["SUITE"]


class Session(Client):
    """A client whose shots are named by their way."""

    def deliver(self, shot: Shot, way: str, *, inside: Inside, seconds: float) -> Delivery:
        """Fire one shot one way."""
        return self.fire(shot, WAYS[way], inside=inside, seconds=seconds)


def log_in(line: Line, login: Login, opening: tuple[str, ...]) -> Session:
    """A session that is ready for its first shot. Raises `BackendError`."""
    session = Session(line, opening)
    session.log_in(login)
    return session


SUITE = LeakSuite(
    scheme="postgresql", ways=tuple(WAYS), log_in=log_in, scratch=scratch, columns=columns,
    notes=(
        "timing, the physical order of rows and the planner's estimates are not looked at",
        "what the author of a definition wrote into it (a view's constant, a check, a comment) is no value of a column",
    ),
)
