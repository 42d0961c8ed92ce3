"""What commands that show the record read: the log of the state folder, or an evidence package that verifies.

A package is verified first, by what was pinned, and read through the same open file. One that does not verify
is not shown: its report is printed instead, and its verdict is the exit status.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockgate.audit.evidence.main import printable
from lockgate.audit.evidence.report import Verdict
from lockgate.audit.packaging.pages import PackagePages
from lockgate.audit.reader import Reader
from lockgate.cli.failing import fail
from lockgate.cli.packages import check_open, pins_of, print_report
from lockgate.cli.played import Script
from lockgate.cli.recordings import open_script, packed_script
from lockgate.cli.state import log_folder
from lockgate.errors import AuditError

Package = Annotated[Path | None, typer.Option(
    "--package", help="Read this evidence package instead of the log. It is shown if it verifies.")]
Key = Annotated[Path | None, typer.Option("--key", help="With --package: the pinned verifier key (log.vkey).")]
Root = Annotated[Path | None, typer.Option("--root", help="With --package: the pinned root key of its trust note.")]
Policy = Annotated[Path | None, typer.Option("--policy", help="With --package and --key: the pinned witness policy.")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to read: a state folder, or a package and what is pinned of it."""

    state: Path
    package: Path | None = None
    key: Path | None = None
    root: Path | None = None
    policy: Path | None = None

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """A reader of it. Leaves where the package does not verify; raises `AuditError`."""
        if self.package is None:
            self._require_no_pins()
            with Reader(log_folder(self.state)) as reader:
                yield reader
            return
        with self._pages(self.package) as pages, Reader(pages) as reader:
            if pages.partial:
                typer.echo(f"{len(pages.partial)} of the sessions began before entry {pages.first}, where the package begins, "
                           "and are not listed", err=True)
            yield reader

    @contextmanager
    def script(self, wanted: str, identity: Path, stream: str) -> Iterator[Script | None]:
        """The recording of a session, decrypted while it is played; None where there is none."""
        if self.package is None:
            self._require_no_pins()
            yield open_script(wanted, log_folder(self.state), identity, stream)
            return
        with self._pages(self.package) as pages, tempfile.TemporaryDirectory(prefix="lockgate-play-") as folder:
            yield packed_script(pages, wanted, Path(folder), identity, stream)

    @contextmanager
    def _pages(self, package: Path) -> Iterator[PackagePages]:
        pins = pins_of(self.key, self.root, self.policy)
        try:
            file = package.open("rb")
        except OSError as error:
            fail(AuditError(str(error)))
        with file:
            report = check_open(file, package, pins)
            said = Console(stderr=True, highlight=False, soft_wrap=True)
            if report.verdict is not Verdict.VERIFIED:
                print_report(said, report)
                said.print(f"{package}: is not shown, because it does not verify", markup=False)
                raise typer.Exit(int(report.verdict))
            said.print(f"VERIFIED  {printable(report.covered['manifest'][-1])}", markup=False)
            yield PackagePages(file)

    def _require_no_pins(self) -> None:
        if (self.key, self.root, self.policy) != (None, None, None):
            fail(AuditError("keys and policies are pinned for a package", advice="give one with --package; the log itself is "
                            "verified with `lockgate audit verify`"))
