"""New samples have unknown targets, and a model's outputs become answers about them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.tasks.categories import Category
from anyformer.tasks.encoding import Standard
from anyformer.tasks.labelled_encoding import LabelledEncoding, SequenceEncoding

NAMES = pd.DataFrame({"row": [1, 2]})
NUMBERS = Standard(mean=[[1.0]], scale=[[2.0]], marks=True)


def test_classes() -> None:
    encoding = SequenceEncoding(kind="x", targets=["kind"], classes=["u", "v"], vocab_size=9)
    unseen = encoding.unseen(
        np.array([[1, 2], [3, 0]]), NAMES, [], mask=np.array([[True, True], [True, False]])
    )
    assert unseen.batch.targets.tolist() == [-1, -1] and unseen.batch.scale is None
    assert unseen.batch.x.dtype == torch.int64 and unseen.batch.mask is not None
    table = encoding.answers(unseen, torch.tensor([[0.0, 0.0], [0.0, 3.0]]))
    assert table["kind"].tolist() == ["u", "v"] and table["p(v)"].tolist() == pytest.approx(
        [0.5, 0.9526], abs=1e-4
    )


def test_numbers_are_in_the_users_units_and_missing_inputs_are_told() -> None:
    encoding = SequenceEncoding(
        kind="x", targets=["a", "row"], shift=[10.0, 0.0], scale=[2.0, 1.0], standard=NUMBERS
    )
    remarks = list[str]()
    unseen = encoding.unseen(np.array([[[3.0]], [[np.nan]]]), NAMES, remarks)
    assert unseen.batch.x.tolist() == [[[1, 0]], [[0, 1]]]
    assert unseen.batch.targets.isnan().all() and unseen.batch.targets.shape == (2, 2)
    assert remarks == ["1 value is missing; it is set to the mean and marked"]
    table = encoding.answers(unseen, torch.tensor([[1.0, 5.0], [-1.0, 6.0]]))
    assert table.to_dict("list") == {"number of the row": [1, 2], "a": [12, 8], "row": [5, 6]}


@pytest.mark.parametrize(
    "steps, words",
    [
        ([5, 9, 12], "1 of 3 sequences have 5 steps, and those in training had 6 to 12 steps: the model has"),
        (
            [3, 14, 8],
            "2 of 3 sequences have 3 to 14 steps, and those in training had 6 to 12 steps: the model has",
        ),
        ([6, 12], None),
    ],
)
def test_lengths_that_training_did_not_have_are_told(steps: list[int], words: str | None) -> None:
    encoding = SequenceEncoding(kind="", vocab_size=4, classes=["a", "b"], lengths=(6, 12))
    mask = np.arange(14) < np.array(steps)[:, None]
    names = pd.DataFrame({"row": steps})
    remarks = encoding.unseen(np.zeros(mask.shape, int), names, [], mask=mask).remarks
    assert [remark.startswith(words or "?") for remark in remarks] == [True] * (words is not None)


def test_numbers_and_categories_are_fields() -> None:
    one = Category(name="(numbers)", values=["p"])
    encoding = SequenceEncoding(kind="x", standard=NUMBERS, categories=[one])
    fields = encoding.inputs(np.array([[[1.0]]]), {"(numbers)": np.array([["p"]], dtype=object)})
    assert isinstance(fields, dict) and list(fields) == ["((numbers))", "(numbers)"]
    facts = encoding.stream()
    assert facts is not None and [field.name for field in facts.fields] == list(fields)
    assert facts.shape == "sequence" and SequenceEncoding(kind="x", vocab_size=3).stream() is None


def test_a_kind_reads_its_own_files() -> None:
    with pytest.raises(NotImplementedError):
        LabelledEncoding(kind="x").read(__file__)  # type: ignore[arg-type]
