from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from anyformer.questions import IGNORED
from anyformer.tasks import DataError, create_task, open_data
from anyformer.tasks.text import ByteTask, Document

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "wizards"]


def prose(seed: int, words: int = 400) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(WORDS), (words,), generator=generator).tolist()
    return " ".join(WORDS[i] + ("\n" if i == 3 else "") for i in picks).encode() + b"%d" % seed


def task_of(count: int, **options: int) -> ByteTask:
    documents = [Document(f"{i}.txt", prose(i)) for i in range(count)]
    return ByteTask(documents, name="prose", title="Prose.", **options)


def test_the_worked_example() -> None:
    batch = task_of(12, length=4)._windows("train", torch.zeros(1, dtype=torch.long).numpy(), 4)
    text = bytes(task_of(12, length=4)._data["train"][:5])
    assert bytes(batch.x[0].tolist()) == text[:4] and bytes(batch.targets[0].tolist()) == text[1:]


def test_documents_go_whole_into_one_split() -> None:
    task = task_of(40)
    assert task.split_by == "document"
    names = [{piece.name for piece in task._pieces[split]} for split in ("train", "valid", "test")]
    assert len(set.union(*names)) == sum(map(len, names)) == 40
    shares = [len(task._data[split]) for split in ("train", "valid", "test")]
    assert [round(share / sum(shares), 1) for share in shares] == [0.8, 0.1, 0.1]


def test_few_documents_are_cut_into_regions() -> None:
    task = task_of(2)
    assert task.split_by == "contiguous region"
    for i in range(2):
        assert b"".join(task._pieces[split][i].data for split in ("train", "valid", "test")) == prose(i)


def test_a_repeated_document_cannot_be_trained_on_and_tested() -> None:
    documents = [Document(f"{i}.txt", prose(i % 20)) for i in range(40)]
    task = ByteTask(documents, name="twice", title="Twice.")
    data = [{piece.data for piece in task._pieces[split]} for split in ("train", "valid", "test")]
    assert not data[0] & data[1] and not data[0] & data[2] and not data[1] & data[2]
    assert task.notes() == ["20 empty or repeated texts left out"]


def test_every_length_is_tested_on_the_same_bytes() -> None:
    task = task_of(60, length=64)
    assert task.lengths == (128, 256)
    seen = {
        length: torch.cat([b.targets.flatten() for b in task.eval_batches("test", 7, length=length)])
        for length in (64, 128, 256)
    }
    assert torch.equal(seen[64], seen[128]) and torch.equal(seen[64], seen[256])


def test_batches_depend_on_seed_and_step() -> None:
    a, b = task_of(20, seed=1), task_of(20, seed=1)
    a.train_batch(0, 4)
    assert torch.equal(a.train_batch(9, 4).x, b.train_batch(9, 4).x)
    assert not torch.equal(a.train_batch(9, 4).x, a.train_batch(10, 4).x)


def test_the_standard_library_is_the_default() -> None:
    task = create_task("bytes", max_bytes=300_000, length=32)
    assert task.describe()["split_by"] == "document"
    x = next(task.eval_batches("test", 64)).x
    assert b"self" in bytes(x.flatten().tolist())


@pytest.mark.parametrize("size, length", [(1100, 16), (6000, 128), (60_000, 256)])
def test_short_texts_get_shorter_windows(tmp_path: Path, size: int, length: int) -> None:
    (tmp_path / "a.txt").write_bytes((prose(0, 20_000))[:size])
    assert open_data(tmp_path / "a.txt").train_length == length


