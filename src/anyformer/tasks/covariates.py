"""The columns of a forecast besides the numbers that windows normalise."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Covariates(BaseModel):
    """The columns of a forecast besides the numbers that each window normalises by itself.

    Attributes:
        numbers: names of columns of numbers.
        categories: names of columns of categories.
        ahead: which of them are known of the future too.
        static: which of them are the same at all steps of a series, and so known of the future.
        calendar: features of the dates, each two numbers a step (:mod:`anyformer.tasks.calendar_features`).
        gaps: which of those known ahead had missing values in the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: list[str] = []
    categories: list[str] = []
    ahead: list[str] = []
    static: list[str] = []
    calendar: list[str] = []
    gaps: list[str] = []

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return [*self.numbers, *self.categories]

    @property
    def looks_ahead(self) -> bool:
        """True if a forecast reads more of the future than what is the same at all steps."""
        return bool(self.ahead or self.calendar)

    def describe(self) -> dict[str, list[str]]:
        """Return the names of covariates by what is known of them, for the report; nothing without any."""
        facts = {
            "known_ahead": [name for name in self.ahead if name not in self.static],
            "static": self.static,
            "past_covariates": [name for name in self.columns if name not in {*self.ahead, *self.static}],
            "calendar": self.calendar,
        }
        return {name: names for name, names in facts.items() if names}
