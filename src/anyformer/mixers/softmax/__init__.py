"""Softmax attention."""

PLAINEST = "attention"
