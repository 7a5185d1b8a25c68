"""Graphs: mixers that read edges."""

PLAINEST = "message_passing"
