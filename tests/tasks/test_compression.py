"""The compressor as a yardstick: its bits are those by which files become longer."""

from __future__ import annotations

import lzma

import numpy as np
import pytest

from anyformer.tasks import score_reference
from anyformer.tasks.compression import Xz
from anyformer.tasks.text import ByteTask, Document


def text_task(length: int = 8000) -> ByteTask:
    rng = np.random.default_rng(0)
    words = [bytes(rng.integers(97, 123, rng.integers(2, 9)).astype(np.uint8)) for _ in range(60)]
    text = b" ".join(words[i] for i in rng.integers(60, size=length))
    return ByteTask([Document("text", text)], name="words", title="words")


@pytest.mark.parametrize(("length", "parts"), [(8000, 1), (90_000, 3)])
def test_bits_are_those_by_which_a_file_becomes_longer(length: int, parts: int) -> None:
    task = text_task(length)
    reference = Xz().fit(task)
    known = task.train_sample(10**6).x.numpy().astype(np.uint8).tobytes()
    new, costs = task.sample("test", 10**6).targets, []
    for part in new.split(-(-len(new) // parts)):
        longer = lzma.compress(known + part.numpy().astype(np.uint8).tobytes())
        costs.append(8 * (len(longer) - len(lzma.compress(known))))
    bits = score_reference(reference, task, batch_size=10**6)
    assert bits == pytest.approx(
        sum(costs) / new.numel(), abs=parts * 8 * 4 / new.numel()
    )  # files end on 4 bytes
    assert len(set(reference.costs.values())) == parts
    whole = score_reference(reference, task)
    assert score_reference(reference, task, length=2 * task.train_length) == pytest.approx(whole, rel=1e-3)
    assert score_reference(reference, task, batch_size=3) == pytest.approx(whole, rel=1e-5)
    assert score_reference(reference, task, "valid") > 0
    p = reference.predict(task.sample("test", 3)).exp()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-4)
    assert f"behind {len(known):,} bytes of training text" in reference.description


def test_it_is_there_for_bits_of_bytes_alone() -> None:
    task = text_task()
    assert "xz" in [one.name for one in task.references()]
    task.rank_by("bits_per_byte", "accuracy")
    assert "xz" not in [one.name for one in task.references()]
    task.rank_by("accuracy")
    assert "xz" not in [one.name for one in task.references()]
