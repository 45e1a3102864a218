"""A run as a TOML file says it, checked before anything heavy is loaded.

out = "runs/first"            # where the adapter, checkpoints, metrics and the plot go

[base]
path = "models/smollm2"       # a model's folder
dtype = "auto"                # auto (bfloat16 where the machine computes in it), float32, bfloat16, float16
quantise = "none"             # none, nf4 or int8 (bitsandbytes)
online = false                # true: a path that is no folder is a repository on the hub, and is fetched

[data]
train = ["notes/*.txt"]       # text (a file a document), JSON lines, Parquet (a row a document)
evaluation = []               # as train; where it is given, the weights of the lowest loss are kept
column = "text"               # which one of JSON lines and Parquet

[method]
name = "LORA"                 # any of PEFT's names; all other keys are that method's own options
r = 16
target_modules = "all-linear"

[training]                    # every option of tuning.training.options
lr = 2e-4
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from tuning.config import one_of
from tuning.errors import ConfigError, nearest
from tuning.training.options import Options

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTISE = ("none", "nf4", "int8")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Base:
    path: str
    dtype: str = "auto"
    quantise: str = "none"
    online: bool = False

    def __post_init__(self) -> None:
        one_of("base.dtype", self.dtype, DTYPES)
        one_of("base.quantise", self.quantise, QUANTISE)


@dataclass(frozen=True, kw_only=True)
class Data:
    train: list[str]
    evaluation: list[str] | None = None
    column: str = "text"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`method`: its name, and its options by PEFT's names. `folder`: where relative paths start, the file's own."""

    out: str
    base: Base
    data: Data
    method: Mapping[str, Any]
    training: Options
    folder: Path


def read(path: Path) -> Settings:
    """Raises ConfigError, naming what is wrong and what could be meant."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        beside = [entry.name for entry in path.parent.glob("*.toml")]
        raise ConfigError(
            f"there is no {path}{nearest(path.name, beside)}; `python -P -m tuning train --help` shows one"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    _known("", content, ("out", "base", "data", "method", "training"))
    if not isinstance(content.get("out"), str):
        raise ConfigError('out is missing: the folder to write to, as out = "runs/first"')
    method = _table(content, "method")
    if not isinstance(method.get("name"), str):
        raise ConfigError('method.name is missing: which method, as name = "LORA"')
    return Settings(
        out=content["out"],
        base=_made(Base, "base", _table(content, "base")),
        data=_made(Data, "data", _table(content, "data")),
        method=method,
        training=_made(Options, "training", _table(content, "training")),
        folder=path.resolve().parent,
    )


def method_config(method: Mapping[str, Any]) -> Any:
    """The method's config. Loads torch. Raises ConfigError."""
    from tuning.registry import method_named

    kind: Any = method_named(str(method["name"]).upper()).config
    given = {key: value for key, value in method.items() if key != "name"}
    _known("method", given, [entry.name for entry in fields(kind)])
    try:
        return kind(**{"task_type": "CAUSAL_LM", **given})
    except TypeError as error:  # a text where a number has to be
        raise ConfigError(f"[method] has a value of a kind that {kind.__name__} can't take: {error}") from error


def _table(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{name} is a table: [{name}], and its keys below it")
    return found


def _known(table: str, given: Iterable[str], there: Iterable[str]) -> None:
    there = list(there)
    for key in given:
        if key not in there:
            where = f"[{table}]" if table else "the file"
            raise ConfigError(
                f"{where} has a key {key!r} that is unknown{nearest(key, there)}. There are {', '.join(there)}"
            )


def _made(kind: type[T], table: str, given: Mapping[str, Any]) -> T:
    hints = get_type_hints(kind)
    _known(table, given, hints)
    for key, value in given.items():
        if not _is(value, hints[key]):
            raise ConfigError(f"{table}.{key} is {value!r}; it has to be {_named(hints[key])}")
    return _complete(kind, table, given)


def _complete(kind: type[T], table: str, given: Mapping[str, Any]) -> T:
    from dataclasses import MISSING

    listed: Any = kind
    missing = [entry.name for entry in fields(listed) if entry.default is MISSING and entry.name not in given]
    if missing:
        raise ConfigError(f"[{table}] lacks {', '.join(missing)}; `python -P -m tuning train --help` shows what it is")
    return kind(**given)


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_is(value, option) for option in get_args(kind))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (str, bool):
        return isinstance(value, kind)
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _named(kind: Any) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): ""}
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return " or ".join(filter(None, (names.get(option, "a list of texts") for option in options)))
