"""Channel mixers: feed-forward networks and what takes their place."""
