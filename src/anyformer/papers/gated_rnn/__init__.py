"""Gated recurrent networks."""
