"""Cards of the family."""
