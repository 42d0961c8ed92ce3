"""A terminal's recorded output, without what drives more than the picture on the viewer's own terminal.

A recording is encrypted to a public key, so whoever sends one may have made it. Left out are sequences that a terminal
answers (the answer is typed into whatever reads the keyboard next), that reach its clipboard, title, files or printer,
and modes that make it send what nobody typed. Known sequences of ECMA-48 and xterm's that only draw are kept, unknown
ones are not.
"""

from __future__ import annotations

import re
from typing import Final

_KEPT_CONTROLS: Final = frozenset("\x07\b\t\n\v\f\r\x0e\x0f")
_DRAWING: Final = frozenset("@ABCDEFGHIJKLMPSTXZ`abdefgmrsu")   # finals of CSI without a private marker
_MODES: Final = frozenset({"1", "5", "6", "7", "12", "25", "45", "47", "1047", "1048", "1049"})
"""DEC private modes that only concern the picture: no mouse, focus, paste or other reports."""
_SEQUENCE: Final = re.compile(
    r"\x1b\[(?P<marker>[<-?]?)(?P<numbers>[0-9:;]{0,64})(?P<final>[@-~])"
    r"|\x1b(?P<single>[78=>DEHMc]|[()*+][0-9A-B]|\#8)"
    r"|\x1b(?P<string>[PX^_\]])")
_WHOLE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[ -/]+[0-~]|[0-Z\\`-~])")
"""Any sequence that is no string: what is known of it is left out, what is not yet whole is waited for."""
_BEGUN: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[ -/]*)")
_LONGEST: Final = 128       # characters of a sequence that is waited for
_STRING_END: Final = re.compile(r"[\x07\x18\x1a\x1b\x9c]")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")


class Picture:
    """Takes text in pieces of any size; keeps at most the beginning of one sequence."""

    def __init__(self) -> None:
        self._rest = ""
        self._in_string = False

    def feed(self, text: str) -> str:
        """What may be shown of it."""
        text, self._rest = self._rest + text, ""
        shown: list[str] = []
        at = 0
        while at < len(text):
            if self._in_string:
                at = self._skip_string(text, at)
            elif text[at] == "\x1b":
                begun = _BEGUN.fullmatch(text, at)
                if begun is not None and len(text) - at <= _LONGEST:
                    self._rest = text[at:]
                    break
                at = self._sequence(text, at, shown)
            else:
                run = _TEXT.match(text, at)
                shown.append(run[0] if run else text[at] if text[at] in _KEPT_CONTROLS else "")
                at = run.end() if run else at + 1
        return "".join(shown)

    def _skip_string(self, text: str, at: int) -> int:
        """Where the text goes on behind a string of control (OSC, DCS and their like)."""
        end = _STRING_END.search(text, at)
        if end is None:
            return len(text)
        self._in_string = False
        return end.start() if end[0] == "\x1b" else end.end()

    def _sequence(self, text: str, at: int, shown: list[str]) -> int:
        known = _SEQUENCE.match(text, at)
        if known is None:
            whole = _WHOLE.match(text, at)
            return at + 1 if whole is None else whole.end()
        if known["string"]:
            self._in_string = True
        elif known["single"] or _draws(known["marker"], known["numbers"], known["final"]):
            shown.append(known[0])
        return known.end()


def _draws(marker: str, numbers: str, final: str) -> bool:
    """Whether a control sequence does nothing but draw."""
    if marker == "?":
        return final in "JK" or (final in "hl" and all(mode in _MODES for mode in numbers.split(";")))
    if final == "b":        # repeats a character so many times
        return not marker and len(numbers) <= 4
    return not marker and (final in _DRAWING or (final in "hl" and numbers == "4"))
