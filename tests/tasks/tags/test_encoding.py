"""New sentences in, and tags out in the form of the file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tests.tasks.tagging import sentences, write

from anyformer.errors import DataError
from anyformer.tasks import create_task
from anyformer.tasks.readers import load_encoding
from anyformer.tasks.tags.encoding import TagEncoding
from anyformer.train import Bundle, load_bundle, model_for, save_bundle

NAMES = ["B-X", "I-X", "O"]


def columns(**given: Any) -> TagEncoding:
    return TagEncoding(**{"form": "columns", "names": NAMES, "length": 64, "width": 3, "tag": 2, **given})


def told(encoding: TagEncoding, path: Path, tags: str, out: str) -> tuple[pd.DataFrame, Path]:
    """The table, and the file that it is written to, where the model answers with these tags."""
    unseen = encoding.read(path)
    table = encoding.answers(unseen, torch.tensor([NAMES.index(tag) for tag in tags.split()]))
    writer = encoding.writer(unseen)
    assert writer is not None
    writer(table, path.parent / out)
    return table, path.parent / out


def test_columns_get_one_more_whatever_they_have(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    for text, written in {
        "-DOCSTART- -X- O\n\n# id 1\na  N O\nb N\tO \r\n\nc N O": (
            "-DOCSTART- -X- O\n\n# id 1\na  N O B-X\nb N\tO I-X\n\nc N O O"
        ),
        "a N\nb N\n\nc N\n": "a N B-X\nb N I-X\n\nc N O\n",
        "a\nb\n\nc": "a B-X\nb I-X\n\nc O",
    }.items():
        path.write_text(text)
        table, out = told(columns(), path, "B-X I-X O", "told.conll")
        assert out.read_text() == written
        assert table.to_dict("list") == {
            "sentence": [1, 1, 2],
            "word": ["a", "b", "c"],
            "tag": ["B-X", "I-X", "O"],
        }
    path.write_bytes(b"a\r\nb\r\n\r\nc\r\n")
    assert told(columns(), path, "O O O", "told.conll")[1].read_bytes() == b"a O\r\nb O\r\n\r\nc O\r\n"
    path.write_text("a b\n")
    with pytest.raises(DataError, match="has 2 columns; the model needs the 4 that it was trained on"):
        columns(width=4, tag=3).read(path)
    path.write_text("B-X a\nI-X b\n")
    assert columns(width=2, tag=0, word=1).read(path).names["sentence"].tolist() == [1, 1]
    table, out = told(columns(width=3, tag=0, word=1), path, "O O", "told.tsv")
    assert table["word"].tolist() == [
        "B-X",
        "I-X",
    ]  # without the column of tags the words' is one to the left


def test_tables_are_no_columns_of_words(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="was trained on columns of words, and takes a file as that one was"):
        columns().read(tmp_path / "a.csv")


def test_tabs_conllu_packed_files_and_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    path.write_text("# text = New York\n1\tNew York\t_\t_\t_\t_\t_\t_\t_\t_\n\n")
    encoding = columns(width=10, word=1, tag=3, target="UPOS")
    _, out = told(encoding, path, "B-X", "told.conllu")
    assert out.read_text() == "# text = New York\n1\tNew York\t_\tB-X\t_\t_\t_\t_\t_\t_\n\n"
    table, out = told(encoding, path, "B-X", "told.csv")
    assert (
        list(table) == ["sentence", "word", "UPOS"]
        and out.read_text() == "sentence,word,UPOS\n1,New York,B-X\n"
    )
    _, out = told(encoding, path, "B-X", "told.conllu.gz")
    assert gzip.decompress(out.read_bytes()).startswith(b"# text")


@pytest.mark.parametrize("given", [True, False])
def test_records_get_a_field(tmp_path: Path, given: bool) -> None:
    encoding = TagEncoding(form="tokens", names=NAMES, length=64, text="tokens", target="tags")
    records = [{"id": 7, "tokens": ["a", "b"]}, {"id": 8, "tokens": []}]
    for record in records if given else []:
        record["tags"] = ["O"] * len(record["tokens"])  # type: ignore[arg-type]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    unseen = encoding.read(tmp_path / "a.jsonl")
    found = encoding.answers(unseen, torch.tensor([0, 1]))
    assert encoding.writer(unseen) is None
    assert found["tags"].tolist() == [["B-X", "I-X"], []] and ("given_tags" in found) == given
    assert found["id"].tolist() == [7, 8]


def test_spans_come_back_as_spans(tmp_path: Path) -> None:
    encoding = TagEncoding(form="spans", names=NAMES, length=64, text="text", target="spans")
    (tmp_path / "a.jsonl").write_text('{"text": "Ada  Fox ran"}\n')
    found = encoding.answers(encoding.read(tmp_path / "a.jsonl"), torch.tensor([0, 1, 2]))
    assert found["spans"].tolist() == [[{"start": 0, "end": 8, "label": "X"}]]
    (tmp_path / "a.jsonl").write_text('{"text": "  "}\n')
    with pytest.raises(DataError, match="holds no words"):
        encoding.read(tmp_path / "a.jsonl")


def bundle(folder: Path, path: Path, spec: str = "qrnn dim=8") -> Bundle:
    task = create_task(path, length=16)
    save_bundle(folder, model_for(task, spec), task)
    return load_bundle(folder)


@pytest.mark.parametrize("head", ["linear", "crf"])
def test_a_bundle_tags_every_word_whatever_the_batch(tmp_path: Path, head: str) -> None:
    path = write(tmp_path / "letters.conll")
    (tmp_path / "new.conll").write_text("\n".join(f"{'x' * 30}{i}\nab\n" * 9 for i in range(5)))
    made = bundle(tmp_path / "out", path, f"qrnn dim=8 head={head}")
    assert made.encoding == create_task(path, length=16).encoding
    assert load_encoding(made.encoding.model_dump(mode="json")) == made.encoding  # type: ignore[union-attr]
    one, other = (made.predict(tmp_path / "new.conll", batch_size=size) for size in (3, 64))
    assert one.table.equals(other.table) and len(one.table) == 90
    assert one.remarks == [
        "sentences longer than 16 bytes, read in pieces of whole words (a tag does not see beyond its piece): 5",
        "words longer than 16 bytes, which lose their last bytes: 45",
    ]


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    words, tags = sentences(40)
    codes = {"O": 0, "B-X": 1, "B-Y": 2}
    lines = [json.dumps({"tokens": w, "ner_tags": [codes[tag] for tag in t]}) for w, t in zip(words, tags)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = bundle(tmp_path / "out", tmp_path / "a.jsonl").predict(tmp_path / "a.jsonl")
    assert {tag for tags in found.table["ner_tags"] for tag in tags} <= {0, 1, 2}
    found.save(tmp_path / "told.jsonl")
    first = json.loads((tmp_path / "told.jsonl").read_text().splitlines()[0])
    assert list(first) == ["tokens", "given_ner_tags", "ner_tags"] and first["tokens"] == words[0]


def test_nothing_is_generated(tmp_path: Path) -> None:
    made = bundle(tmp_path / "out", write(tmp_path / "letters.conll"))
    with pytest.raises(ValueError, match="answers about data and continues none: use predict"):
        made.generate("a")
