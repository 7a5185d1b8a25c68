"""Modules that several mechanisms share: norms, activations, heads, short convolutions, linear layers."""
