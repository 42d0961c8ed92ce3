"""Path templates: what fits which, the most exact one, and what nobody could tell apart."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.protocols.http.targets import read_target
from lockgate.protocols.http.templates import BadTemplate, Routes, Segment, read_template, templates_of

_SIGNS = "ab."
_TEXTS = ["".join(signs) for length in range(1, 6) for signs in product(_SIGNS, repeat=length)]
_LITERALS = st.text(_SIGNS, max_size=2)
_SEGMENTS = st.lists(_LITERALS, min_size=1, max_size=3).map(tuple).filter(lambda parts: len(parts) > 1 or parts != ("",)).map(Segment)
_TEMPLATES = st.integers(1, 2).flatmap(lambda length: st.lists(st.sampled_from(
    ["a", "ab", "{x}", "{y}", "a{x}", "{x}b", "{x}.{y}"]), min_size=length, max_size=length)).map(lambda parts: "/" + "/".join(parts))
_PATHS = st.integers(1, 2).flatmap(lambda length: st.lists(
    st.sampled_from(["a", "ab", "aab", "a.b", "c"]), min_size=length, max_size=length)).map(tuple)


def pattern(segment: Segment) -> re.Pattern[str]:
    """A segment in other words."""
    return re.compile("(?s:.+)".join(map(re.escape, segment.literals)))


def fits(template: str, path: tuple[str, ...]) -> bool:
    """Whether a path is one of the template's, tried part by part."""
    parts = read_template(template)
    return len(parts) == len(path) and all(
        pattern(part).fullmatch(text) is not None for part, text in zip(parts, path, strict=True))


def is_more_exact(one: str, other: str) -> bool:
    """Whether a template is nowhere the less exact of two."""
    ways = [part.exactness(its) for part, its in zip(read_template(one), read_template(other), strict=True)]
    return all(way in (-1, 0) for way in ways)


@given(_SEGMENTS, st.text(_SIGNS, min_size=1, max_size=6))
def test_a_segment_fits_what_its_regular_expression_does(segment: Segment, text: str) -> None:
    """Found without one, in one pass."""
    assert segment.fits(text) == (pattern(segment).fullmatch(text) is not None)


@given(_SEGMENTS, _SEGMENTS)
def test_segments_meet_where_some_text_fits_both(one: Segment, other: Segment) -> None:
    """As trying every short text says; a longer one may be needed where literals are long."""
    found = any(one.fits(text) and other.fits(text) for text in _TEXTS)
    assert one.meets(other) == other.meets(one)
    assert one.meets(other) or not found
    if sum(map(len, one.literals + other.literals)) <= 2 and len(one.literals + other.literals) <= 5:
        assert one.meets(other) == found


@settings(max_examples=300)
@given(st.lists(st.tuples(_TEMPLATES, st.sampled_from(["GET", "GET", "PUT"])), min_size=2, max_size=12), _PATHS)
@example([("/{x}/a", "GET"), ("/a/{y}", "GET")], ("a", "a"))
def test_the_most_exact_template_is_found(wanted: list[tuple[str, str]], path: tuple[str, ...]) -> None:
    """Whatever else fits, as trying each template says; with the request's method. Where neither of two is the more exact
    and a path fits both, they are named."""
    routes: Routes[tuple[str, str]] = Routes()
    kept = [(template, method) for template, method in wanted
            if routes.add(read_template(template), method, (template, method)) is None]
    clashing = {frozenset(pair) for pair in routes.clashes()}
    for method in ("GET", "PUT"):
        fitting = [one for one in kept if one[1] == method and fits(one[0], path)]
        found = routes.find(method, path)
        assert (found is None) == (not fitting)
        best = [one for one in fitting if all(is_more_exact(one[0], other[0]) for other in fitting)]
        if best:
            assert found == best[0]
        else:
            pairs = [frozenset((one, other)) for one in fitting for other in fitting if one != other]
            assert not pairs or clashing & set(pairs)
    assert routes.methods(path) == {method for template, method in kept if fits(template, path)}


def test_templates_are_compared_with_what_paths_mean() -> None:
    """Escapes are undone and a slash at the end counts for nothing, on both sides (`targets`)."""
    routes = templates_of(("/caf%C3%A9/{id}", "/a b/", "/{x}.json", "/v1/{id}:cancel"))
    for raw, template in ((b"/caf%c3%a9/7", "/caf%C3%A9/{id}"), (b"/a%20b", "/a b/"), (b"/a%20b/", "/a b/"), (b"/x.json", "/{x}.json"),
                          (b"/v1/7:cancel", "/v1/{id}:cancel"), (b"/v1/7%3Acancel;a=b", "/v1/{id}:cancel")):
        assert routes.find("", read_target(raw).segments) == template
    for raw in (b"/.json", b"/x.jsonx", b"/v1/:cancel", b"/caf/7", b"/caf%c3%a9"):
        assert routes.find("", read_target(raw).segments) is None


@pytest.mark.parametrize("text", ["", "a", "//a", "/a//b", "/{}", "/{a", "/a}", "/{a{b}}", "/a;b", "/..", "/a/%2e", "/%2f", "/a%", "/%00"])
def test_what_no_path_could_fit_is_no_template(text: str) -> None:
    """It would wait for a request that is refused before."""
    with pytest.raises(BadTemplate):
        read_template(text)


def test_a_path_is_not_compared_with_every_template() -> None:
    """The tree is walked: with 5,000 templates no more of them are looked at than with five."""
    looked: list[str] = []

    class Watched(Segment):
        def fits(self, text: str) -> bool:
            looked.append(text)
            return super().fits(text)

    routes: Routes[int] = Routes()
    for number in range(5_000):
        routes.add((Segment((f"kind{number}",)), Watched(("", ".json"))), "GET", number)
    assert routes.find("GET", ("kind4711", "x.json")) == 4711
    assert looked == ["x.json"]
