"""OpenAPI documents: what is taken from one, and what makes one unusable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from lockgate.config.wording import explain
from lockgate.errors import ConfigError
from lockgate.model import Effect, Rule
from lockgate.protocols.http.checks import attach, mismatches
from lockgate.protocols.http.enforcement import enforce
from lockgate.protocols.http.listing import Listing
from lockgate.protocols.http.openapi import OpenApi, read_openapi
from lockgate.protocols.http.settings import HttpSettings
from lockgate.protocols.http.targets import read_target
from lockgate.protocols.mcp.settings import McpSettings
from lockgate.wire.playbook import CLIENT, Bytes
from tests.protocols.http import scene as s

OK: dict[str, Any] = {"responses": {"200": {"description": "ok"}}}
PETS: dict[str, Any] = {
    "openapi": "3.1.0", "info": {"title": "Pets", "version": "1"}, "servers": [{"url": "https://pets.example/v1"}],
    "paths": {
        "/pets": {"get": {"operationId": "listPets", **OK}, "post": {"operationId": "addPet", **OK}, "parameters": []},
        "/pets/mine": {"get": {"operationId": "myPets", **OK}},
        "/pets/{petId}": {"get": {"operationId": "showPet", **OK}, "delete": OK, "x-note": 1},
        "/": {"$ref": "#/components/pathItems/root"},
        "x-more": 3,
    },
    "components": {"pathItems": {"root": {"$ref": "#/components/pathItems/a~1b%20c"}, "a/b c": {"get": {"operationId": "root", **OK}}}},
}


def document(folder: Path, whole: object = None, name: str = "api.json") -> Path:
    """A file with this in it."""
    path = folder / name
    whole = PETS if whole is None else whole
    path.write_text(yaml.safe_dump(whole) if name.endswith("yaml") else whole if isinstance(whole, str) else json.dumps(whole))
    return path


def settings(folder: Path, whole: object = None, **options: object) -> HttpSettings:
    """A connection's options with this document."""
    made = HttpSettings.model_validate({"openapi": document(folder, whole).name, **options})
    return attach(made, folder)[0]


def placed(options: HttpSettings, method: str, path: str) -> tuple[str, str, bool]:
    """Operation, template, and whether it is refused."""
    place = Listing.of(options).place(method, read_target(path.encode()).segments)
    return place.operation, place.template, place.unlisted is not None


@pytest.mark.parametrize("name", ["api.json", "api.yaml"])
def test_operations_are_found_by_method_and_path_below_the_servers_path(tmp_path: Path, name: str) -> None:
    """Concrete before templated, references of path items followed, a name made where there is no id."""
    api = read_openapi(document(tmp_path, name=name))
    assert (api.version, api.title, api.bases, len(api.operations)) == ("3.1.0", "Pets", ("/v1",), 6)
    found = {(method, path): api.routes.find(method, read_target(path.encode()).segments) for method, path in (
        ("GET", "/v1/pets"), ("POST", "/v1/pets/"), ("GET", "/v1/pets/mine"), ("GET", "/v1/pets/7"), ("DELETE", "/v1/pets/7"),
        ("DELETE", "/v1/pets/mine"), ("GET", "/v1"), ("GET", "/v1/"), ("GET", "/v1/p%65ts/a%20b"))}
    assert [one and one.name for one in found.values()] == [
        "listPets", "addPet", "myPets", "showPet", "DELETE /pets/{petId}", "DELETE /pets/{petId}", "root", "root", "showPet"]
    for method, path in (("GET", "/pets"), ("PUT", "/v1/pets"), ("HEAD", "/v1/pets"), ("get", "/v1/pets"), ("GET", "/v1/pets/7/x"),
                         ("GET", "/v1/Pets"), ("GET", "/v2/pets")):
        assert api.routes.find(method, read_target(path.encode()).segments) is None, (method, path)


