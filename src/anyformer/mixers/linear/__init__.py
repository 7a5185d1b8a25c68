"""Linear attention and the delta rule."""
