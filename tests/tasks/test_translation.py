"""Translation by a dictionary and a rule."""

from __future__ import annotations

import numpy as np
import pytest

from anyformer.tasks import create_task
from anyformer.tasks.generated.translation import Translation


class TestTranslation:
    def test_a_sentence_of_the_docstring(self) -> None:
        task = Translation(words=4, names=2)  # adjectives 0 and 1, nouns 2 and 3, names 8 and 9
        a, b, n, m = task.dictionary.tolist()
        assert sorted(task.dictionary.tolist()) == [4, 5, 6, 7]
        assert task.translate(np.array([[0, 2, 8, 3, 1]]))[0].tolist() == [n, a, 8, m, b]
        assert task.translate(np.array([[0, 1, 2, 3, -1]]))[0].tolist() == [a, n, b, m, -1]

    def test_the_dictionary_is_the_seeds(self) -> None:
        one, again, other = (create_task("translation", seed=s) for s in (1, 1, 2))
        assert one.dictionary.tolist() == again.dictionary.tolist() != other.dictionary.tolist()  # type: ignore[attr-defined]

    def test_refused(self) -> None:
        with pytest.raises(ValueError, match="words must be even"):
            create_task("translation", words=5)
