"""Which of the operations that a connection lists a request is: by its own templates, or by its OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lockgate.model import Refusal, RefusalCode
from lockgate.protocols.http.openapi import OpenApi
from lockgate.protocols.http.settings import HttpSettings
from lockgate.protocols.http.templates import Routes, templates_of


class Place(NamedTuple):
    """What is known of a request by its method and path."""

    template: str = ""
    operation: str = ""
    unlisted: Refusal | None = None


_NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Listing:
    """What one connection lists. `base`: the segments that the backend gets in front of a request's own."""

    templates: Routes[str]
    api: OpenApi | None
    base: tuple[str, ...]
    refuses: bool

    @classmethod
    def of(cls, settings: HttpSettings) -> Listing:
        """As the connection's options say."""
        base = tuple(settings.base_path.split("/")[1:])
        return cls(templates_of(settings.paths), settings.api, base, settings.unlisted == "deny")

    def place(self, method: str, segments: tuple[str, ...]) -> Place:
        """Where a request belongs. What an OpenAPI document does not list is refused, unless the connection says otherwise."""
        api = self.api
        if api is None:
            template = self.templates.find("", segments)
            return _NOWHERE if template is None else Place(template)
        whole = self.base + segments
        found = api.routes.find(method, whole)
        if found is not None:
            return Place(found.template, found.name)
        return Place(unlisted=_unlisted(api.routes.methods(whole))) if self.refuses else _NOWHERE


def _unlisted(methods: frozenset[str]) -> Refusal:
    if methods:
        reason, hint = "the API's description does not list this method for the path", f"It lists {', '.join(sorted(methods))}."
    else:
        reason, hint = "the API's description does not list this path", "Look into the API's own documentation for its paths."
    return Refusal(RefusalCode.UNLISTED, reason, hint=f"Nothing was forwarded. {hint}")
