"""Graphs as data: read from JSONL or tables, described by what their edges tell, and asked for classes or numbers."""