class TestWrongText:
    def test_undecodable_bytes_are_named_with_file_and_place(self, tmp_path: Path) -> None:
        (tmp_path / "good.txt").write_bytes(prose(0))
        (tmp_path / "bad.txt").write_bytes(prose(1)[:1234] + b"\xff" + prose(2))
        with pytest.raises(DataError, match=r"bad\.txt: byte 1234 \(0xff\) is not UTF-8 text"):
            create_task(tmp_path)
        assert create_task(tmp_path, raw=True).describe()["bytes"]["train"] > 1000

    def test_one_giant_line(self, tmp_path: Path) -> None:
        file = tmp_path / "min.txt"
        file.write_bytes(b"two lines\n" + b"x" * 1_500_000)
        with pytest.raises(
            DataError, match=r"min\.txt: line 2 is 1,500,000 bytes long, all in one line; give raw=T"
        ):
            open_data(file)
        assert open_data(file, raw=True).vocab_size == 256

    @pytest.mark.parametrize(
        "line", ["1 -1.5e-01  2.5e+00", "2024-01-01\t17.5", "7.25", "a;1,5;2,5", "x, 1, 2, 3"], ids=repr
    )
    def test_a_table_is_no_text_unless_that_is_said(self, tmp_path: Path, line: str) -> None:
        path = tmp_path / "values.txt"
        path.write_text(f"{line}\n" * 200)
        with pytest.raises(
            DataError, match=r"values.txt seems to be a table, .* give raw=True to read its bytes"
        ):
            open_data(path)
        assert isinstance(open_data(path, raw=True), ByteTask)
        path.write_text("".join(f"Then, {i} times, it went on and on\n" for i in range(200)))
        assert isinstance(open_data(path), ByteTask)

    def test_empty_and_short(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"")
        with pytest.raises(DataError, match=r"a\.txt is empty"):
            open_data(tmp_path / "a.txt")
        with pytest.raises(DataError, match=r"all 1 files of .* are empty"):
            open_data(tmp_path)
        (tmp_path / "a.txt").write_bytes(b"hello")
        with pytest.raises(DataError, match="5 bytes of text are too short; at least 1000 are needed"):
            open_data(tmp_path / "a.txt")

    def test_folders_that_are_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"the folder .* holds no files"):
            open_data(tmp_path)
        (tmp_path / "cat.png").write_bytes(b"\x89PNG")
        for name in ("a.txt", "b.txt"):
            (tmp_path / name).write_text("text")
        with pytest.raises(
            DataError, match=r"holds cat\.png, which is not text; images are read from a folder with"
        ):
            open_data(tmp_path)

    def test_a_length_that_does_not_fit(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(prose(0))
        with pytest.raises(DataError, match="length 9999 is too long; the smallest split has"):
            open_data(tmp_path / "a.txt", length=9999)

    def test_options_of_other_kinds_of_data(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(prose(0))
        with pytest.raises(
            ValueError,
            match=r"target does not apply to text \(.*a\.txt\) but to tables .* and images, got 'y'",
        ):
            open_data(tmp_path / "a.txt", target="y")
        with pytest.raises(
            ValueError, match=r"a\.txt has no option 'targt'; it takes kind, length, tokenizer, raw"
        ):
            open_data(tmp_path / "a.txt", targt="y")


def test_bits_are_nats_over_log_two() -> None:
    task = task_of(12, length=8)
    batch = next(task.eval_batches("valid", 2))
    outputs = torch.randn(2, 8, 256)
    assert task.metric.value(task.metric.measure(outputs, batch.target)) == pytest.approx(
        float(task.objective.loss(outputs, batch.targets)) / math.log(2), rel=1e-5
    )


def test_long_samples_hold_the_text_once_and_what_follows_each_byte() -> None:
    task = task_of(30, length=64)
    whole = task.long_samples(["train", "valid"], 10**7)
    assert whole.mask is not None and bool((whole.targets[~whole.mask] == IGNORED).all())
    for split, row in (("train", 0), ("valid", 1)):
        real = whole.mask[row]
        held = torch.cat([whole.x[row, :1], whole.targets[row][real]]).numpy().astype(np.uint8).tobytes()
        assert held == task._data[split].tobytes()
    some = task.long_samples(["train"], 700)
    assert some.x.shape == (1, len(task._data["train"]) - 1) or some.x.numel() <= 700


def test_of_a_text_that_is_too_long_stretches_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyformer.tasks.text._STRETCH", 100)
    task = task_of(30, length=64)
    data, some = task._data["train"], task.long_samples(["train"], 700)
    assert some.x.shape == (7, 100)
    starts = [data.tobytes().index(row.numpy().astype(np.uint8).tobytes()) for row in some.x]
    assert starts == sorted(starts) and starts[-1] > 0.7 * len(data)
    assert bool((some.x[:, 1:] == some.targets[:, :-1]).all())
