"""Convolutions and fixed mixing."""
