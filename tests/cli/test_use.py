"""train, predict and generate: from a file to answers, killed in between, and one message for each mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from anyformer.cli import app
from anyformer.tasks import open_data
from anyformer.train import Fit, Trainer, load_bundle
from anyformer.train.trainer import TrainConfig

MODEL = "mamba dim=8 depth=1"


def run(*args: object) -> tuple[int, str]:
    """Exit code and all that was said, on one line."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def good(*args: object) -> str:
    code, said = run(*args)
    assert code == 0, said
    return said


def sales(folder: Path, n: int = 160) -> Path:
    days = pd.date_range("2023-01-01", periods=n).strftime("%Y-%m-%d")
    y = 100 + 10 * np.sin(2 * np.pi * np.arange(n) / 7) + np.random.default_rng(0).normal(0, 1, n)
    pd.DataFrame({"day": days, "sold": y}).to_csv(folder / "sales.csv", index=False)
    return folder / "sales.csv"


def shapes(folder: Path, n: int = 120, target: str = "kind") -> Path:
    values = np.random.default_rng(0).normal(0, 1, (n, 3))
    total = values.sum(1)
    y = np.where(total > 0, "high", "low") if target == "kind" else 50 + 9 * total
    frame = pd.DataFrame({**{f"x{i}": values[:, i] for i in range(3)}, target: y})
    frame.to_csv(folder / f"{target}.csv", index=False)
    return folder / f"{target}.csv"


def trained(folder: Path, data: object, *args: object, steps: int = 4, model: str = MODEL) -> Path:
    out = folder / "model"
    good("train", data, "--model", model, "--steps", steps, "--batch-size", 8, "--out", out, *args)
    return out


class TestForecast:
    def test_the_days_after_the_file(self, tmp_path: Path) -> None:
        data = sales(tmp_path)
        out = trained(tmp_path, data, "--target", "sold", steps=30)
        assert sorted(file.name for file in out.iterdir()) == [
            "config.json", "model.safetensors", "task.json", "train.json",
        ]  # fmt: skip
        said = good("predict", out)
        assert "predicted from" in said and "2023-06-10" in said and "day" in said and "sold" in said
        good("predict", out, "--out", tmp_path / "ahead.csv")
        ahead = pd.read_csv(tmp_path / "ahead.csv")
        assert list(ahead) == ["day", "sold"] and len(ahead) == open_data(data, "sold").horizon  # type: ignore[attr-defined]
        assert ahead["sold"].between(70, 130).all()

    def test_without_the_training_file(self, tmp_path: Path) -> None:
        data = sales(tmp_path)
        out = trained(tmp_path, data, "--target", "sold")
        before = good("predict", out, data)
        data.rename(tmp_path / "moved.csv")
        code, said = run("predict", out)
        assert code == 2 and f"{data}, which the model was trained on, is gone; name another file" in said
        moved = good("predict", out, tmp_path / "moved.csv")
        assert moved.replace("moved.csv", "sales.csv") == before

    def test_a_file_that_has_grown_is_continued_from_its_new_end(self, tmp_path: Path) -> None:
        data = sales(tmp_path)
        out = trained(tmp_path, data, "--target", "sold")
        sales(tmp_path, 170)
        assert "2023-06-20" in good("predict", out)

    def test_rows_known_ahead_stand_in_a_file_that_future_names(self, tmp_path: Path) -> None:
        frame = pd.read_csv(sales(tmp_path)).assign(promo=np.arange(160) % 9 == 0)
        frame.loc[154:, "sold"] = np.nan
        past, ahead = tmp_path / "past.csv", tmp_path / "week.csv"
        frame[:154].to_csv(past, index=False)
        frame[154:].to_csv(ahead, index=False)
        settings = ["--target", "sold", "--option", "known=promo", "--option", "horizon=6"]
        out = trained(tmp_path, past, *settings)
        wrong(run("predict", out), "; --future FILE names the rows that follow the data")
        assert good("predict", out, "--future", ahead) == good("predict", out, "--option", f"future={ahead}")
        twice = run("predict", out, "--future", ahead, "--option", f"future={ahead}")
        wrong(twice, "--future is given twice")


