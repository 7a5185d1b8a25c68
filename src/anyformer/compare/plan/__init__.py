"""What is run: the budget and how it is spent, the candidates and their sizes, the learning rates, ``plan.json``."""
