"""Token mixers without attention: pooling, fixed weights, gates."""