class TestRows:
    def test_classes_with_probabilities_are_those_of_the_tasks_own_batches(self, tmp_path: Path) -> None:
        data = shapes(tmp_path)
        out = trained(tmp_path, data, "--target", "kind", steps=20)
        good("predict", out, data, "--out", tmp_path / "told.csv")
        told = pd.read_csv(tmp_path / "told.csv")
        assert list(told) == ["row", "kind", "p(high)", "p(low)"] and len(told) == 120
        assert told[["p(high)", "p(low)"]].sum(axis=1).tolist() == pytest.approx([1] * 120, abs=1e-5)
        task, model = open_data(data, "kind"), load_bundle(out).model
        rows = task._index["test"]  # type: ignore[attr-defined]
        batch = next(task.eval_batches("test", 1000))
        with torch.no_grad():
            own = model(batch.inputs).softmax(-1)[:, 0]
        assert told["p(high)"].to_numpy()[rows] == pytest.approx(own.numpy(), abs=1e-5)
        share = (told["kind"][rows] == pd.read_csv(data)["kind"][rows]).mean()
        outputs = own.new_tensor(np.stack([own, 1 - own], 1))
        assert share == pytest.approx(task.metric.value(task.metric.measure(outputs, batch.target)))

    def test_without_the_target_in_another_order(self, tmp_path: Path) -> None:
        data = shapes(tmp_path)
        out = trained(tmp_path, data, "--target", "kind")
        new = pd.read_csv(data).drop(columns="kind")
        new[["x2", "x0", "x1"]].assign(note="new").to_csv(tmp_path / "new.csv", index=False)
        good("predict", out, tmp_path / "new.csv", "--out", tmp_path / "a.csv")
        good("predict", out, data, "--out", tmp_path / "b.csv")
        assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()

    def test_numbers_in_the_users_units(self, tmp_path: Path) -> None:
        data = shapes(tmp_path, target="price")
        out = trained(tmp_path, data, "--target", "price", steps=40)
        good("predict", out, data, "--out", tmp_path / "told.csv")
        told, known = pd.read_csv(tmp_path / "told.csv"), pd.read_csv(data)
        error = (told["price"] - known["price"]).abs().mean()
        assert error == pytest.approx(load_bundle(out).facts["test"], rel=0.5)
        assert error < (known["price"] - known["price"].mean()).abs().mean()

    def test_long_tables_are_cut_on_screen(self, tmp_path: Path) -> None:
        data = shapes(tmp_path)
        said = good("predict", trained(tmp_path, data, "--target", "kind"), data)
        assert "80 more rows: --out FILE.csv writes all" in said and "p(high)" in said


class TestGenerate:
    def test_bytes_are_text_and_a_seed_repeats(self, tmp_path: Path) -> None:
        text = tmp_path / "tale.txt"
        text.write_text("Once upon a time there was a hen. " * 200)
        out = trained(tmp_path, text, "--option", "length=32", steps=60, model="transformer dim=32 depth=1")
        args = ("generate", out, "--prompt", "Once é", "--max-new-tokens", 40)
        one = good(*args, "--seed", 1)
        assert one.startswith("Once é") and one == good(*args, "--seed", 1) != good(*args, "--seed", 2)
        told = load_bundle(out).generate("Once upon a time ", 12, temperature=0)
        assert isinstance(told, str) and len(told.encode()) >= 12
        assert good(*args, "--temperature", 0) == good(*args, "--top-k", 1, "--temperature", 1)

    def test_other_models_take_and_give_tokens(self, tmp_path: Path) -> None:
        out = trained(tmp_path, "recall")
        said = good("generate", out, "--prompt", "1 18 3", "--max-new-tokens", 4, "--top-p", 0.9)
        words = [int(word) for word in said.split()]
        assert words[:3] == [1, 18, 3] and len(words) == 7 and 0 <= min(words) <= max(words) < 32


