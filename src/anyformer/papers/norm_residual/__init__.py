"""Norms and residual streams."""
