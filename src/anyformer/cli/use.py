"""``anyformer train``, ``predict`` and ``generate``: one model, from data to answers."""
