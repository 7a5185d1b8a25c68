"""The scheme of tags, found and said."""

from __future__ import annotations

import pytest

from anyformer.tasks.tags.schemes import scheme_of


@pytest.mark.parametrize(
    "sentences, scheme, said",
    [
        (["B-X I-X O", "O B-Y"], "BIO", []),
        (
            ["B-X I-X O", "O I-Y"],
            "BIO",
            ["I- tags that follow no tag of their span, where one begins as in conlleval: 1"],
        ),
        (["I-X I-X O", "I-X B-X O"], "IOB1", []),
        (["I-X I-X O", "O I-Y"], "IO", []),
        (
            ["B-X E-X O", "S-X I-X"],
            "IOBES",
            ["places where tags form no whole span, counted as in conlleval: 2"],
        ),
        (["B-X I-X E-X", "S-X O"], "IOBES", []),
        (["B-X I-X L-X", "U-X O"], "BILOU", []),
        (["B-X M-X E-X", "S-X O"], "BMES", []),
        (["DET NOUN", "VERB"], "", []),
        (
            ["B-X B-Y B-Z I-X I-Y I-Z O B-W I-W _"],
            "",
            ["all are read as plain tags, not as spans, as beside tags such as B-X there are: '_'"],
        ),
    ],
)
def test_schemes(sentences: list[str], scheme: str, said: list[str]) -> None:
    found, remarks = scheme_of([tags.split() for tags in sentences])
    assert (found, remarks) == (scheme, said)
