"""Sentences whose tags the first letters of words tell."""

from __future__ import annotations

import random
from pathlib import Path


def sentences(count: int = 200, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Words of one to four letters: X from a to c, Y from d to f, O others; all spans are of one word."""
    draw = random.Random(seed)
    words, tags = [], []
    for _ in range(count):
        own = ["".join(draw.choices("abcdefgh", k=draw.randint(1, 4))) for _ in range(draw.randint(2, 5))]
        words.append(own)
        tags.append(["B-X" if word[0] in "abc" else "B-Y" if word[0] in "def" else "O" for word in own])
    return words, tags


def columns(words: list[list[str]], tags: list[list[str]], between: str = " ") -> str:
    """The text of a file of two columns."""
    blocks = ["".join(f"{w}{between}{t}\n" for w, t in zip(*pair)) for pair in zip(words, tags)]
    return "\n".join(blocks)


def write(path: Path, count: int = 60, seed: int = 0) -> Path:
    """Write a file of two columns."""
    path.write_text(columns(*sentences(count, seed)))
    return path
