"""Models for tasks."""

from __future__ import annotations

import pytest

from anyformer.tasks import create_task
from anyformer.train import model_for

TASK = create_task("recall", length=16, num_pairs=3, vocab_size=16)


def test_a_bidirectional_model_may_not_predict_the_next_token() -> None:
    with pytest.raises(ValueError, match="an output a token must not depend on later tokens"):
        model_for(TASK, "linformer dim=32")
