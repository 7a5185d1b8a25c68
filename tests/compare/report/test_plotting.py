"""The look of plots."""

from __future__ import annotations

from anyformer.compare.report.plotting import COLOURS, MARKERS, styles


def test_looks_differ_by_more_than_colour():
    look = styles([str(i) for i in range(20)])
    assert len({(s.colour, s.marker, s.dash) for s in look.values()}) == 20
    assert len(set(COLOURS)) == len(set(MARKERS)) == 7
