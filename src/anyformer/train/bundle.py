"""A trained model with its task's encoding: saved as a folder, and used from there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors import SafetensorError

from anyformer import user_code
from anyformer.files import file_digest, whole_folder
from anyformer.generate import generate
from anyformer.models import SequenceModel
from anyformer.precision import widen
from anyformer.registry import nearest
from anyformer.tables.files import check_exists
from anyformer.tasks import Task
from anyformer.tasks.encoding import Encoding
from anyformer.tasks.memory import IN_MEMORY, Memory, on_disk
from anyformer.tasks.readers import load_encoding
from anyformer.tasks.text import ByteTask
from anyformer.tokenizers import FILE as TOKENIZER
from anyformer.tokenizers import TextTokenizer
from anyformer.train.models import outputs_of

if TYPE_CHECKING:
    from pandas import DataFrame

    from anyformer.tables.delimited import DelimitedStyle

FILES = ("config.json", "model.safetensors")
FACTS = "task.json"
SAVING, SAVED = ".saving", ".saved"
"""Subfolders of a bundle: for files that are being written, and for complete ones that are being moved."""


def save_bundle(folder: str | Path, model: SequenceModel | Path, task: Task, **facts: Any) -> None:
    """Write a model, and the meaning of its inputs and outputs, into a folder.

    The files are ``config.json`` and ``model.safetensors``, of :meth:`SequenceModel.save_pretrained`, and
    ``task.json`` with the ``facts``, the kind of inputs (``inputs``: ``"bytes"``, ``"text"``, ``"tokens"``,
    ``"numbers"`` or ``"fields"``) and the task's ``encoding``, so that predictions do not need the training data; and
    ``tokenizer.json``, if the user's tokenizer reads the ``"text"``. After a kill the folder holds the old bundle or
    the new one, never a mixture: new files are completed in a subfolder, and the next process that opens the bundle
    finishes moving them (:func:`complete_bundle`).

    Args:
        folder: created if missing; other files in it stay.
        model: the model, or a folder that it was saved to.
        task: what it was trained on.
        facts: ready for JSON.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    complete_bundle(folder)
    with whole_folder(folder / SAVED, temporary=folder / SAVING) as temporary:
        if isinstance(model, Path):
            shutil.copytree(model, temporary)
        else:
            model.save_pretrained(temporary)
        user_code.save_code(_reader_of(facts), temporary)
        inputs = "bytes" if isinstance(task, ByteTask) else "tokens"
        if task.tokenizer is not None:
            inputs = "text"
            (temporary / TOKENIZER).write_text(task.tokenizer.json, encoding="utf-8")
        if task.vocab_size is None:
            inputs = "numbers" if task.stream is None else "fields"
        encoding = None
        if task.encoding is not None:
            encoding = task.encoding.model_dump(mode="json", exclude_none=True, exclude={"tokenizer"})
        held = {"task": task.name, "title": task.title, **facts, "inputs": inputs, "encoding": encoding}
        files = [*FILES, TOKENIZER][: None if task.tokenizer else len(FILES)]
        held["files"] = {name: file_digest(temporary / name) for name in files} | {FACTS: _digest(held)}
        (temporary / FACTS).write_text(json.dumps(held, indent=1), encoding="utf-8")
        code = temporary / user_code.FOLDER
        if code.is_dir():  # named by content: nothing is overwritten
            shutil.copytree(code, folder / user_code.FOLDER, dirs_exist_ok=True)
            shutil.rmtree(code)
        for rest in set(os.listdir(temporary)) - {*files, FACTS, user_code.INDEX}:
            (temporary / rest).unlink()
    complete_bundle(folder)  # from here on the new bundle is valid


def complete_bundle(folder: Path) -> None:
    """Finish moving the files of a bundle, if :func:`save_bundle` was killed while it did so."""
    saved = folder / SAVED
    if not saved.is_dir():
        return
    with contextlib.suppress(FileNotFoundError):  # another process does the same
        for name in sorted(os.listdir(saved)):
            os.replace(saved / name, folder / name)
        saved.rmdir()


