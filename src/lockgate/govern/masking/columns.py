"""Column masks over a result: chosen columns of its rows are masked, then detectors look through the rest.

Apart from `detection`, which looks for content wherever it is: here the column alone decides, whatever is in it. A
column that is masked as a whole is not searched afterwards, so that no detector takes a mask for the real thing;
one that is masked by path is. A row without exactly the columns that were analysed raises RemoteProtocolError, which
the pipeline turns into a refusal (I3): the positions would not be those of the analysis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lockgate.errors import RemoteProtocolError
from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.detection import ClearPlan, plan_for
from lockgate.govern.masking.detector import Origin
from lockgate.govern.masking.detectors import detectors_for
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.value_masks import MaskTerms, ValueMask, value_mask
from lockgate.kernel.rows import rewrite_rows
from lockgate.model import DetectMask

COUNTED: Final = "column"
"""The name under which masked values are counted."""

_SEARCHED_FOR_NOTHING: Final = 16                   # bool: detectors find nothing in it, so they leave it alone


class ColumnPlan:
    """Column masks of one result in DataRow frames. A chunk holds complete frames; those not of type `bulk` pass.

    `masks` are by the column's place, from 0; `rest` is applied to what comes out. `masked` counts what both hid.
    After an exception the plan must not be used again.
    """

    __slots__ = ("_bulk", "_columns", "_nulls", "_replace", "_rest", "_width", "masked")

    def __init__(self, masks: Mapping[int, ValueMask], width: int, bulk: int, rest: ClearPlan) -> None:
        self._columns = sorted(masks)
        self._replace = [masks[at].replace for at in self._columns]
        self._nulls = [masks[at].null for at in self._columns]
        self._width = width
        self._bulk = bulk
        self._rest = rest
        self.masked = rest.masked

    def apply(self, chunk: bytes) -> bytes:
        """The chunk with every due mask applied. RemoteProtocolError for what does not add up."""
        masked, count = rewrite_rows(chunk, self._bulk, self._width, self._columns, self._replace, self._nulls)
        if count:
            self.masked[COUNTED] = self.masked.get(COUNTED, 0) + count
        return self._rest.apply(masked)


def row_plan(terms: Mapping[int, MaskTerms], columns: tuple[ColumnType, ...], formats: tuple[int, ...], keys: MaskKeys,
             detects: tuple[DetectMask, ...], bulk: int, origins: tuple[Origin | None, ...] = ()) -> ClearPlan:
    """The plan for rows: `columns` and `formats` as RowDescription (or Bind) gives them, `terms` by column from 0.

    RemoteProtocolError for a format that is unknown and for a column that is not there.
    """
    if len(columns) != len(formats) or any(code not in (0, 1) for code in formats):
        raise RemoteProtocolError("a result has another number of formats than columns, or an unknown format")
    masks = {at: value_mask(one, columns[at], formats[at] == 1, keys) for at, one in terms.items()
             if 0 <= at < len(columns)}
    if len(masks) != len(terms):
        raise RemoteProtocolError("a result lacks a column that is due a mask")
    types = tuple(_SEARCHED_FOR_NOTHING if at in masks and not masks[at].leaves_rest else column.oid
                  for at, column in enumerate(columns))
    rest = plan_for(detects, types, formats, "rows", bulk, detectors=detectors_for(detects), origins=origins)
    return ColumnPlan(masks, len(columns), bulk, rest) if masks else rest

