"""An API's own description (OpenAPI 3.0 and 3.1): which operations there are, by method and path.

Read once, when the configuration is. Taken from it are paths, methods, operation ids and the servers' base paths; parameters
and content are not validated. Of references only those of path items within the document are followed. What is ambiguous is
refused, naming both: policy would judge one operation, and the backend might carry out the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from lockgate.config import document as yaml
from lockgate.errors import ConfigError
from lockgate.govern.identity.claims import is_plain
from lockgate.protocols.http.documents import is_deeper, read_document
from lockgate.protocols.http.templates import BadTemplate, Routes, Segment, read_template

LIMIT: Final = 16_777_216
"""Bytes of a document in JSON; one in YAML is bounded as the configuration itself is, since reading it takes long."""
MOST: Final = 10_000
"""Operations of a document."""
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_DEEPEST: Final = 200
_HOPS: Final = 8
_LONGEST: Final = 255
_TITLE: Final = 80


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation: its id, or ``METHOD /template`` where the document gives it none."""

    name: str
    template: str


@dataclass(frozen=True, slots=True)
class OpenApi:
    """A document, as far as the gateway uses it. Two of the same bytes are equal."""

    digest: str
    """Hex SHA-256 of the file."""
    version: str = field(compare=False)
    title: str = field(compare=False)
    bases: tuple[str, ...] = field(compare=False)
    """Paths below which the operations are, "" for the root."""
    operations: Mapping[str, ApiOperation] = field(compare=False)
    routes: Routes[ApiOperation] = field(compare=False, repr=False)


class _Unusable(Exception):
    """Why a document cannot be used."""