@dataclass(frozen=True)
class Predictions:
    """Predictions of a model for a file.

    Attributes:
        table: a row for each sequence, or for each step that is forecast: its name, the prediction, and for a class the
            probability of each.
        data: the file.
        remarks: decisions made about the data.
        style: the format of the file, if it is one of delimited text.
        write: writes a table as the data is written, if it is no table.
    """

    table: DataFrame
    data: Path
    remarks: list[str]
    style: DelimitedStyle
    write: Callable[[DataFrame, Path], None] | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table in the format of the data: its separator, quotes, decimal mark and encoding."""
        from anyformer.tables.writing import write_table

        if self.write is not None:
            self.write(self.table, Path(path))
        else:
            write_table(self.table, Path(path), self.style)


@dataclass(frozen=True)
class Bundle:
    """A model loaded from a folder.

    Attributes:
        folder: its folder.
        model: in evaluation mode.
        facts: from its ``task.json``; empty if it has none.
        encoding: turns a file into the model's inputs, if it was trained on one.
        tokenizer: the user's, if it was trained on its tokens.
    """

    folder: Path
    model: SequenceModel
    facts: dict[str, Any] = field(default_factory=dict)
    encoding: Encoding | None = None
    tokenizer: TextTokenizer | None = None

    def predict(
        self,
        data: str | os.PathLike[str] | list[str] | list[Path] | Memory | None = None,
        *,
        batch_size: int = 64,
        options: Mapping[str, Any] | None = None,
    ) -> Predictions:
        """Forecast what follows the data, or predict the class or the numbers of each of its sequences.

        Args:
            data: a file or folder of the format that the model was trained on, a DataFrame (whose index the rows of the
                answer get), an array x, a ``Dataset`` of x or of pairs (x, y), or a list of paths of images; for
                forecasts and next items by default the file that the model was trained on, in its present state.
            batch_size: sequences at a time.
            options: of the predictions: for next items ``top``, their number for each user; for texts that are written
                ``width``, the hypotheses of the beam search; for forecasts ``future``, a file with the rows after the
                data's end, which say what is known ahead.

        Raises:
            ValueError: the model doesn't predict, or the data cannot be used; one sentence says why.
        """
        if isinstance(data, list):
            files = pd.DataFrame({"file": [os.fspath(path) for path in data]})
            return self.predict(files, batch_size=batch_size, options=options)
        if isinstance(data, IN_MEMORY):
            with tempfile.TemporaryDirectory() as folder, on_disk(data, Path(folder), targets=False) as path:
                said = self.predict(path, batch_size=batch_size, options=options)
            if isinstance(data, pd.DataFrame) and "row" in said.table and len(said.table) == len(data):
                return replace(said, table=said.table.set_axis(data.index))
            return said
        encoding, path = self._encoding().with_options(options or {}), self._data(data)
        unseen = encoding.read(check_exists(path))
        device = next(self.model.parameters()).device
        outputs = []
        with torch.no_grad():
            for part in unseen.parts(batch_size):
                part = part.to(device)
                if encoding.decodes:
                    outputs.append(encoding.decode(self.model, part).cpu())
                    continue
                found = part.allowed(self.model.head.answer(widen(outputs_of(self.model, part)), part.asked))
                found = found / self.facts.get("temperature", 1.0)
                outputs.append(encoding.kept(found, part.asked).cpu())
        table = encoding.answers(unseen, torch.cat(outputs))
        return Predictions(table, path, unseen.remarks, unseen.style, encoding.writer(unseen))

    def generate(
        self,
        prompt: str,
        max_new_tokens: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> str:
        """Return the continuation of a prompt; see :func:`anyformer.generate.generate`.

        A model of bytes takes and returns text, with a replacement character for bytes that are not UTF-8, and so does
        one of a tokenizer's tokens. Others take and return token ids separated by spaces, ``"1 5 3"``.

        Raises:
            ValueError: the model doesn't generate, or an argument is wrong.
        """
        if self.model.vocab_size is None or self.model.pool is not None:
            raise ValueError(
                f"{str(self.folder)!r} holds a model that answers once a sequence and continues none: use predict"
            )
        if self.model.source is not None:
            raise ValueError(f"{str(self.folder)!r} holds a model that answers to a source: use predict")
        if self.encoding is not None:
            raise ValueError(
                f"{str(self.folder)!r} holds a model that answers about data and continues none: use predict"
            )
        text = self.facts.get("inputs") in ("bytes", "text")
        if self.tokenizer is not None:
            tokens = self.tokenizer.encode([prompt])[0].ids.tolist()
        else:
            tokens = list(prompt.encode()) if text else _tokens(prompt, self.model.vocab_size)
        if not tokens:
            raise ValueError(
                f"prompt must hold at least one {'character' if text else 'token'}, got {prompt!r}"
            )
        device = next(self.model.parameters()).device
        generator = torch.Generator(device)
        generator.seed() if seed is None else generator.manual_seed(seed)
        new = generate(
            self.model,
            torch.tensor([tokens], device=device),
            max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=generator,
        )[0].tolist()
        if self.tokenizer is not None:
            return self.tokenizer.continued(tokens, new)
        return bytes(new).decode("utf-8", errors="replace") if text else " ".join(map(str, new))

    def _encoding(self) -> Encoding:
        if self.encoding is not None:
            return self.encoding
        where = f"{str(self.folder)!r} holds a model"
        if not self.facts:
            raise ValueError(f"{where} without {FACTS}, so that it is not known what it predicts")
        if self.model.pool is None:
            raise ValueError(f"{where} that continues what it is given: use generate")
        raise ValueError(
            f"{where} of the generated task {self.facts['task']!r}, which has no data to predict on"
        )

    def _data(self, data: str | os.PathLike[str] | None) -> Path:
        if data is not None:
            return Path(data)
        source = self.facts.get("source")
        if self.encoding is None or not self.encoding.continues or source is None:
            raise ValueError("data must name a file with the rows to predict")
        if not Path(source).exists():
            raise ValueError(
                f"data: {source}, which the model was trained on, is gone; name another file to continue"
            )
        return Path(source)


def load_bundle(folder: str | os.PathLike[str], *, trust_code: bool = False) -> Bundle:
    """Load the model in a folder, with its task's encoding.

    Args:
        folder: as :func:`save_bundle` wrote it.
        trust_code: run the Python files that the folder names; without it such a folder is refused.

    Raises:
        ValueError: there is no model, or it cannot be read; one sentence says why.
    """
    folder = Path(folder)
    complete_bundle(folder)
    _check_folder(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the hub's loader prints
            _json(folder / FILES[0])
            model = SequenceModel.from_pretrained(folder, strict=True, trust_code=trust_code)
        facts = _facts(folder) if (folder / FACTS).exists() else {}
        encoding = None
        if facts.get("encoding"):
            reader = user_code.trusted_config(_reader_of(facts), folder, trust_code=trust_code, where=FACTS)
            encoding = load_encoding(facts["encoding"], reader)
        tokenizer = None
        if facts.get("inputs") == "text":
            tokenizer = TextTokenizer((folder / TOKENIZER).read_text(encoding="utf-8"))
            if encoding is not None:
                encoding = encoding.model_copy(update={"tokenizer": tokenizer.json})
    except (ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the model in {str(folder)!r} cannot be loaded: {reason[:300]}") from None
    return Bundle(folder, model.eval(), facts, encoding, tokenizer)


def _reader_of(facts: dict[str, Any]) -> str | None:
    """Return the reader that the user named for the data of a bundle; None if it was found by the data."""
    named: str | None = (facts.get("options") or {}).get("reader")
    return named


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a file of a bundle; ``ValueError`` with the file's name if it holds none."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from None
    if not isinstance(held, dict):
        raise ValueError(f"{path.name} is damaged: it must hold an object, got {type(held).__name__}")
    return held


def _digest(facts: dict[str, Any]) -> str:
    """Hash the facts of a bundle, without the digests in them."""
    text = json.dumps({name: fact for name, fact in facts.items() if name != "files"}, sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _facts(folder: Path) -> dict[str, Any]:
    """Return the facts in a bundle's ``task.json``.

    Raises:
        ValueError: it, or another file, is not the one that the bundle was saved with.
    """
    facts = _json(folder / FACTS)
    own = _digest(facts)
    digests = facts.pop("files", {})
    if not isinstance(digests, dict):
        raise ValueError(f"{FACTS} is damaged: files must hold an object, got {type(digests).__name__}")
    for name in {*FILES, FACTS, TOKENIZER} & set(digests):
        if not (folder / name).is_file():
            raise ValueError(f"there is no {name} in it, which was saved with the others")
        if digests[name] != (own if name == FACTS else file_digest(folder / name)):
            raise ValueError(
                f"{name} is not the file that was saved with the others; it is damaged, edited or was replaced"
            )
    return facts


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        names = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        close = nearest(folder.name, names) if not folder.exists() else ""
        kind = "is a file, not a folder with a model" if folder.exists() else "does not exist"
        raise ValueError(f"model: {str(folder)!r} {kind}{close if 'did you mean' in close else ''}")
    absent = [name for name in FILES if not (folder / name).is_file()]
    if absent:
        inner = [str(file.parent) for file in sorted(folder.glob("winner/**/config.json"))]
        remedy = f"; did you mean {' or '.join(map(repr, inner))}?" if inner else ""
        raise ValueError(f"model: {str(folder)!r} holds no model: there is no {absent[0]} in it{remedy}")


def _tokens(prompt: str, vocab_size: int) -> list[int]:
    try:
        tokens = [int(word) for word in prompt.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"prompt must be numbers of tokens such as '1 5 3', got {prompt!r}") from None
    if tokens and not 0 <= min(tokens) <= max(tokens) < vocab_size:
        raise ValueError(f"prompt must hold tokens from 0 to {vocab_size - 1}, got {prompt!r}")
    return tokens
