"""Masks of results: columns by what policy says of them, and content by how it looks, as the line behind.

`columns` masks whole columns of rows (`value_masks` says what becomes of one value, a file for each
method beside it); `detection` looks through what is left.
"""

from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.columns import row_plan
from lockgate.govern.masking.copying import CopyFormat
from lockgate.govern.masking.detection import DetectPlan, PassPlan, holds_find, plan_for
from lockgate.govern.masking.detectors import DETECTORS, SHIPPED, DetectorSet
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.tokens import Tokens
from lockgate.govern.masking.value_masks import MaskTerms, value_mask
from lockgate.govern.masking.voting import Terms

__all__ = [
    "DETECTORS", "SHIPPED", "ColumnType", "CopyFormat", "DetectPlan", "DetectorSet", "MaskKeys", "MaskTerms", "PassPlan",
    "Terms", "Tokens", "holds_find", "plan_for", "row_plan", "value_mask",
]
