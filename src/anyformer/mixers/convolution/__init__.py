"""Convolutions and fixed mixing."""

PLAINEST = "conv_module"
