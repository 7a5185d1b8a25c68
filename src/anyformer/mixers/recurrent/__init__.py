"""Gated recurrences."""
