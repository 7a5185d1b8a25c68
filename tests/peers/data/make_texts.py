"""Writes texts.json: chrF of sacrebleu 2.6.0 and character error rates of jiwer 4.0.0, as numbers to compare with.

Run with both installed: python make_texts.py texts.json
"""

from __future__ import annotations

import json
import random
import sys

import jiwer
import sacrebleu


def corpus(seed: int) -> dict[str, object]:
    draw = random.Random(seed)
    letters = "abcdeäß ß日e" if seed % 2 else "ab c"
    right, written = [], []
    for _ in range(12):
        text = "".join(draw.choice(letters) for _ in range(draw.randint(1, 14))).strip() or "a"
        other = [c for c in text if draw.random() > 0.2]
        for _ in range(draw.randint(0, 3)):
            other.insert(draw.randint(0, len(other)), draw.choice(letters))
        right.append(text)
        written.append("".join(other).strip())
    if seed == 3:
        written = ["" for _ in written]
    keep = jiwer.Compose([jiwer.ReduceToListOfListOfChars()])
    rate = jiwer.process_characters(right, written, reference_transform=keep, hypothesis_transform=keep).cer
    return {
        "right": right,
        "written": written,
        "chrf": sacrebleu.corpus_chrf(written, [right]).score,
        "cer": rate,
    }


with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump([corpus(seed) for seed in range(6)], file, ensure_ascii=False, indent=1)
