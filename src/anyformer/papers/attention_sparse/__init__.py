"""Cards of the family attention-sparse."""
