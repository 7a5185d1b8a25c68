"""Pairs of texts: how files become samples, what is said about them, the known answer, and predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.errors import DataError
from anyformer.metrics._texts import texts_of
from anyformer.questions import IGNORED
from anyformer.tasks import create_task
from anyformer.tasks.base import SPLITS
from anyformer.tasks.pair_encoding import START, STOP, as_tokens, batch_of
from anyformer.tasks.pairs import PairTask
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.bundle import load_bundle
from anyformer.train.fit import Fit

TABLE = dict(zip("abcdefgh", ["a", "b", "ts", "d", "e", "kh", "o", "ü"], strict=True))


def latin(word: str) -> str:
    """A letter by the table; a and e behind a vowel, or first, begin with y."""
    return "".join(
        "y" + TABLE[now] if now in "ae" and before in " aegh" else TABLE[now]
        for before, now in zip(" " + word, word, strict=False)
    )


def words(count: int = 2500) -> list[str]:
    draw = np.random.default_rng(0)
    return ["".join(draw.choice(list(TABLE), int(size))) for size in draw.integers(2, 5, count)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "words.tsv"
    path.write_text(
        "word\tlatin\n" + "".join(f"{word}\t{latin(word)}\n" for word in words()), encoding="utf-8"
    )
    return path


def opened(path: Path, rows: list[dict[str, Any]] | None = None, **options: Any) -> PairTask:
    if rows is not None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = create_task(path, **{"target": "b", "kind": "translate", "text": "a", **options})
    assert isinstance(task, PairTask)
    return task


def rows(count: int = 40) -> list[dict[str, Any]]:
    return [{"a": f"word {n}", "b": f"wort {n}"} for n in range(count)]


class TestSamples:
    def test_bytes_with_a_start_and_an_end(self, tmp_path: Path) -> None:
        task = opened(tmp_path / "x.jsonl", [*rows(), {"a": "ä", "b": "xy"}])
        pairs = {pair for split in SPLITS for pair in zip(*task.pairs(split), strict=True)}
        batch = batch_of(*(as_tokens([text], 9)[0] for text in ("ä", "xy")))
        assert batch.source is not None and ("ä", "xy") in pairs
        assert batch.source.inputs.tolist() == [[*"ä".encode(), STOP]]  # type: ignore[union-attr]
        assert batch.x.tolist() == [[START, *b"xy"]] and batch.targets.tolist() == [[*b"xy", STOP]]
        assert batch.mask is not None and batch.mask.all()

    def test_a_batch_is_as_long_as_its_longest_texts(self, tmp_path: Path) -> None:
        task = opened(tmp_path / "x.jsonl", [*rows(), {"a": "a" * 50, "b": "b" * 70}])
        assert (task.source_length, task.train_length) == (51, 71)
        lengths = {batch.x.shape[1] for batch in task.eval_batches("train", 1)}
        assert max(lengths | {71}) == 71 and {7, 8} <= lengths

    @settings(derandomize=True, max_examples=60, deadline=None)
    @given(st.lists(st.text(max_size=6), min_size=1, max_size=4), st.integers(1, 12))
    def test_tokens_are_the_text_or_its_beginning(self, texts: list[str], length: int) -> None:
        texts = [text.encode("utf-8", "ignore").decode() for text in texts]
        tokens, cut = as_tokens(texts, length)
        for text, long, told in zip(
            texts, cut, texts_of(torch.from_numpy(tokens.astype(np.int64)), STOP), strict=True
        ):
            assert long == (len(text.encode()) > length)
            assert text.startswith(told) and (long or told == text) and len(told.encode()) <= length

    def test_equal_sources_stay_together_and_are_one_piece_of_evidence(self, tmp_path: Path) -> None:
        task = opened(
            tmp_path / "x.jsonl", [row for row in rows() for _ in range(2)] + [{"a": "word 1", "b": "z"}]
        )
        sources = [set(task.pairs(split)[0]) for split in ("train", "valid", "test")]
        assert not sources[0] & sources[1] and not sources[0] & sources[2] and not sources[1] & sources[2]
        assert len(set(task.clusters("test"))) == len(sources[2]) < task.size("test")
        assert any("40 of 81 pairs repeat others" in note for note in task.notes())
        assert any(
            "1 pairs have a source that others have with another target" in note for note in task.notes()
        )

    def test_splits_of_ones_own(self, tmp_path: Path) -> None:
        given = [{**row, "part": ("train", "test")[n % 4 == 0]} for n, row in enumerate(rows())]
        task = opened(tmp_path / "x.jsonl", given, split="part")
        assert set(task.pairs("test")[0]) == {f"word {n}" for n in range(0, 40, 4)}
        assert any("no validation split is given" in note for note in task.notes())
        (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(3)))
        task = opened(tmp_path / "y.jsonl", rows()[3:], test=str(tmp_path / "t.jsonl"))
        assert set(task.pairs("test")[0]) == {"word 0", "word 1", "word 2"}


class TestRemarks:
    def test_words_for_missing_values_are_words(self, tmp_path: Path) -> None:
        lines = ["a,b", "null,zero", "NA,none", *(f"{n},{n + 1}" for n in range(20)), ",x", "y,"]
        (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
        task = opened(tmp_path / "x.csv")
        pairs = {pair for split in SPLITS for pair in zip(*task.pairs(split), strict=True)}
        assert {("null", "zero"), ("NA", "none"), ("7", "8")} <= pairs and len(pairs) == 22
        assert any(
            "2 of 24 rows lack 'a' or 'b', or have an empty text there" in note for note in task.notes()
        )

    def test_long_texts_are_cut_with_a_remark(self, tmp_path: Path) -> None:
        task = opened(tmp_path / "x.jsonl", [*rows(), {"a": "ä" * 30, "b": "b" * 30}], length=21)
        notes = " ".join(task.notes())
        assert "1 of 41 texts in 'a' are longer than 21 bytes and cut there: the rest is not read" in notes
        assert (
            "1 of 41 texts in 'b' are longer than 21 bytes and cut there: only their beginnings are asked"
            in notes
        )
        for batch in task.eval_batches("train", 100):
            asked = batch.targets[batch.targets != IGNORED]
            assert batch.x.shape[1] <= 22 and int(asked.max()) <= STOP

    def test_columns_that_are_not_read_are_named(self, tmp_path: Path) -> None:
        task = opened(tmp_path / "x.jsonl", [{**row, "more": 1.5} for row in rows()])
        assert "left out: 'more', as 'b' is written from 'a' alone" in task.notes()

    def test_the_only_other_column_is_the_source(self, tmp_path: Path) -> None:
        assert opened(tmp_path / "x.jsonl", rows(), text=None).title == "Write 'b' from 'a'."


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"target": "c"}, "target: .* has no column 'c'"),
            ({"text": "c"}, "text: .* has no column 'c'"),
            (
                {"target": None},
                "target must name the column of texts to write, one of 'a', 'b', 'more', got none",
            ),
            (
                {"text": None},
                "text must name the column of texts that 'b' is written from, one of 'a', 'more'",
            ),
            ({"text": "b"}, "text and target must name two columns, got 'b' for both"),
            ({"horizon": 3}, "horizon does not apply to pairs of texts, got 3"),
            ({"group": "more"}, "group does not apply to pairs of texts"),
            ({"length": 0}, "length must be an integer at least 1, got 0"),
            (
                {"metric": "chrf"},
                "metric: nothing is ranked by 'chrf', which is measured of texts that models write",
            ),
            ({"metric": "f1"}, "metric: 'f1' measures one class a sequence"),
            (
                {"kind": "translat"},
                "kind must be one of .*'translate', got 'translat'; did you mean 'translate'",
            ),
        ],
    )
    def test_options(self, tmp_path: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            opened(tmp_path / "x.jsonl", [{**row, "more": "1"} for row in rows()], **options)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (rows(9), "9 rows have both 'a' and 'b'; at least 10 are needed"),
            ([{"a": "x", "b": str(n)} for n in range(20)], "only 1 different samples: too few for train"),
            ([{"a": "", "b": "y"} for _ in range(20)], "0 rows have both 'a' and 'b'"),
            ([{**row, "b": ["x"]} for row in rows()], "column 'b' holds lists or objects"),
        ],
    )
    def test_data(self, tmp_path: Path, given: list[dict[str, Any]], message: str) -> None:
        with pytest.raises(DataError, match=message):
            opened(tmp_path / "x.jsonl", given)

    def test_pairs_that_are_not_asked_for_as_such_are_offered(self, tmp_path: Path) -> None:
        opened(tmp_path / "x.jsonl", rows())
        with pytest.raises(
            DataError, match="must repeat; kind='translate' with text='a' writes its texts from"
        ):
            create_task(tmp_path / "x.jsonl", target="b")
        with pytest.raises(DataError, match="kind='translate' writes the texts of one from those of another"):
            create_task(tmp_path / "x.jsonl")


class TestReferences:
    def test_answers(self, tmp_path: Path) -> None:
        task = opened(tmp_path / "x.jsonl", [*rows(), *({"a": f"same {n}", "b": "same"} for n in range(9))])
        copy, frequent, dictionary = task.references()
        batch = batch_of(as_tokens(["word 7", "wordd 7", "sam 3"], 20)[0], as_tokens(["wort 7"] * 3, 20)[0])
        sources, targets = task.pairs("train")
        known = dict(zip(sources, targets, strict=True))
        for reference, answers in (
            (copy, ["word 7", "wordd 7", "sam 3"]),
            (frequent, ["same"] * 3),
            (dictionary, [known.get("word 7"), known.get("word 7"), "same"]),
        ):
            told = reference.fit(task).decode(batch)
            assert told is not None
            for text, answer in zip(texts_of(told, STOP), answers, strict=True):
                assert answer is None or text == answer
            logits = reference.predict(batch)
            assert logits.shape == (3, batch.x.shape[1], 258)
            torch.testing.assert_close(logits.exp().sum(-1), torch.ones(3, batch.x.shape[1]))

    def test_the_nearest_source_has_the_fewest_edits(self, file: Path) -> None:
        task = create_task(file, target="latin", kind="translate", text="word")
        dictionary = task.references()[2].fit(task)
        batch = task.sample("test", 20)
        told = dictionary.decode(batch)
        assert told is not None and isinstance(task, PairTask)
        known = dict(zip(*task.pairs("train"), strict=True))
        assert set(texts_of(told, STOP)) <= set(known.values())


def trained(task: PairTask, spec: str, steps: int) -> Trainer:
    trainer = Trainer(
        model_for(task, spec), task, TrainConfig(steps=steps, batch_size=32, learning_rate=1e-2), device="cpu"
    )
    trainer.run()
    return trainer


class TestModels:
    @pytest.mark.parametrize(
        ("spec", "steps"), [("encoder_decoder dim=32 depth=1", 200), ("transformer dim=32 depth=2", 300)]
    )
    def test_a_table_of_letters_with_rules_is_learnt(self, file: Path, spec: str, steps: int) -> None:
        task = create_task(file, target="latin", kind="translate", text="word")
        assert isinstance(task, PairTask)
        trainer = trained(task, spec, steps)
        assert trainer.evaluate("test").value > 0.9
        beside = trainer.evaluate_beside()
        assert (
            beside["character error rate"] < 0.03 and beside["chrF"] > 85 and beside["bits per byte"] < 0.15
        )

    def test_frequent_exceptions_are_learnt_beside_the_rules(self, tmp_path: Path) -> None:
        """Words that break the rules and come often are known by heart; unseen words follow the rules."""
        draw = np.random.default_rng(1)
        every = list(dict.fromkeys(words()))
        odd, unseen, known = every[:15], every[15:115], every[115:]
        irregular = {word: "".join(draw.choice(list("adeosux"), 4)) for word in odd}
        spelt = {word: irregular.get(word, latin(word)) for word in every}
        files = {
            "words.tsv": [*known, *odd * 20],
            "test.tsv": [*unseen, *odd],
            "valid.tsv": [*known[:50], *odd],
        }
        for name, chosen in files.items():
            lines = "".join(f"{word}\t{spelt[word]}\n" for word in chosen)
            (tmp_path / name).write_text(f"word\tlatin\n{lines}", encoding="utf-8")
        task = create_task(
            tmp_path / "words.tsv",
            target="latin",
            kind="translate",
            text="word",
            test=str(tmp_path / "test.tsv"),
            valid=str(tmp_path / "valid.tsv"),
        )
        assert isinstance(task, PairTask)
        model = trained(task, "encoder_decoder dim=32 depth=1", 300).model.eval()
        batch = task.sample("test", 115)
        written = texts_of(task.decode(model, batch), STOP)
        wanted = texts_of(batch.targets, STOP)
        exact = {
            kind: np.mean(
                [a == b for a, b in zip(written, wanted, strict=True) if (b in irregular.values()) == kind]
            )
            for kind in (True, False)
        }
        assert exact[True] > 0.7 and exact[False] > 0.9

    def test_greedy_decoding_matches_where_all_right_bytes_are_the_likeliest(self, file: Path) -> None:
        task = create_task(file, target="latin", kind="translate", text="word")
        assert isinstance(task, PairTask)
        trainer = trained(task, "encoder_decoder dim=32 depth=1", 80)
        batch = task.sample("test", 100)
        model = trainer.model.eval()
        with torch.no_grad():
            right = task.metric.measure(model(batch.inputs, batch.mask, source=batch.source), batch.target)[
                :, 0
            ]
            written = texts_of(task.decode(model, batch), STOP)
        exact = [a == b for a, b in zip(written, texts_of(batch.targets, STOP), strict=True)]
        assert exact == right.astype(bool).tolist() and 5 < sum(exact) < 95

    @pytest.mark.slow
    @pytest.mark.parametrize("spec", ["encoder_decoder dim=64", "transformer dim=64", "mamba dim=64"])
    def test_the_example_is_learnt(self, spec: str) -> None:
        path = Path(__file__).parents[2] / "examples" / "data" / "words.tsv"
        task = create_task(path, target="latin", kind="translate", text="cyrillic")
        assert isinstance(task, PairTask)
        config = TrainConfig(steps=1500, batch_size=32, learning_rate=3e-3)
        trainer = Trainer(model_for(task, spec), task, config, device="cpu")
        trainer.run()
        assert trainer.evaluate("test").value > 0.9


@pytest.fixture(scope="module")
def folder(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "out"
    options = {"kind": "translate", "text": "word"}
    config: dict[str, Any] = {"steps": 60, "batch_size": 32, "learning_rate": 1e-2}
    Fit.start(folder, file, "encoder_decoder dim=32 depth=1", target="latin", options=options, **config).run()
    return folder


class TestPredictions:
    def test_the_text_of_each_row(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "new.csv").write_text("nr,word\n1,abe\n2,\n3,gege\n")
        found = load_bundle(folder).predict(tmp_path / "new.csv")
        assert list(found.table) == ["row", "nr", "word", "latin", "p(latin)"]
        assert (
            found.table["row"].tolist() == [1, 3]
            and found.table["nr"].tolist() == ["1", "3"]
            and found.table["p(latin)"].between(0, 1).all()
        )
        assert found.table["latin"].str.len().gt(0).all()
        assert any("1 rows have no 'word' and get no answer (first: 2)" in remark for remark in found.remarks)
        found.save(tmp_path / "told.csv")
        assert (tmp_path / "told.csv").read_text().startswith("row,nr,word,latin,p(latin)\n1,1,abe,")

    def test_batches_and_frames_make_no_difference(self, folder: Path, tmp_path: Path) -> None:
        bundle, frame = load_bundle(folder), pd.DataFrame({"word": words(12)}, index=range(100, 112))
        one, many = (bundle.predict(frame, batch_size=size).table for size in (1, 12))
        assert one["latin"].tolist() == many["latin"].tolist() and one.index.tolist() == frame.index.tolist()
        np.testing.assert_allclose(one["p(latin)"], many["p(latin)"], rtol=1e-4)

    def test_the_width_of_the_search_is_an_option(self, folder: Path, tmp_path: Path) -> None:
        bundle, frame = load_bundle(folder), pd.DataFrame({"word": words(40)})
        narrow, wide = (bundle.predict(frame, options={"width": width}).table["p(latin)"] for width in (1, 6))
        assert (wide >= narrow * (1 - 1e-5)).mean() > 0.9 and (wide > 1.01 * narrow).any()
        with pytest.raises(ValueError, match="width must be greater than or equal to 1, got 0"):
            bundle.predict(frame, options={"width": 0})
        with pytest.raises(ValueError, match="no option 'with'; did you mean 'width'"):
            bundle.predict(frame, options={"with": 2})

    def test_mistakes(self, folder: Path, tmp_path: Path) -> None:
        bundle = load_bundle(folder)
        for text, message in (
            ("wort\nab\n", "the model needs the column 'word'.*has no column 'wort'|has no column 'word'"),
            ("word,x\n,1\n", "column 'word' has no text in any row"),
        ):
            (tmp_path / "new.csv").write_text(text)
            with pytest.raises(DataError, match=message):
                bundle.predict(tmp_path / "new.csv")
        with pytest.raises(ValueError, match="holds a model that answers to a source: use predict"):
            bundle.generate("ab")
        with pytest.raises(ValueError, match="data must name a file"):
            bundle.predict()
