"""Pooling and MLPs over tokens."""
