"""The plan of a comparison: budget and its allocation, candidates and their sizes, learning rates, ``plan.json``."""
