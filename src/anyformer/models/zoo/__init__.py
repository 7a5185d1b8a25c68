"""Named models: functions from a depth, and other options, to the fields of a spec; a file for each kind of data."""
