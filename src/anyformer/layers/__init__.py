"""Small parts for every room above: norms, short convolutions."""