class TestTraining:
    def test_the_best_model_is_kept(self, tmp_path: Path) -> None:
        data = shapes(tmp_path)
        out = trained(tmp_path, data, "--target", "kind", steps=20)
        bundle, task = load_bundle(out), open_data(data, "kind")
        trainer = Trainer(bundle.model, task, TrainConfig())
        assert trainer.evaluate("valid").value == pytest.approx(bundle.facts["valid"])
        assert trainer.evaluate("test").value == pytest.approx(bundle.facts["test"])
        assert bundle.facts["metric"] == "accuracy" and bundle.facts["source"] == str(data)

    def test_resumed_after_a_kill_is_the_same_as_never_stopped(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"steps": 12, "batch_size": 4, "seed": 3}
        whole = Fit.start(tmp_path / "whole", "recall", MODEL, options={"length": 18}, **settings)
        whole.run()

        class Killed(Exception):
            pass

        def stop(fit: Fit) -> None:
            fit._every = 0.0  # a checkpoint after every step
            if fit.trainer.step == 8:
                raise Killed

        first = Fit.start(tmp_path / "parts", "recall", MODEL, options={"length": 18}, **settings)
        with pytest.raises(Killed):
            first.run(stop)
        load_bundle(tmp_path / "parts")  # usable already
        said = good("train", "--out", tmp_path / "parts", "--resume")
        assert "Saved in" in said
        one, other = load_bundle(tmp_path / "whole"), load_bundle(tmp_path / "parts")
        assert one.facts == other.facts and one.facts["test"] is not None
        for name, value in one.model.state_dict().items():
            assert torch.equal(value, other.model.state_dict()[name]), name
        assert not (tmp_path / "parts" / "checkpoint.pt").exists()
        code, said = run("train", "--out", tmp_path / "parts", "--resume")
        assert code == 2 and "has finished" in said

    def test_kill_9_loses_at_most_an_interval(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        script = (
            "import anyformer.train.checkpoints as often\nfrom anyformer.train import Fit\n"
            "often.SECONDS, often.SHARE = 0.0, 1e9\n"
            f"Fit.start({str(out)!r}, 'recall', {MODEL!r}, steps=100000, batch_size=2).run()"
        )
        process = subprocess.Popen([sys.executable, "-c", script])
        try:
            while not (out / "checkpoint.pt").exists():  # from then on there is always a whole one
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.02)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        fit = Fit.resume(out)
        before = fit.trainer.step
        fit.trainer.run(until=before + 1)
        assert before >= 1 and fit.trainer.step == before + 1

    def test_divergence_is_said_in_a_sentence(self, tmp_path: Path) -> None:
        args = ("--model", "transformer dim=8 depth=1", "--learning-rate", "1e25", "--steps", 20)
        code, said = run("train", "recall", *args, "--out", tmp_path / "out")
        assert code == 2 and "training diverged" in said and "try a lower --learning-rate" in said


def wrong(said: tuple[int, str], message: str) -> None:
    code, text = said
    assert (code == 2 and text.startswith("error: ")) or "Missing option" in text, text
    assert message in text and "Traceback" not in text, text


class TestNextItems:
    """One command each for a model and its answers, on the example data."""

    DATA = Path(__file__).parents[2] / "examples" / "data" / "loans.csv"
    KIND = ("--target", "book", "--option", "kind=next", "--option", "group=reader")

    def test_train_and_predict(self, tmp_path: Path) -> None:
        out = tmp_path / "model"
        said = good("train", self.DATA, "--model", MODEL, "--steps", 4, "--out", out, *self.KIND)
        assert "Tell the book of each reader's next event." in said and f"anyformer predict {out}" in said
        assert "reader" in good("predict", out) and "--option holdout=last asks" in said
        good("predict", out, self.DATA, "--option", "top=3", "--out", tmp_path / "next.csv")
        table = pd.read_csv(tmp_path / "next.csv")
        assert list(table) == ["reader", "rank", "book", "p"] and len(table) == 3 * 200
        assert table["p"].between(0, 1).all() and table.groupby("reader")["p"].sum().max() <= 1.001
        assert set(table["book"]) <= set(pd.read_csv(self.DATA)["book"])
        frame = load_bundle(out).predict(pd.read_csv(self.DATA), options={"top": 1}).table
        assert frame["book"].tolist() == table[table["rank"] == 1]["book"].tolist()

    def test_wrong_options(self, tmp_path: Path) -> None:
        out = trained(tmp_path, self.DATA, *self.KIND)
        wrong(run("predict", out, "--option", "top=0"), "--option top must be greater than or equal to 1")
        wrong(run("predict", out, "--option", "tap=1"), "have no option 'tap'; did you mean 'top'")
        data = shapes(tmp_path)
        wrong(run("predict", out, data), "the model needs the column 'book'")
        rows = trained(tmp_path / "rows", data, "--target", "kind")
        wrong(run("predict", rows, data, "--option", "top=1"), "have no option 'top'")


