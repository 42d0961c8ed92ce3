"""The command line of the stand-alone verifier: ``python3 -I verify.py evidence.tar --root root.vkey``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, BinaryIO, NoReturn

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import parse_note, parse_tree
from lockgate.audit.evidence.package import verify_package
from lockgate.audit.evidence.report import conclusion, report_json, text_lines
from lockgate.audit.evidence.signatures import Pins

USAGE = 4
_PIN_LIMIT = 65_536     # bytes of a key, a policy or a checkpoint
_DESCRIPTION = "Verify an evidence package of a Lockgate gateway, offline."
_STATUS = "Exit status: 0 verified, 1 tampered, 2 incomplete, 3 untrusted, 4 usage."


class _Words(argparse.ArgumentParser):
    """Wrong usage has a status of its own."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def printable(text: str) -> str:
    """The text with control characters escaped, so that nothing recorded can drive a terminal."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def no_package(file: BinaryIO) -> str:
    """Why a file is not even looked at as a package, and what to do; empty where it is."""
    found = file.read(2)
    file.seek(0)
    return "compressed: unpack it with gunzip, and verify the .tar" if found == b"\x1f\x8b" else ""


def no_checkpoint(text: str) -> str:
    """Why a text is no checkpoint that somebody kept, whoever signed it; empty where it is one."""
    try:
        parse_tree(parse_note(text).text)
    except EvidenceError as error:
        return error.message
    return ""


def _pinned(path: str | None) -> str | None:
    if path is None:
        return None
    with open(path, "rb") as file:      # noqa: PTH123 - a plain name is all that is known here
        return file.read(_PIN_LIMIT).decode("utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Verify and print; the exit status."""
    words = _Words(description=_DESCRIPTION, epilog=_STATUS)
    words.add_argument("package", help="the evidence package (a tar archive)")
    words.add_argument("--root", metavar="FILE", help="the organisation's root key, pinned; opens the trust note")
    words.add_argument("--key", metavar="FILE", help="the log's verifier key, pinned, where there is no trust note")
    words.add_argument("--policy", metavar="FILE", help="a C2SP tlog-policy of witnesses, with --key")
    words.add_argument("--against", metavar="FILE", help="a checkpoint of the log that was kept elsewhere")
    words.add_argument("--json", action="store_true", help="print one JSON object")
    given: Any = words.parse_args(arguments)
    try:
        pins = Pins(_pinned(given.key), _pinned(given.root), _pinned(given.policy), _pinned(given.against))
        if pins.against is not None and no_checkpoint(pins.against):
            words.error(f"{given.against}: is no checkpoint: {no_checkpoint(pins.against)}")
        with open(given.package, "rb") as file:     # noqa: PTH123
            if no_package(file):
                words.error(f"{given.package}: is {no_package(file)}")
            report = verify_package(file, pins, given.package)
    except (OSError, UnicodeDecodeError) as error:
        words.error(str(error))
    if given.json:
        sys.stdout.write(json.dumps(report_json(report), ensure_ascii=True) + "\n")
    else:
        for tag, line in text_lines(report):
            sys.stdout.write(f"{tag:<5} {printable(line)}\n")
        sys.stdout.write(printable(conclusion(report)) + "\n")
    return int(report.verdict)
