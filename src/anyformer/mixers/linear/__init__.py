"""Linear attention and the delta rule."""

PLAINEST = "linear_attention"
