"""Content masks: what results hide by how it looks, as the second line behind masks at the source."""

from lockgate.govern.masking.copying import CopyFormat
from lockgate.govern.masking.detection import DetectPlan, PassPlan, plan_for
from lockgate.govern.masking.detectors import DETECTORS

__all__ = ["DETECTORS", "CopyFormat", "DetectPlan", "PassPlan", "plan_for"]
