"""Content masks: what results hide by how it looks, as the second line behind masks at the source."""

from lockgate.govern.masking.copying import CopyFormat
from lockgate.govern.masking.detection import DetectPlan, PassPlan, holds_find, plan_for
from lockgate.govern.masking.detectors import DETECTORS, SHIPPED, DetectorSet
from lockgate.govern.masking.voting import Terms

__all__ = [
    "DETECTORS", "SHIPPED", "CopyFormat", "DetectPlan", "DetectorSet", "PassPlan", "Terms", "holds_find", "plan_for",
]
