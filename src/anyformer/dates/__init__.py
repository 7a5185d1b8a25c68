"""Dates: the patterns that people write them by, found on whole columns, read and written alike."""
