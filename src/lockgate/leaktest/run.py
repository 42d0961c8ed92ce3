"""A whole leak test, from logging in to dropping what was made: the order of its parts, for both grounds.

Apart from `campaign`, which fires at one side and knows nothing of the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lockgate.errors import BackendError, ConfigError
from lockgate.leaktest.address import Address
from lockgate.leaktest.campaign import Campaign, Options
from lockgate.leaktest.keeper import Keeper, wait_masked
from lockgate.leaktest.line import dial
from lockgate.leaktest.verdict import Outcome, Result
from lockgate.model import Secret
from lockgate.wire.leaktest import Ground, LeakSession, LeakSuite, Login, NotAdmitted

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Side:
    """A server and the account there."""

    address: Address
    secret: Secret


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tested. `direct` is the database without the gateway; `wait` seconds are given to the gateway to mask
    what it should, None fires at once, masked or not."""

    suite: LeakSuite
    gateway: Side
    direct: Side | None
    options: Options
    wait: float | None
    prove: bool = False
    keep: bool = False


def run_scratch(plan: Plan, tell: Tell) -> Outcome:
    """Make the scratch ground, fire at it, drop it. Raises `BackendError`, with nothing left behind."""
    ground = plan.suite.scratch()
    _require_groups(plan, ground)
    if plan.direct is None:
        raise ConfigError("the scratch ground needs a direct connection to the database",
                          advice="Name it with --setup-dsn, or test columns that exist with --columns.")
    try:
        connect(plan.suite, plan.gateway, ())().close()     # a wrong address or token is told before anything is made
    except NotAdmitted:
        pass                                # labels that name nothing yet keep a gateway from taking sessions
    keeper = Keeper(ground, connect(plan.suite, plan.direct, ())())
    try:
        return _fire(plan, keeper.build(), keeper, tell)
    finally:
        if not plan.keep:
            keeper.drop()
            tell("the scratch schema is dropped; a policy that labels nothing but it has to go as well, for a label that"
                 " names nothing stops its connection (--keep leaves the schema for the next run)")


def run_columns(plan: Plan, names: Sequence[str], values: Sequence[str], condition: str, tell: Tell) -> Outcome:
    """Fire at columns that exist, read-only."""
    ground = plan.suite.columns(names, values, condition)
    _require_groups(plan, ground)
    return _fire(plan, ground, None, tell)


def connect(suite: LeakSuite, side: Side, opening: tuple[str, ...]) -> Callable[[], LeakSession]:
    """How to get a new session there. Calling it raises `BackendError`."""
    def session() -> LeakSession:
        address = side.address
        line = dial(address)
        try:
            return suite.log_in(line, Login(address.user, address.database, side.secret, address.tls), opening)
        except BackendError as error:
            line.close()
            raise type(error)(f"{address}: {error}", advice=error.advice()) from None

    return session


def _require_groups(plan: Plan, ground: Ground) -> None:
    known = dict.fromkeys(shape.group for shape in ground.shapes)
    for group in plan.options.groups:
        if group not in known:
            raise ConfigError(f"there is no group of shapes {group!r} here", advice="There are " + ", ".join(known) + ".")


def _fire(plan: Plan, ground: Ground, keeper: Keeper | None, tell: Tell) -> Outcome:
    def restore() -> None:
        if keeper is not None and keeper.restore():
            tell("a shape changed the scratch ground; it was made again")
            wait_masked(campaign.unmasked, plan.wait or 0)

    campaign = Campaign(ground, connect(plan.suite, plan.gateway, ground.opening), plan.options, restore, _progress(tell))
    try:
        unmasked = _wait(plan, ground, campaign, tell)
        if ground.is_read_only:
            _require_rows(campaign)
        results = campaign.fire()
        benign = campaign.fire_benign()
    finally:
        campaign.close()
    return Outcome(results, benign, _control(plan, ground, keeper, tell), unmasked)


def _require_rows(campaign: Campaign) -> None:
    """`ConfigError` where nothing would be tested: a misspelt column answers every shape with an error, an empty one with
    nothing, and neither is a leak."""
    obstacle = campaign.obstacle()
    if obstacle:
        raise ConfigError(obstacle, advice="Name a column as schema.table.column, and with --where rows that are there.")


def _wait(plan: Plan, ground: Ground, campaign: Campaign, tell: Tell) -> tuple[str, ...]:
    """Labelled columns that the gateway shows. Raises `BackendError` where it shows all of them, unless that is wanted."""
    def unmasked() -> tuple[str, ...]:
        try:
            return campaign.unmasked()
        except NotAdmitted:
            if time.monotonic() >= deadline:
                raise
            return tuple(ground.probes)

    deadline = time.monotonic() + (plan.wait or 0)
    shown = unmasked()
    if shown and plan.wait:
        if ground.policy:
            tell("the gateway does not mask the scratch ground yet; give its connection this policy:\n\n" + ground.policy)
        shown = wait_masked(unmasked, plan.wait)
    if shown and plan.wait is not None and len(shown) == len(ground.probes):
        raise BackendError("nothing is labelled: the gateway shows " + ", ".join(shown),
                           advice="Label these columns in a policy of the connection, or fire at once with --no-wait.")
    for name in shown:
        tell(f"not masked: {name}")
    return shown


def _control(plan: Plan, ground: Ground, keeper: Keeper | None, tell: Tell) -> tuple[Result, ...]:
    if not plan.prove:
        return ()
    if plan.direct is None:
        raise ConfigError("the control run needs a direct connection to the database", advice="Name it with --setup-dsn.")

    def restore() -> None:
        if keeper is not None:
            keeper.restore()

    campaign = Campaign(ground, connect(plan.suite, plan.direct, ground.opening), plan.options, restore, _progress(tell))
    try:
        return campaign.fire()
    finally:
        campaign.close()


def _progress(tell: Tell) -> Callable[[int, int], None]:
    def told(done: int, of: int) -> None:
        if done == of or done % 500 == 0:
            tell(f"{done} of {of} fired")

    return told
