"""The verifier with small mistakes in it: the attacks notice them."""

from __future__ import annotations

import ast

from fuzz import mutants


def test_most_mistakes_in_the_verifier_are_noticed() -> None:
    """A few of `make fuzz ARGS=mutants`, chosen by two fixed seeds; what they choose changes with every line of the verifier,
    so one small sample alone says little."""
    program = mutants.whole()
    results = [mutants.run(sample=40, seed=seed, program=program) for seed in (4, 7)]
    assert [result.total for result in results] == [40, 40]
    share = sum(result.share for result in results) / 2
    assert share >= 0.85, [str(survivor) for result in results for survivor in result.survivors or ()]


def test_every_kind_of_mistake_is_made() -> None:
    """Operators, conditions, constants, and what is left out; words for people and declarations are left alone."""
    source = '''
LIMIT = 5
class C:
    __slots__ = ("a",)
    def f(self, a: int, b: bytes = b"x") -> bool:
        """Words."""
        if a < 1 and not b:
            raise ValueError("words for people")
        while a in (True, "name"):
            a += 2
            self.f(a | 1)
            continue
        return [x for x in b if x == a]
'''
    found = [said for top in ast.parse(source).body for said in map(str, mutants._Finder("m", top).all())]
    said = "\n".join(found)
    for mistake in ("5  ->  6", "5  ->  4", "a < 1  ->  a <= 1", "a < 1  ->  a >= 1", "a < 1 and (not b)  ->  a < 1 or not b",
                    "not b  ->  b", "raise ValueError('words for people')  ->  pass", "a += 2  ->  a -= 2", "a += 2  ->  pass",
                    "True  ->  False", "'name'  ->  'namex'", "b'x'  ->  b'y'", "a | 1  ->  a & 1", "self.f(a | 1)  ->  pass",
                    "continue  ->  pass", "return [x for x in b if x == a]  ->  return None", "x == a  ->  x != a",
                    "a in (True, 'name')  ->  a not in (True, 'name')"):
        assert mistake in said, said
    assert "slots" not in said
    assert "peoplex" not in said
    assert "Words" not in said
