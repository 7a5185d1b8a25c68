"""Pooling and MLPs over tokens."""

PLAINEST = "pooling"
