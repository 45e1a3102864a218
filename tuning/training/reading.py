"""Texts to train on, from files: plain text (a file a document), JSON lines and Parquet (a row a document)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.interpreter import missing
from tuning.errors import ConfigError, LibraryMissing, nearest


def texts(patterns: Sequence[str], column: str = "text", folder: Path | None = None) -> list[str]:
    """The documents of all files that the patterns name, in the order of names. Raises ConfigError, LibraryMissing."""
    found: list[str] = []
    for path in _files(patterns, folder or Path()):
        read = READERS.get(path.suffix, _plain)
        try:
            found += [text for text in read(path, column) if text.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} can't be read: {error}") from error
    if not found:
        raise ConfigError(f"the files of {', '.join(patterns)} hold no text")
    return found


def _files(patterns: Sequence[str], folder: Path) -> list[Path]:
    files: list[Path] = []
    for pattern in patterns:
        where = (folder / pattern).absolute()
        there = sorted(path for path in Path(where.anchor).glob(str(where.relative_to(where.anchor))) if path.is_file())
        if not there:
            beside = [path.name for path in (folder / pattern).parent.glob("*")]
            raise ConfigError(f"no file is named {folder / pattern}{nearest(Path(pattern).name, beside)}")
        files += there
    return files


def _plain(path: Path, column: str) -> Iterator[str]:
    yield path.read_text(encoding="utf-8")


def _json_lines(path: Path, column: str) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{path}:{number} is no JSON: {error}") from error
            if not isinstance(row, dict) or not isinstance(row.get(column), str):
                keys = list(row) if isinstance(row, dict) else []
                raise ConfigError(
                    f"{path}:{number} has no text {column!r}; it has {', '.join(map(repr, keys)) or 'no keys'}. Name another as data.column"
                )
            yield row[column]


def _parquet(path: Path, column: str) -> Iterator[str]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise LibraryMissing("Parquet: " + missing("pyarrow", extra="corpus")) from error
    try:
        names: Any = parquet.ParquetFile(path).schema_arrow.names
        if column not in names:
            raise ConfigError(
                f"{path} has no column {column!r}; it has {', '.join(map(repr, names))}. Name another as data.column"
            )
        for batch in parquet.ParquetFile(path).iter_batches(columns=[column]):
            yield from (str(text) for text in batch.column(0).to_pylist() if text is not None)
    except ArrowInvalid as error:
        raise ConfigError(f"{path} is no Parquet file: {error}") from error


READERS: Mapping[str, Callable[[Path, str], Iterator[str]]] = {
    **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
    ".parquet": _parquet,
}


def tokenised(tokenizer: Any, documents: Sequence[str]) -> list[list[int]]:
    """Token ids, with the tokenizer's end of a text behind each document."""
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    found: list[list[int]] = []
    for start in range(0, len(documents), 512):
        encoded = tokenizer(list(documents[start : start + 512]), add_special_tokens=False)["input_ids"]
        found += [[*ids, *end] for ids in encoded]
    return found