def test_the_connections_base_path_counts_as_the_backend_gets_it(tmp_path: Path) -> None:
    """What an agent writes is compared behind it; `openapi_base` stands in the place of the servers."""
    assert placed(settings(tmp_path, base_path="/v1"), "GET", "/pets/7") == ("showPet", "/pets/{petId}", False)
    assert placed(settings(tmp_path), "GET", "/v1/pets/7") == ("showPet", "/pets/{petId}", False)
    assert placed(settings(tmp_path), "GET", "/pets/7") == ("", "", True)
    assert placed(settings(tmp_path, openapi_base=""), "GET", "/pets/7") == ("showPet", "/pets/{petId}", False)
    assert placed(settings(tmp_path, openapi_base="/api/v3", base_path="/api"), "GET", "/v3/pets")[0] == "listPets"
    assert placed(settings(tmp_path, unlisted="allow"), "GET", "/pets/7") == ("", "", False)


def with_paths(paths: object, **more: object) -> dict[str, object]:
    return {**PETS, "paths": paths, **more}


def get(name: str | None = None, **more: object) -> dict[str, object]:
    return {"get": {**({} if name is None else {"operationId": name}), **OK, **more}}


REFUSED: dict[str, tuple[object, str]] = {
    "swagger": ({"swagger": "2.0", "paths": {}}, "a Swagger 2.0 document"),
    "another version": ({**PETS, "openapi": "4.0.0"}, "neither 3.0 nor 3.1"),
    "a list": ([], "no object at its top"),
    "nothing listed": (with_paths({}), "lists no operation"),
    "paths of another kind": (with_paths([]), "`paths` are no object"),
    "an item of another kind": (with_paths({"/a": 1}), "path /a: no path item"),
    "one path in two spellings": (with_paths({"/a/{x}": get("one"), "/a/{y}/": get("two")}),
                                  r"GET /a/\{x\} \(one\) and GET /a/\{y\}/ \(two\) are one"),
    "one path escaped and not": (with_paths({"/a b": get("one"), "/a%20b": get("two")}), "are one to the gateway"),
    "two that cross": (with_paths({"/{entity}/me": get("one"), "/books/{id}": get("two")}),
                       r"fit the same requests, and neither is the more exact"),
    "two that overlap in a segment": (with_paths({"/{name}.json": get("one"), "/{name}.tar.json": get("two")}), "neither is the more"),
    "an id twice": (with_paths({"/a": get("same"), "/b": get("same")}), "same operationId, same"),
    "an id like a name": (with_paths({"/a": get(), "/b": get("GET /a")}), "same operationId"),
    "an id that is none": (with_paths({"/a": get("a\nb")}), "its operationId is no text"),
    "an id of another kind": (with_paths({"/a": {"get": {"operationId": 3}}}), "its operationId is no text"),
    "an operation by reference": (with_paths({"/a": {"get": {"$ref": "#/x"}}}), "GET /a: no operation"),
    "a path with dots": (with_paths({"/a/../b": get()}), "no request could get there: the path holds a dot segment"),
    "a path without a slash": (with_paths({"a": get()}), "does not begin with a slash"),
    "another file": (with_paths({"/a": {"$ref": "other.yaml#/a"}}), "only references within the document"),
    "nowhere": (with_paths({"/a": {"$ref": "#/components/none"}}), "leads nowhere"),
    "in a circle": (with_paths({"/a": {"$ref": "#/paths/~1a"}}), "more than 8 references"),
    "beside a reference": (with_paths({"/a": {"$ref": "#/components/pathItems/root", "get": OK}}), r"operations beside a `\$ref`"),
    "servers apart": ({**PETS, "servers": [{"url": "https://a.example/v1"}, {"url": "/"}]}, r"different base paths \(/v1, /\)"),
    "a server's variable": ({**PETS, "servers": [{"url": "https://a.example/{version}"}]}, "a variable that has no default"),
    "servers of another kind": ({**PETS, "servers": ["/v1"]}, "no list of objects"),
    "names twice": ('{"openapi": "3.1.0", "paths": {"/a": {}, "/a": {}}}', "a name occurs twice"),
    "no json": ("openapi: 3.1.0", "not JSON of one reading"),
    "deep": ('{"openapi": "3.1.0", "x": ' + "[" * 250 + "]" * 250 + "}", "nested deeper than 200"),
    "deeper": ('{"openapi": "3.1.0", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_document_that_cannot_be_relied_on_is_refused(tmp_path: Path, what: str) -> None:
    """With the file and the reason; two that cannot be told apart are both named."""
    whole, reason = REFUSED[what]
    with pytest.raises(ConfigError, match=reason) as caught:
        read_openapi(document(tmp_path, whole))
    assert str(tmp_path) in str(caught.value)


def test_what_is_too_large_or_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and operations are bounded; names that occur twice in YAML are found with their line."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_openapi(tmp_path / "none.json")
    (tmp_path / "twice.yaml").write_text("openapi: 3.0.3\npaths:\n  /a: {}\n  /a: {}\n")
    with pytest.raises(ConfigError, match=r"twice.yaml:4: `/a` is here twice"):
        read_openapi(tmp_path / "twice.yaml")
    monkeypatch.setattr("lockgate.protocols.http.openapi.MOST", 5)
    with pytest.raises(ConfigError, match="more than 5 operations"):
        read_openapi(document(tmp_path))
    monkeypatch.setattr("lockgate.protocols.http.openapi.LIMIT", 50)
    with pytest.raises(ConfigError, match="longer than 50 bytes"):
        read_openapi(document(tmp_path))


@pytest.mark.parametrize("change", [
    lambda whole: {**whole, "openapi": "3.0.3"},
    lambda whole: {**whole, "servers": [{"url": "https://{region}.a.example/{v}", "variables": {
        "region": {"default": "eu"}, "v": {"default": "v1", "enum": ["v1"]}}}]},
    lambda whole: {**whole, "servers": [{"url": "v1/"}]},
    lambda whole: {**whole, "servers": [{"url": "/elsewhere"}], "paths": {
        path: item if path == "x-more" else {**item, "servers": [{"url": "/v1"}]} for path, item in whole["paths"].items() if path != "/"}},
])
def test_versions_and_servers_are_read_in_their_forms(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Variables have their defaults, relative URLs are below the root, a path's own servers come before the document's."""
    assert read_openapi(document(tmp_path, change(PETS))).bases == ("/v1",)


def test_a_document_is_part_of_its_connections_settings(tmp_path: Path) -> None:
    """Another document is another configuration; the same bytes are the same one, wherever they stand."""
    one, other = settings(tmp_path), settings(tmp_path, {**PETS, "info": {}})
    assert isinstance(one.api, OpenApi)
    assert (one == other, one == settings(tmp_path), one == one.model_copy()) == (False, True, True)
    assert one.model_dump(mode="json") != other.model_dump(mode="json")


def test_what_does_not_go_together_is_said(tmp_path: Path) -> None:
    """Keys that belong to a document, templates beside one, tunnels and MCP."""
    def said(**options: object) -> list[str]:
        return [key[-1] for key, _ in mismatches(s.connection("crm", **options))]

    assert said(unlisted="allow") == ["unlisted"]
    assert said(openapi_base="/v1") == ["openapi_base"]
    assert said(openapi="api.json", paths=["/a"]) == ["paths"]
    assert said(openapi="api.json", tunnel=True, inject="none") == ["openapi"]
    with pytest.raises(ValueError, match="lists requests of HTTP, not tools"):
        McpSettings.model_validate({"openapi": "api.json"})


@pytest.mark.parametrize("key", ["prefix", "base_path", "openapi_base"])
def test_a_path_without_its_slash_is_said_in_words(key: str) -> None:
    """Not as the regular expression that it does not match."""
    with pytest.raises(ValidationError) as caught:
        HttpSettings.model_validate({key: "crm"})
    said = [explain(error, HttpSettings, error["loc"]) for error in caught.value.errors()]
    assert said == [f"`{key}` must be a path that begins with a slash, like /crm"]


def test_the_check_shows_the_document_and_names_what_it_does_not_have(tmp_path: Path) -> None:
    """A condition on an operation that does not exist holds for no request, which is hardly meant."""
    rules = [Rule(name="typo", when='op.operation == "showPets"', deny="no"),
             Rule(name="list", when='op.operation in ["listPets", "dropAll"]', deny="no"),
             Rule(name="unnamed", when='op.operation == "DELETE /pets/{petId}"', deny="no")]
    rows = enforce("crm", settings(tmp_path, graphql=["/v1/graphql"]), rules, None)
    assert rows[0].how == ("6 operations on 4 paths below /v1 of api.json (OpenAPI 3.1.0, Pets); what it does not list is "
                           "refused with 403")
    assert [row.doubt for row in rows if row.doubt] == [
        "`graphql` names /v1/graphql, and the OpenAPI document lists no POST to it: every request there is refused",
        "the OpenAPI document has no operation showPets; write showPet",
        "the OpenAPI document has no operation dropAll; name the connections that the rule is for, if it is meant for others"]
    without = enforce("crm", HttpSettings(), rules[:1], None)
    assert [row.doubt for row in without if row.doubt] == [(
        "the connection has no OpenAPI document, so no request has an operation; name the connections that the rule is for, if "
        "it is meant for others")]


@pytest.mark.parametrize(("when", "said"), [
    ('op.template == "/customer"', "`paths` of the connection have no template /customer; write /customers"),
    ('op.template in ["/orders", "/customers"]', "`paths` of the connection have no template /orders; name the connections"),
    ('op.method == "delete"', 'methods are written in capitals; write "DELETE", or `op.verb` with "delete"'),
    ('op.query.page == "all"', ('`op.query.page` is a list, since a name may be given more than once, and is never equal to a '
                                'text; write `"all" in op.query.page`')),
    ('"x" != op.headers["x-a"]', 'write `!("x" in op.headers["x-a"])`'),
    ('op.template == "/customers" && op.method == "DELETE" && op.query.page == ["all"]', ""),
    ('op.template == "" || op.query.page[0] == "a" || op.query.page.exists(p, p == "a")', ""),
])
def test_the_check_names_comparisons_that_no_request_can_satisfy(when: str, said: str) -> None:
    """A rule that denies would otherwise never do so, and nobody would hear of it; a list beside a text stops the start."""
    rows = enforce("crm", HttpSettings(paths=("/customers",)), [Rule(name="r", when=when, deny="no")], None)
    found = [row.doubt or row.problem or "" for row in rows if row.doubt or row.problem]
    assert len(found) == bool(said)
    assert all(said in one for one in found)
    without = enforce("crm", HttpSettings(), [Rule(name="r", when='op.template == "/a"', deny="no")], None)
    assert "neither `paths` nor an OpenAPI document" in "".join(row.doubt or "" for row in without)


@pytest.mark.parametrize(("method", "target", "content", "said"), [
    ("GET", "/v1/pets/7/owner", None, "does not list this path"),
    ("PUT", "/v1/pets/7", b"{}", "does not list this method"),
    ("POST", "/elsewhere", b"x" * 70_000, "does not list this path"),
    ("GET", "/v1%2fpets", None, None),
])
def test_what_is_not_listed_is_refused_before_the_backend_hears_of_it(
    tmp_path: Path, method: str, target: str, content: bytes | None, said: str | None
) -> None:
    """With a code of its own, on record, and without a dial; the connection can be used on."""
    crm = s.connection("crm").model_copy(update={"options": settings(tmp_path)})
    world = s.World(connections=(crm,))
    book = world.book()
    book >> Bytes(CLIENT, s.request(method, target, content))
    problem = s.problem(book)
    assert world.dials == 0
    if said is None:
        assert (problem["status"], problem["code"]) == (400, "not_understood")
        return
    assert (problem["status"], problem["code"]) == (403, "unlisted")
    assert said in problem["detail"]
    assert [(one.decision, one.refusal) for one in world.log.intents] == [(Effect.DENY.value, "unlisted")]
