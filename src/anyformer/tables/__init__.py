"""Tables in files: separators, numbers, missing values and the time axis, read, and written in the same format."""
