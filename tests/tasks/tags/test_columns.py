"""Files of columns: what is a word, a sentence, a document, a comment."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyformer.errors import DataError
from anyformer.tasks.tags.columns import read_columns

CONLLU = """# sent_id = 1
# text = I don't
1\tI\ti\tPRON\tPRP\t_\t2\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t0\troot\t_\t_
3\tn't\tnot\tPART\tRB\t_\t2\tadvmod\t_\t_
3.1\tgo\tgo\tVERB\t_\t_\t_\t_\t_\t_

# newdoc
1\tNew York\t_\tPROPN\t_\t_\t0\troot\t_\t_

"""


def file(folder: Path, text: str, name: str = "a.conll") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_words_sentences_and_documents(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\nEU NNP B-ORG\n# NN O\n\n\n-DOCSTART- -X- O\n\nhi\tUH  O\n"
    text += "# a comment of mine here\r\nyou PRP O"
    found = read_columns(file(tmp_path, text))
    assert found.column(0) == [["EU", "#"], ["hi", "you"]] and found.column(2) == [["B-ORG", "O"], ["O", "O"]]
    assert found.documents == [1, 2] and found.width == 3 and found.names == []
    assert (found.default_word(), found.default_tag()) == (0, 2)
    assert found.remarks == ["lines that begin with #, taken for comments: 1"]


def test_what_is_a_comment(tmp_path: Path) -> None:
    """A line with # in front that has as many columns as words is one, unless its tag is that of no word."""
    found = read_columns(file(tmp_path, "# id 1\na N O\nb N O\n# N O\n\nc N O\n"))
    assert found.column(0) == [["a", "b", "#"], ["c"]]
    words = read_columns(file(tmp_path, "a\n#\nb\n\n#c\n"))
    assert words.column(0) == [["a", "#", "b"], ["#c"]]


def test_conllu(tmp_path: Path) -> None:
    found = read_columns(file(tmp_path, CONLLU, "a.conllu"))
    assert found.column(found.default_word()) == [["I", "do", "n't"], ["New York"]]
    assert found.column(found.default_tag()) == [["PRON", "AUX", "PART"], ["PROPN"]]
    assert found.documents == [0, 1] and found.place("target", "xpos") == found.place("target", "5") == 4
    assert found.called(3) == "column 4 (UPOS)"
    assert found.remarks == [
        "ranges of words and empty nodes, such as 1-2 and 1.1, left out: 2",
        "lines that begin with #, taken for comments: 3",
    ]


def test_columns_that_the_file_names_and_numbers_of_words(tmp_path: Path) -> None:
    text = "# global.columns = ID FORM NER\n1\ta\tO\n2\tb\tB-X\n\n1\tc\tO\n"
    found = read_columns(file(tmp_path, text, "a.conllup"))
    assert found.names == ["ID", "FORM", "NER"] and found.default_word() == 1 and found.default_tag() == 2
    counted = read_columns(file(tmp_path, "1 a O\n2 b B-X\n\n1 c O\n"))
    assert counted.default_word() == 1
    assert read_columns(file(tmp_path, "1 a O\n3 b B-X\n\n1 c O\n")).default_word() == 0


@pytest.mark.parametrize(
    "text, said",
    [
        ("a O\nb O\nc\n", r"line 3 has 1 column, where most have 2 \(separated by blanks\): 'c'"),
        ("a\tO\nb\tO\nc d\tO\te\n", r"line 3 has 3 columns, where most have 2 \(separated by tabs\)"),
        ("\n \n", "holds no words"),
        ("-DOCSTART- O\n", "holds no words"),
        ("\ufeff", "holds no words"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_columns(file(tmp_path, text))
    (tmp_path / "b.conll").write_bytes(b"a O\n\xff O\n")
    with pytest.raises(DataError, match=r"byte 4 \(0xff\) is not UTF-8 text"):
        read_columns(tmp_path / "b.conll")


def test_columns_by_number_and_name(tmp_path: Path) -> None:
    found = read_columns(file(tmp_path, "a O\nb O\n"))
    assert found.place("target", 2) == found.place("target", " 2 ") == 1
    for given, said in {
        "3": "must be a column from 1 to 2 of .*, got 3",
        "0": "must be a column from 1 to 2",
        "-1": "must be a column from 1 to 2",
        "ner": "has no column 'ner'; its columns have no names, only numbers from 1 to 2",
    }.items():
        with pytest.raises(DataError, match=f"target.*{said}"):
            found.place("target", given)
    named = read_columns(file(tmp_path, CONLLU, "a.conllu"))
    with pytest.raises(DataError, match="has no column 'upo'; the columns are ID, .*did you mean 'UPOS'"):
        named.place("target", "upo")


def test_packed(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.conll.gz").write_bytes(gzip.compress(b"a O\nb O\n"))
    assert read_columns(tmp_path / "a.conll.gz").column(0) == [["a", "b"]]
