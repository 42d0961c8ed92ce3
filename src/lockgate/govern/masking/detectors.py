"""Detectors: the set that ships, and sets of these together with a policy's own.

A set is a value: it is made from a configuration and passed along. Stands apart from the files that hold
the forms (`payment`, `personal`, `addresses`, `credentials`, `assignments`, `custom`) and from
`detection`, which knows frames, fields and types, and none of these forms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from lockgate.errors import ConfigError
from lockgate.govern.masking.addresses import ADDRESSES
from lockgate.govern.masking.assignments import ASSIGNMENTS
from lockgate.govern.masking.credentials import CREDENTIALS
from lockgate.govern.masking.custom import compile_detector
from lockgate.govern.masking.detector import Detector
from lockgate.govern.masking.payment import PAYMENT
from lockgate.govern.masking.personal import PERSONAL
from lockgate.model import CustomDetector, DetectMask, MaskMethod, RequestCheck

DETECTORS: Mapping[str, Detector] = MappingProxyType({
    detector.name: detector for detector in (*PAYMENT, *PERSONAL, *ADDRESSES, *CREDENTIALS, *ASSIGNMENTS)
})
"""What ships, by name."""

MOST_CUSTOM = 64

Active = tuple[tuple[Detector, MaskMethod], ...]
"""Detectors in force, each with how its finds are hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectorSet:
    """Detectors by name. Made with `of`; two sets are never equal."""

    by_name: Mapping[str, Detector]

    @staticmethod
    def of(customs: Iterable[CustomDetector] = ()) -> DetectorSet:
        """The shipped detectors and `customs`; ConfigError for one that cannot be, or a name that is taken."""
        found = dict(DETECTORS)
        for custom in customs:
            if custom.name in found:
                raise ConfigError(f"detector {custom.name!r}: the name is taken", advice="choose another name")
            found[custom.name] = compile_detector(custom)
        if len(found) > len(DETECTORS) + MOST_CUSTOM:
            raise ConfigError(f"more than {MOST_CUSTOM} custom detectors", advice="join patterns with |")
        return DetectorSet(MappingProxyType(found))

    def named(self, name: str) -> Detector:
        """The detector of that name; ConfigError lists the known ones."""
        found = self.by_name.get(name)
        if found is None:
            raise ConfigError(f"no detector is named {name!r}", advice="known: " + ", ".join(sorted(self.by_name)))
        return found

    def active(self, detects: Iterable[DetectMask]) -> Active:
        """What the masks put in force, each detector once with its strongest method, by name."""
        methods: dict[str, MaskMethod] = {}
        for mask in detects:
            for name in mask.detectors:
                methods[name] = max(mask.method, methods.get(name, mask.method))
        return tuple((self.named(name), method) for name, method in sorted(methods.items()))


SHIPPED = DetectorSet(DETECTORS)
"""The set without a policy's own."""


def detectors_for(named: Iterable[DetectMask | RequestCheck]) -> DetectorSet:
    """The set in which everything that is named can be found: the shipped ones and the policy's own among it."""
    customs = {custom for one in named for custom in one.customs}
    return _with_customs(tuple(sorted(customs, key=lambda custom: custom.name))) if customs else SHIPPED


@lru_cache(maxsize=64)
def _with_customs(customs: tuple[CustomDetector, ...]) -> DetectorSet:
    return DetectorSet.of(customs)