class TestPairs:
    """One command each for a comparison, a model and its answers, on the example data."""

    DATA = Path(__file__).parents[2] / "examples" / "data" / "words.tsv"
    KIND = ("--target", "latin", "--kind", "translate", "--text", "cyrillic")

    def test_train_and_predict(self, tmp_path: Path) -> None:
        out = tmp_path / "model"
        said = good(
            "train",
            self.DATA,
            "--model",
            "encoder_decoder dim=8 depth=1",
            "--steps",
            4,
            "--out",
            out,
            *self.KIND,
        )
        assert "Write 'latin' from 'cyrillic'." in said and f"anyformer predict {out} DATA" in said
        assert "Also measured, of 256 test samples: character error rate" in said and "chrF" in said
        (tmp_path / "new.tsv").write_text("cyrillic\nда\nжук\n", encoding="utf-8")
        good("predict", out, tmp_path / "new.tsv", "--option", "width=2", "--out", tmp_path / "told.tsv")
        table = pd.read_csv(tmp_path / "told.tsv", sep="\t")
        assert list(table) == ["row", "cyrillic", "latin", "p(latin)"] and table["cyrillic"].tolist() == [
            "да",
            "жук",
        ]
        wrong(
            run("predict", out, tmp_path / "new.tsv", "--option", "width=0"),
            "--option width must be greater than",
        )

    @pytest.mark.usefixtures("brief_costs")
    def test_compare(self, tmp_path: Path) -> None:
        (tmp_path / "few.tsv").write_text(
            "\n".join(self.DATA.read_text("utf-8").split("\n")[:80]) + "\n", "utf-8"
        )
        models, out = "encoder_decoder depth=1", tmp_path / "out"
        budget = ("--budget", "4 steps", "--parameters", 20_000, "--workers", 1)
        said = good("compare", tmp_path / "few.tsv", *self.KIND, "--models", models, *budget, "--out", out)
        for text in ("exact match", "dictionary", "copy", "most frequent", "Also measured", "chrF"):
            assert text in said
        task = json.loads((out / "results.json").read_text())["tasks"][0]["task"]
        assert task["source_length"] > 10 and [one["name"] for one in task["beside"]][1] == "chrF"
        assert "chrF" in (out / "report.html").read_text()


class TestMistakes:
    @pytest.mark.parametrize(
        "args, message",
        [
            (("recall", "--model", "mambo"), "unknown model 'mambo'; did you mean 'mamba'"),
            (("recall", "--model", "[mamba"), "spec '[mamba': expected ']'"),
            (("recal", "--model", MODEL), "did you mean 'recall'"),
            (("recall", "--model", MODEL, "--steps", -5), "steps must be greater than or equal to 1, got -5"),
            (
                ("recall", "--model", MODEL, "--learning-rate", 0),
                "learning_rate must be greater than 0, got 0",
            ),
            (("recall", "--model", MODEL, "--option", "lenth=3"), "has no option 'lenth'"),
            (("recall", "--model", MODEL, "--option", "length"), "must be written name=value"),
            (("recall", "--model", "linformer dim=8"), "cannot do task 'recall'"),
            (("recall",), "name the data or the task, and the model"),
            ((), "name the data or the task, and the model"),
            (("recall", "--resume"), "takes nothing besides --out"),
            (("--resume",), "there is no training in"),
        ],
    )
    def test_of_train(self, tmp_path: Path, args: tuple[object, ...], message: str) -> None:
        wrong(run("train", *args, "--out", tmp_path / "out"), message)
        assert not (tmp_path / "out").exists()

    def test_of_data_and_folders(self, tmp_path: Path) -> None:
        args = ("--model", MODEL, "--out", tmp_path / "out")
        wrong(run("train", tmp_path / "gone.csv", *args), "there is no file or folder")
        wrong(
            run("train", shapes(tmp_path), "--target", "knd", *args),
            "has no column 'knd'; did you mean 'kind'?",
        )
        out = trained(tmp_path, "recall")
        wrong(run("train", "recall", "--model", MODEL, "--out", out), "already holds a training")
        (tmp_path / "compared").mkdir()
        (tmp_path / "compared" / "plan.json").touch()
        compared = ("--model", MODEL, "--out", tmp_path / "compared")
        wrong(run("train", "recall", *compared), "already holds a comparison: name another folder")
        wrong(run("train", "recall", "--model", MODEL, "--out", out / "task.json"), "out must be a folder")
        wrong(run("train", "recall", "--model", MODEL), "Missing option '--out'")

    def test_of_model_folders(self, tmp_path: Path) -> None:
        data = shapes(tmp_path)
        out = trained(tmp_path, data, "--target", "kind")
        wrong(run("predict", tmp_path / "modle", data), "does not exist; did you mean 'model'?")
        wrong(run("predict", data, data), "is a file, not a folder with a model")
        wrong(run("predict", tmp_path, data), "holds no model: there is no config.json in it")
        (tmp_path / "cmp").mkdir()
        out.rename(tmp_path / "cmp" / "winner")
        wrong(run("predict", tmp_path / "cmp", data), "did you mean")
        out = tmp_path / "cmp" / "winner"
        (out / "task.json").rename(out / "kept.json")
        wrong(run("predict", out, data), "without task.json")
        (out / "task.json").write_text("{")
        wrong(run("predict", out, data), "cannot be loaded")
        (out / "kept.json").rename(out / "task.json")
        (out / "model.safetensors").write_bytes(b"junk")
        wrong(run("predict", out, data), "cannot be loaded")

    def test_of_data_to_predict_on(self, tmp_path: Path) -> None:
        data = shapes(tmp_path)
        out = trained(tmp_path, data, "--target", "kind")
        wrong(run("predict", out), "data must name a file with the rows to predict")
        wrong(run("predict", out, tmp_path / "gone.csv"), "there is no file or folder")
        wrong(run("predict", out, sales(tmp_path)), "the model needs the columns 'x0', 'x1', 'x2'")
        wrong(run("predict", out, data, "--out", tmp_path / "none" / "x.csv"), "")
        wrong(run("generate", out, "--prompt", "1"), "answers once a sequence")

    @pytest.mark.parametrize(
        "args, message",
        [
            (("--prompt", "1 99"), "prompt must hold tokens from 0 to 31, got '1 99'"),
            (("--prompt", "1 -2"), "prompt must hold tokens from 0 to 31"),
            (("--prompt", "one"), "prompt must be numbers of tokens such as '1 5 3', got 'one'"),
            (("--prompt", ""), "at least one token"),
            (("--prompt", "1", "--max-new-tokens", -1), "max_new_tokens must not be negative"),
            (("--prompt", "1", "--temperature", -1), "temperature must not be negative"),
            (("--prompt", "1", "--top-k", 0), "top_k must be at least 1"),
            (("--prompt", "1", "--top-p", 2), "top_p must be above 0 and at most 1"),
        ],
    )
    def test_of_generate(self, recall: Path, args: tuple[object, ...], message: str) -> None:
        wrong(run("generate", recall, *args), message)

    def test_generated_tasks_have_nothing_to_predict(self, recall: Path, tmp_path: Path) -> None:
        wrong(run("predict", recall), "continues what it is given: use generate")
        wrong(
            run("predict", trained(tmp_path, "listops", "--option", "length=16")), "generated task 'listops'"
        )


