"""The commands of the page on nine kinds of data: training for a few steps, and predictions in the data's form."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from anyformer.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kinds.md").read_text(encoding="utf-8")
SECTIONS = {
    title: [shlex.split(line)[1:] for line in block.replace("\\\n", " ").splitlines()]
    for title, block in re.findall(r"^## (.+?)\n.*?```sh\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
}
HEADS = {
    "sales-model": "shop,item,day,sold_q0.1,sold_q0.5,sold_q0.9",
    "visits-model": "visitor,subscribed,p(no),p(yes)",
    "gestures-model": "row,gesture,p(push),p(shake),p(swing)",
    "words-model": "row\tcyrillic\tlatin\tp(latin)",
    "strokes-model": "file,class,p(falling),p(flat),p(rising),p(upright)",
    "loans-model": "reader,rank,book,p",
}


def data_of(command: list[str]) -> list[str]:
    """The words of a command about data: what it names, and its options but for those of the training."""
    found, rest = [], command[1:]
    while rest:
        word = rest.pop(0)
        if word in ("--budget", "--out", "--model", "--models"):
            rest.pop(0)
        else:
            found.append(word)
    return found


def test_there_are_nine_with_a_picture_each() -> None:
    pictures = re.findall(r"!\[[^\]]{20,}\]\((images/kind_\w+\.svg)\)", PAGE)
    assert len(SECTIONS) == len(set(pictures)) == 9
    assert all((ROOT / "docs" / picture).exists() for picture in pictures)


@pytest.mark.parametrize("title", SECTIONS)
def test_its_commands(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare, train, predict = SECTIONS[title]
    assert (compare[0], train[0], predict[0]) == ("compare", "train", "predict")
    assert data_of(compare) == data_of(train) and train[-1] == predict[1]
    source = tmp_path / train[1]
    source.parent.mkdir(parents=True)
    (shutil.copytree if (ROOT / train[1]).is_dir() else shutil.copyfile)(ROOT / train[1], source)
    if source.suffix == ".tsv":  # each word is written letter by letter
        source.write_text(
            "".join(source.read_text(encoding="utf-8").splitlines(True)[:150]), encoding="utf-8"
        )
    monkeypatch.chdir(tmp_path)
    for command in ([*train, "--steps", "4"], predict):
        done: Any = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    written = (tmp_path / predict[-1]).read_text(encoding="utf-8").splitlines()
    assert len(written) > 30
    if train[-1] in HEADS:
        assert written[0] == HEADS[train[-1]]
