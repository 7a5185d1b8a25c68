"""Gated recurrences."""

SHORT = "rnn"
PLAINEST = "lstm"