@pytest.fixture(scope="module")
def recall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("recall"), "recall")


def test_the_winner_of_a_comparison_predicts(tmp_path: Path) -> None:
    """What compare saves is the same folder."""
    from anyformer.train import save_bundle

    data = sales(tmp_path)
    out = trained(tmp_path, data, "--target", "sold")
    task = open_data(data, "sold")
    save_bundle(tmp_path / "winner", out, task, source=str(data), candidate="mamba")
    assert good("predict", tmp_path / "winner") == good("predict", out)
    assert json.loads((tmp_path / "winner" / "task.json").read_text())["candidate"] == "mamba"


def test_how_it_is_trained_is_an_option(tmp_path: Path) -> None:
    out, log = tmp_path / "model", tmp_path / "curve.jsonl"
    data = shapes(tmp_path)
    said = good(
        *(
            "train",
            data,
            "--target",
            "kind",
            "--model",
            MODEL,
            "--steps",
            20,
            "--batch-size",
            4,
            "--out",
            out,
        ),
        *("--patience", 2, "--precision", "bfloat16", "--checkpoint-activations", "--log", log),
    )
    assert "Trained in bfloat16: as asked." in said and "of 20, the best in validation" in said
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"train/loss", "train/learning_rate", "valid/accuracy", "test/accuracy"} <= {
        n for one in lines for n in one
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--patience", 10), "--patience must be a number of validations from 1 to 9, got 10"),
        (("--precision", "half"), "precision must be 'auto', 'float32' or 'bfloat16', got 'half'"),
        (("--compile", "--checkpoint-activations"), "compile decides itself what is computed again"),
        (("--log", "curve.txt"), "log must name a file that ends in .jsonl or .csv"),
    ],
)
def test_what_is_no_way_to_train(tmp_path: Path, given: tuple[Any, ...], message: str) -> None:
    code, said = run("train", "lookup", "--model", MODEL, "--out", tmp_path / "model", *given)
    assert code == 2 and message in said
