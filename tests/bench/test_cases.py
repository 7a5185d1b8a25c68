"""Cases of ``anyformer bench real``."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyformer.bench.cases import cases_in


def test_known_files_and_listed_cases(tmp_path: Path) -> None:
    (tmp_path / "ETTh1.csv").write_text("date,OT\n")
    (tmp_path / "mine.csv").write_text("a\n")
    cases, left_out = cases_in(tmp_path)
    assert left_out == ["mine.csv"] and len(cases) == 4
    assert cases[0].options["horizon"] == 96 and cases[0].options["drop"][-1] == "LULL"
    assert cases[2].target == [*cases[0].options["drop"], "OT"] and "drop" not in cases[2].options
    (tmp_path / "cases.yaml").write_text("- {data: mine.csv, target: a}\n- {data: ETTh1.csv, name: short}\n")
    cases, left_out = cases_in(tmp_path)
    assert [case.title for case in cases] == ["mine.csv", "short"] and not left_out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is no YAML"),
        ("a: 1", "must be a list of cases"),
        ("- {target: y}", "case 1: data: Field required"),
        ("- {data: a.csv, tarket: y}", "case 1: tarket: Extra inputs"),
        ("- {data: ''}", "case 1: data must be a file or folder in that folder, got ''"),
        ("- {data: ../a.csv}", "case 1: data must be a file or folder in that folder"),
        ("- {data: b.csv}", "case 1: there is no 'b.csv'"),
        ("- {data: a.csv}\n- {data: a.csv, target: y}", "'a.csv' is the name of two cases"),
    ],
)
def test_wrong_cases_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text("a\n")
    (tmp_path / "cases.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        cases_in(tmp_path)


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has neither a cases.yaml nor a file known by name"):
        cases_in(tmp_path)
