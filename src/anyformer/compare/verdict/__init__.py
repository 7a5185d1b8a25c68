"""Conclusions from the scores: confidence intervals, significance, the leaderboard, and the verdict in words."""
