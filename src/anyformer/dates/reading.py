"""Dates that were read from a file, and how they are written there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from anyformer.dates import zones
from anyformer.dates.names import Names
from anyformer.dates.order import RowOrder
from anyformer.dates.serials import SERIALS, write_serial
from anyformer.dates.style import DateStyle

JOINT = "\x1f"  # between the texts of columns that make one date


class DateReading(BaseModel):
    """The format of a file's dates, saved with the model so that new data is read and predictions written alike.

    Attributes:
        columns: the columns that make up a date, most often one.
        styles: the pattern of each (see :mod:`anyformer.dates.style`), or ``unix_s``, ``unix_ms``, ``unix_us``,
            ``unix_ns`` or ``excel`` for numbers that count time.
        zone: time zone of the clocks; None if unknown, or if the offsets belong to several.
        first_year: first of the hundred years that two digits stand for.
        absolute: steps are counted in UTC instead of on the clocks of the zone.
        names: names of months, weekdays and zones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: list[str]
    styles: list[str]
    zone: str | None = None
    first_year: int | None = None
    absolute: bool = False
    names: Names = Names()

    @property
    def name(self) -> str:
        """The columns, in words."""
        return " + ".join(self.columns)

    @property
    def style(self) -> str:
        """The styles, in words."""
        return " + ".join(self.styles)

    def write(self, dates: np.ndarray) -> dict[str, list[str]]:
        """Return dates (datetime64[us]), in UTC if ``absolute``, as texts by column."""
        clock = zones.to_clock(dates, self.zone) if self.absolute else dates
        instants = dates if self.absolute else zones.to_instants(dates, self.zone)
        if self.styles[0] in SERIALS:
            return {self.columns[0]: [write_serial(date, self.styles[0]) for date in clock]}
        offsets = zones.offsets_at(instants, self.zone)
        if self.absolute and self.zone is None:
            offsets = np.zeros(len(dates))
        style = DateStyle(JOINT.join(self.styles), self.names)
        texts = [style.show(date, offset).split(JOINT) for date, offset in zip(clock, offsets)]
        return {name: [text[i] for text in texts] for i, name in enumerate(self.columns)}


@dataclass(frozen=True)
class Dates:
    """The dates of a table's rows.

    Attributes:
        reading: their format.
        clock: local time, datetime64[us] with the table's index; NaT where there is none.
        instants: the same in UTC; equal to ``clock`` if no zone is known.
        order: how they follow each other in the order of the rows.
        remarks: decisions made in reading them.
        skipped: message about times that clocks of the zone skip; empty if there are none.
    """

    reading: DateReading
    clock: pd.Series
    instants: pd.Series
    order: RowOrder
    remarks: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def name(self) -> str:
        """The columns, in words."""
        return self.reading.name

    @property
    def weak(self) -> bool:
        """True if the values could be other things than dates: numbers, or texts with a year of two digits."""
        if self.reading.styles[0] in SERIALS:
            return True
        style = DateStyle(JOINT.join(self.reading.styles))
        bare = not (style.literals or "b" in style.letters)
        return (
            "y" in style.letters or bare or style.pattern in ("%m.%Y", "%-m.%Y", "%Y.%m", "%Y.%-m", "%Y.%q")
        )

    @property
    def values(self) -> pd.Series:
        """The dates that steps are counted on."""
        return self.instants if self.reading.absolute else self.clock

    def counted(self, absolute: bool) -> Dates:
        """Return the same dates, with steps counted in UTC or on the clock."""
        return replace(self, reading=self.reading.model_copy(update={"absolute": absolute}))
