"""Sparse attention."""

PLAINEST = "segment_attention"
