"""Tagged words: the reader, the task, its splits and remarks, and models on it."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.tagging import columns, sentences, write

from anyformer.compare import compare
from anyformer.errors import DataError
from anyformer.questions import IGNORED
from anyformer.tasks import create_task, score_reference
from anyformer.tasks.fingerprint import sample_of_task
from anyformer.tasks.readers import reader_of
from anyformer.tasks.tags.pieces import words_in
from anyformer.tasks.tags.task import TaggedTask
from anyformer.train import Fit, TrainConfig, Trainer, load_bundle, model_for


def made(count: int = 60, **given: Any) -> TaggedTask:
    words, tags = sentences(count)
    return TaggedTask(words, tags, name="letters", **given)


class TestKnownAnswer:
    def test_the_first_letter_tells_the_tag(self, tmp_path: Path) -> None:
        """Train and predict on a file: span F1 of at least 0.95, in seconds."""
        start = time.process_time()
        path = write(tmp_path / "letters.conll", 200)
        fit = Fit.start(tmp_path / "out", path, "qrnn dim=32", steps=50, batch_size=16, learning_rate=0.01)
        fit.run()
        assert fit.task.metric.id == "span_f1" and fit.test is not None and fit.test >= 0.95
        assert time.process_time() - start < 60
        new, truth = sentences(20, seed=9)
        (tmp_path / "new.conll").write_text("\n".join("".join(f"{word}\n" for word in one) for one in new))
        found = load_bundle(tmp_path / "out").predict(tmp_path / "new.conll")
        told = found.table["tag"].tolist()
        right = [one for sentence in truth for one in sentence]
        assert np.mean([a == b for a, b in zip(told, right)]) > 0.95
        found.save(tmp_path / "told.conll")
        read = create_task(write(tmp_path / "x.conll")) and (tmp_path / "told.conll").read_text()
        assert [line.split() for line in read.split("\n") if line] == [
            [word, tag] for word, tag in zip([w for s in new for w in s], told)
        ]

    @pytest.mark.usefixtures("brief_costs")
    def test_the_example_through_compare_and_predict(self, tmp_path: Path) -> None:
        data = Path(__file__).parents[3] / "examples" / "data" / "diary.conll"
        settings = {"budget": "2 steps", "parameters": 4000, "batch_size": 4, "workers": 1, "quiet": True}
        found = compare(data, "[qrnn]*1 head=crf", out=tmp_path / "out", **settings)  # type: ignore[arg-type]
        result = found.results.tasks[0]
        assert [c.status for c in result.candidates] == ["ok"] and found.winner is not None
        assert [r.name for r in result.references] == ["frequent tag", "tag of the word", "linear"]
        assert result.task.metric.name == "span F1" and list(result.references[2].beside) == ["accuracy"]
        predictions = load_bundle(found.winner).predict(data)
        predictions.save(tmp_path / "told.conll")
        lines = [line.split() for line in (tmp_path / "told.conll").read_text().split("\n")]
        assert [line[:2] for line in lines] == [line.split() for line in data.read_text().split("\n")]
        assert {len(line) for line in lines} == {0, 3}

    def test_only_models_that_read_both_ways_see_what_follows(self) -> None:
        """The first letter of the next word tells the tag."""
        words = sentences(200)[0]
        tags = [["A" if after[0] in "abcd" else "B" for after in [*one[1:], "a"]] for one in words]
        task, scores = TaggedTask(words, tags, name="next"), {}
        for spec in (
            "qrnn",
            "[qrnn, flip([qrnn])]",
            "[conv_module, attention] causal=false",
            "qrnn causal=true",
        ):
            config = TrainConfig(steps=40, batch_size=16, learning_rate=0.01)
            trainer = Trainer(model_for(task, f"{spec} dim=32"), task, config, device="cpu")
            trainer.run()
            scores[spec] = trainer.evaluate("test").value
        assert task.metric.id == "accuracy" and scores.pop("qrnn causal=true") < 0.7
        assert min(scores.values()) > 0.9


FAMILIES = {
    "softmax": "attention", "sparse": "longformer(window=8)", "low rank": "linformer", "linear": "retention",
    "state space": "mamba", "recurrent": "lstm", "convolution": "hyena", "pooling": "pooling", "delta": "delta_net",
    "rwkv": "rwkv7",
}  # fmt: skip


@pytest.mark.parametrize("mixer", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("head", ["linear", "crf"])
def test_mixers_of_all_families_and_both_heads(mixer: str, head: str) -> None:
    task = made(40)
    trainer = Trainer(
        model_for(task, f"[{mixer}]*1 dim=8 head={head}"),
        task,
        TrainConfig(steps=2, batch_size=4),
        device="cpu",
    )
    trainer.run()
    found = trainer.evaluate("test", with_loss=True)
    assert 0 <= found.value <= 1 and found.loss is not None and np.isfinite(found.loss)


class TestTask:
    def test_answers_are_asked_for_at_the_last_byte_of_each_word(self) -> None:
        task = made()
        batch = task.train_batch(0, 5)
        codes = {name: code for code, name in enumerate(task.names)}
        for words, targets in zip(words_in(batch), batch.targets):
            first = {b"a": "B-X", b"b": "B-X", b"c": "B-X", b"d": "B-Y", b"e": "B-Y", b"f": "B-Y"}
            assert targets[targets != IGNORED].tolist() == [codes[first.get(w[:1], "O")] for w in words]
        assert batch.mask is None or batch.mask.shape == batch.x.shape
        assert int(batch.x.shape[1]) <= task.train_length

    def test_equal_sentences_are_in_one_split_and_one_cluster(self) -> None:
        words, tags = sentences(50)
        task = TaggedTask(words * 3, tags * 3, name="thrice")
        held = [
            {tuple(one) for batch in task.eval_batches(split, 16) for one in words_in(batch)}
            for split in ("train", "valid", "test")
        ]
        assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]
        assert len(np.unique(task.clusters("test"))) == len(held[2]) < task.size("test")

    def test_documents_are_in_one_split(self) -> None:
        words, tags = sentences(300)
        words[7] = words[293]
        documents = [number // 10 for number in range(300)]
        task = TaggedTask(words, tags, name="papers", documents=documents)
        held = [set(task.clusters(split).tolist()) for split in ("train", "valid", "test")]
        assert task.split_by == "document" and sum(map(len, held)) == len(set.union(*held)) == 30
        assert "30 documents are marked: each is in one split" in task.notes()
        few = TaggedTask(words, tags, name="papers", documents=[number // 100 for number in range(300)])
        assert few.split_by == "sentence" and len(np.unique(few.clusters("test"))) == 3
        assert any("3 documents are marked, too few" in note for note in few.notes())

    def test_sentences_that_training_holds_are_no_test(self) -> None:
        words, tags = sentences(300)
        documents = [number // 10 for number in range(300)]
        for document in range(30):
            words[10 * document], tags[10 * document] = ["zz", "ab"], ["O", "B-X"]
        task = TaggedTask(words, tags, name="papers", documents=documents)
        tested = {tuple(one) for batch in task.eval_batches("test", 16) for one in words_in(batch)}
        assert (b"zz", b"ab") not in tested
        assert any("that documents of training hold too, left out: " in note for note in task.notes())

    def test_rare_tags_are_trained_on_and_said(self) -> None:
        words, tags = sentences(100)
        tags[3][0] = "B-Z"
        task = TaggedTask(words, tags, name="rare")
        assert "fewer than 3 words have the tag 'B-Z'" in task.notes()
        assert task.names.index("B-Z") in task._words("train")
        assert json.loads(json.dumps(task.describe()))["tags"]["B-Z"] == 1

    def test_plain_tags_rank_by_accuracy(self) -> None:
        words, tags = sentences(60)
        task = TaggedTask(words, [[tag[-1] for tag in one] for one in tags], name="plain")
        assert task.metric.id == "accuracy" and "3 tags, which are no spans: X, Y, O" in task.notes()
        with pytest.raises(ValueError, match="measures spans of tags such as"):
            task.rank_by("span_f1")

    def test_the_same_every_time(self) -> None:
        assert sample_of_task(made()) == sample_of_task(made()) != sample_of_task(made(seed=1))

    @pytest.mark.parametrize(
        "change, said",
        [
            (lambda words, tags: (words[:10], tags[:10]), "10 labelled sequences are too few; at least 20"),
            (lambda words, tags: (words, [["O"] * len(one) for one in words]), "all words have the tag 'O'"),
            (lambda words, tags: ([["a", "b"]] * 60, [["X", "Y"]] * 60), "only 1 different samples"),
            (
                lambda words, tags: (
                    words,
                    [[f"{n}.{i}" for i in range(len(one))] for n, one in enumerate(words)],
                ),
                "193 of 193 tags come once .*: they hardly are tags; target names others",
            ),
        ],
    )
    def test_bad_data(self, change: Any, said: str) -> None:
        words, tags = change(*sentences(60))
        with pytest.raises(DataError, match=said):
            TaggedTask(words, tags, name="bad")


class TestReader:
    def test_takes_its_files_and_no_others(self, tmp_path: Path) -> None:
        text = columns(*sentences(5))
        records = '{"tokens": ["a"], "tags": ["X"]}\n'
        for name, data, taken in (
            ("a.conll", "", True), ("a.iob2", text, True), ("a.txt", text, True), ("a", text, True),
            ("a.tsv", text.replace(" ", "\t"), True), ("b.txt", "a story of ours\nand B-X\n\nmore O\n", False),
            ("c.txt", text.replace("\n\n", "\n"), False), ("a.csv", text, False), ("a.jsonl", records, True),
            ("b.jsonl", '{"text": "a", "label": "X"}\n', False), ("c.jsonl", "{", False), ("d.jsonl", "", False),
            ("e.jsonl", '{"text": "a", "labels": []}\n', False),
        ):  # fmt: skip
            (tmp_path / name).write_text(data)
            assert (reader_of(tmp_path / name).id == "tagged") == taken, name
        assert reader_of(tmp_path).id != "tagged"

    def test_columns_are_chosen_and_said(self, tmp_path: Path) -> None:
        words, tags = sentences(60)
        lines = [f"{t[-1]} {w} {t}\n" for one in zip(words, tags) for w, t in zip(*one)]
        starts = np.cumsum([0, *map(len, words)])
        (tmp_path / "a.conll").write_text("\n".join("".join(lines[a:b]) for a, b in pairwise(starts)))
        task = create_task(tmp_path / "a.conll", text="2")
        assert task.notes()[:2] == [
            "the words are in column 2 and the tags in column 3 of 3; text and target name others",
            "tags of spans (BIO) of 2 types: X, Y",
        ]
        assert create_task(tmp_path / "a.conll", text="2", target="1").metric.id == "accuracy"
        with pytest.raises(DataError, match="target: the tags of .* cannot be in the column of its words, 2"):
            create_task(tmp_path / "a.conll", text="2", target="2")
        with pytest.raises(ValueError, match=re.escape("length must be an integer at least 8, got 4")):
            create_task(tmp_path / "a.conll", length=4)
        with pytest.raises(ValueError, match="horizon does not apply to tagged words"):
            create_task(tmp_path / "a.conll", horizon=3)
        with pytest.raises(ValueError, match="target must name one column of tags, got"):
            create_task(tmp_path / "a.conll", target=["2", "3"])
        (tmp_path / "b.conll").write_text("a\nb\n\nc\n")
        with pytest.raises(DataError, match="has one column: tags are needed beside the words"):
            create_task(tmp_path / "b.conll")

    def test_files_of_splits(self, tmp_path: Path) -> None:
        train = write(tmp_path / "train.conll", 80, seed=1)
        valid, test = write(tmp_path / "dev.conll", 30, seed=2), write(tmp_path / "test.conll", 40, seed=3)
        task = create_task(train, valid=str(valid), test=str(test))
        assert [task.size(split) for split in ("train", "valid", "test")] == [80, 30, 40]
        assert len(np.unique(task.clusters("test"))) > 30 and task.describe()["split_by"] == "as given"
        for file in (train, valid, test):
            marked = file.read_text().replace("\n\n", "\n\n-DOCSTART- O\n\n")
            (tmp_path / f"marked-{file.name}").write_text(marked)
        given = {
            split: str(tmp_path / f"marked-{name}.conll")
            for split, name in (("valid", "dev"), ("test", "test"))
        }
        papers = create_task(tmp_path / "marked-train.conll", **given)
        assert len(np.unique(papers.clusters("test"))) == 40
        alone = create_task(train, test=str(test))
        assert alone.size("train") + alone.size("valid") == 80 and alone.size("test") == 40
        (tmp_path / "other.conll").write_text("a b O\nc d O\n")
        for given, said in (
            ({"valid": str(valid)}, "valid needs test beside it"),
            ({"test": str(train)}, "test must name another file than the data"),
            ({"test": str(tmp_path / "no.conll")}, "there is no file"),
            ({"test": str(tmp_path / "other.conll")}, "has 3 columns, where the training data has 2"),
        ):
            with pytest.raises(ValueError, match=said):
                create_task(train, **given)

    def test_records(self, tmp_path: Path) -> None:
        words, tags = sentences(60)
        (tmp_path / "a.jsonl").write_text(
            "".join(json.dumps({"tokens": w, "tags": t}) + "\n" for w, t in zip(words, tags))
        )
        task = create_task(tmp_path / "a.jsonl")
        assert (
            task.notes()[0] == "the words are in 'tokens', the tags in 'tags'" and task.metric.id == "span_f1"
        )
        assert create_task(tmp_path / "a.jsonl", target="tags").size("train") == task.size("train")
        assert score_reference(task.references()[2].fit(task), task) > 0.95
