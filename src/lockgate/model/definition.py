"""What a backend says that one of its tools is, and what of it somebody has accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Definition:
    """Of the tool `name`. `accepted` and `seen` are digests, empty for none: of what a client may be shown, and of what the
    backend said last; the texts are for people.
    """

    name: str
    accepted: str
    seen: str
    accepted_text: str
    seen_text: str