def read_openapi(path: Path, base: str | None = None) -> OpenApi:
    """The document in a file, JSON or (by its suffix) YAML. `base` stands in the place of what its `servers` say.
    `ConfigError` where it cannot be used."""
    try:
        data = _bytes(path)
        if path.suffix.lower() in (".yaml", ".yml"):
            read = yaml.read(path, "an OpenAPI document")
            if read.problems:
                line, problem = read.problems[0]
                raise ConfigError(f"{path}:{line}: {problem}")
            whole = read.content
        else:
            whole = _json(data)
        return _Reader(whole, base).api(hashlib.sha256(data).hexdigest())
    except _Unusable as error:
        raise ConfigError(f"{path}: {error.args[0]}") from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(LIMIT + 1)
    except OSError as error:
        raise _Unusable(f"cannot be read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise _Unusable(f"longer than {LIMIT} bytes")
    return data


def _json(data: bytes) -> object:
    try:
        text = data.decode("utf-8-sig")
        whole = read_document(text)
    except UnicodeDecodeError:
        raise _Unusable("not UTF-8 text") from None
    except RecursionError:
        raise _Unusable("nested too deep") from None
    except ValueError as error:
        raise _Unusable(f"not JSON of one reading: {error}; a document in YAML has a name that ends in .yaml") from None
    if is_deeper(whole, text, _DEEPEST):
        raise _Unusable(f"nested deeper than {_DEEPEST}")
    return whole


class _Reader:
    """One document on its way to `OpenApi`."""

    def __init__(self, whole: object, base: str | None) -> None:
        if not isinstance(whole, dict):
            raise _Unusable("no object at its top")
        self._whole: dict[str, Any] = whole
        self._base = base
        self._routes: Routes[ApiOperation] = Routes()
        self._operations: dict[str, ApiOperation] = {}
        self._bases: dict[str, None] = {}

    def api(self, digest: str) -> OpenApi:
        """Everything of it."""
        if "swagger" in self._whole:
            raise _Unusable("a Swagger 2.0 document; OpenAPI 3.0 and 3.1 are read, and converters are at hand "
                            "(https://converter.swagger.io)")
        version = str(self._whole.get("openapi", ""))
        if version.split(".")[:2] not in (["3", "0"], ["3", "1"]):
            raise _Unusable("`openapi` at its top says neither 3.0 nor 3.1")
        for written, item in self._paths():
            for method in _METHODS:
                if method in item:
                    self._operation(written, method, item)
        if not self._operations:
            raise _Unusable("it lists no operation, so every request would be refused")
        self._verify_unambiguous()
        return OpenApi(digest, version, self._title(), tuple(self._bases), self._operations, self._routes)

    def _title(self) -> str:
        info = self._whole.get("info")
        title = info.get("title") if isinstance(info, dict) else None
        return title[:_TITLE] if isinstance(title, str) and title.isprintable() else ""

    def _paths(self) -> Iterator[tuple[str, dict[str, Any]]]:
        paths = self._whole.get("paths", {})
        if not isinstance(paths, dict):
            raise _Unusable("its `paths` are no object")
        for written, item in paths.items():
            if not written.startswith("x-"):
                yield written, self._item(written, item)

    def _item(self, written: str, item: object) -> dict[str, Any]:
        """A path item, behind its references."""
        for _ in range(_HOPS):
            if not isinstance(item, dict):
                raise _Unusable(f"path {written}: no path item")
            if "$ref" not in item:
                return item
            if any(name in item for name in (*_METHODS, "servers")):
                raise _Unusable(f"path {written}: operations beside a `$ref`, of which nobody knows what they mean; put them "
                                "into the item that is referred to")
            item = self._referred(written, item["$ref"])
        raise _Unusable(f"path {written}: more than {_HOPS} references behind each other")

    def _referred(self, written: str, reference: object) -> object:
        """What a reference within the document leads to (RFC 6901)."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _Unusable(f"path {written}: only references within the document (#/…) are followed; bundle it into one file")
        value: object = self._whole
        for part in unquote(reference[2:]).split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(value, dict) or name not in value:
                raise _Unusable(f"path {written}: the reference {reference[:200]} leads nowhere")
            value = value[name]
        return value

    def _operation(self, written: str, method: str, item: dict[str, Any]) -> None:
        operation = item[method]
        if not isinstance(operation, dict) or "$ref" in operation:
            raise _Unusable(f"{method.upper()} {written}: no operation")
        template = written.rstrip("/") or "/"
        name = operation.get("operationId", f"{method.upper()} {template}")
        if not is_plain(name, _LONGEST) and "operationId" in operation:
            raise _Unusable(f"{method.upper()} {written}: its operationId is no text of 1 to {_LONGEST} printable characters")
        if len(self._operations) >= MOST:
            raise _Unusable(f"more than {MOST} operations")
        found = ApiOperation(str(name), template)
        if found.name in self._operations:
            raise _Unusable(f"{method.upper()} {written} and {self._operations[found.name].template} have the same "
                            f"operationId, {found.name}, which has to be unique")
        self._operations[found.name] = found
        base = self._base_of(operation, item)
        self._bases[base] = None
        other = self._routes.add(self._template(base, "servers") + self._template(written, f"path {written}"),
                                 method.upper(), found)
        if other is not None:
            raise _Unusable(f"{method.upper()} {other.template} ({other.name}) and {method.upper()} {written} ({found.name}) "
                            "are one to the gateway; keep one")

    def _template(self, text: str, what: str) -> tuple[Segment, ...]:
        try:
            return read_template(text) if text else ()
        except BadTemplate as error:
            raise _Unusable(f"{what}: no request could get there: {error}") from None

    def _base_of(self, operation: dict[str, Any], item: dict[str, Any]) -> str:
        """The base path of the servers that an operation has, its own before its path's before the document's."""
        for place, servers in (("an operation", operation.get("servers")), ("a path", item.get("servers")),
                               ("the document", self._whole.get("servers"))):
            if place == "the document" and self._base is not None:
                return self._base
            if not servers:
                continue
            if not isinstance(servers, list) or not all(isinstance(server, dict) for server in servers):
                raise _Unusable(f"the servers of {place} are no list of objects")
            bases = list(dict.fromkeys(_base(server) for server in servers))
            if len(bases) > 1:
                raise _Unusable(f"the servers of {place} have different base paths ({', '.join(one or '/' for one in bases)}); "
                                "say with `openapi_base` which one the backend has")
            return bases[0]
        return ""

    def _verify_unambiguous(self) -> None:
        try:
            for one, other in self._routes.clashes():
                raise _Unusable(f"{one.template} ({one.name}) and {other.template} ({other.name}) fit the same requests, and "
                                "neither is the more exact; take one out, or write paths that differ")
        except BadTemplate as error:
            raise _Unusable(str(error)) from None


def _base(server: dict[str, Any]) -> str:
    """The path of a server's URL, with its variables' defaults; relative ones are below the root."""
    url = server.get("url", "/")
    variables = server.get("variables") or {}
    if not isinstance(url, str) or not isinstance(variables, dict):
        raise _Unusable("a server's url is no text")
    for name, variable in variables.items():
        default = variable.get("default") if isinstance(variable, dict) else None
        url = url.replace("{" + name + "}", str(default))
    try:
        path = urlsplit(urljoin("http://host/", url)).path.rstrip("/")
    except ValueError:
        raise _Unusable("a server's url cannot be read") from None
    if "{" in path or "%7B" in path:
        raise _Unusable("a server's url holds a variable that has no default")
    return path
