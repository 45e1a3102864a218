"""What an adapter on disk is, read from its config and the headers of its files: no weights are loaded, and no torch."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tuning.config import FILE, PeftConfig
from tuning.errors import CheckpointError

QUIET = (None, False, {}, [], "none")  # options that are off
NOT_OPTIONS = (
    "peft_type",
    "peft_version",
    "task_type",
    "base_model_name_or_path",
    "inference_mode",
    "auto_mapping",
    "target_modules",
    "revision",
)


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """`targets`: a layer's path without its number -> how many there are. `base_parameters` is None where the base is not here."""

    method: str
    options: Mapping[str, Any]
    targets: Mapping[str, int]
    parameters: int
    size: int
    base: str | None
    base_parameters: int | None


def inspect(adapter: Path, base: Path | None = None) -> Inspected:
    """Raises CheckpointError."""
    config = PeftConfig.from_json_file(adapter / FILE)
    shapes = _shapes(adapter.glob("adapter_model*.safetensors"))
    if not shapes:
        raise CheckpointError(f"{adapter} has no adapter_model.safetensors: it is no adapter, or was not copied whole")
    named = config.get("base_model_name_or_path")
    folder = base or (Path(named) if named else None)
    of_base = _shapes(folder.glob("*.safetensors")) if folder and folder.is_dir() else {}
    return Inspected(
        method=str(config.get("peft_type")),
        options={key: value for key, value in config.items() if value not in QUIET and key not in NOT_OPTIONS},
        targets=_targets(shapes),
        parameters=sum(map(prod, shapes.values())),
        size=sum(path.stat().st_size for path in adapter.glob("adapter_model*.safetensors")),
        base=str(base) if base else named,
        base_parameters=sum(map(prod, of_base.values())) or None,
    )


def _shapes(files: Iterable[Path]) -> dict[str, list[int]]:
    """A tensor's name -> its shape, of safetensors files (https://huggingface.co/docs/safetensors: a length, a JSON header, data)."""
    found: dict[str, list[int]] = {}
    for path in files:
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if length > path.stat().st_size:
                    raise ValueError("its header is cut short")
                header = json.loads(file.read(length))
            found |= {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        except (OSError, ValueError, struct.error, KeyError, AttributeError) as error:
            raise CheckpointError(f"{path} is no safetensors file: {error}") from error
    return found


def _targets(shapes: Iterable[str]) -> dict[str, int]:
    layers = {
        re.split(r"\.(?=lora_|ia3_|hada_|lokr_|vera_|oft_|boft_|hra_|miss_|randlora_|fourierft_|ln_|trainable_)", name)[
            0
        ]
        for name in shapes
    }
    found: dict[str, int] = {}
    for layer in sorted(layers):
        kind = re.sub(r"\.\d+\.", ".N.", layer.removeprefix("base_model.model."))
        found[kind] = found.get(kind, 0) + 1
    return found


def show(adapter: Path, base: Path | None = None) -> None:
    """Print it as a table. Raises CheckpointError."""
    found = inspect(adapter, base)
    table = Table(title=str(adapter), show_header=False, title_justify="left")
    table.add_row("method", found.method)
    table.add_row(
        "options", ", ".join(f"{key} = {json.dumps(value)}" for key, value in sorted(found.options.items())) or "none"
    )
    table.add_row("targets", "\n".join(f"{count:>4} × {kind}" for kind, count in found.targets.items()))
    table.add_row("parameters", f"{found.parameters:,}")
    table.add_row("size", f"{found.size / 1e6:.1f} MB")
    table.add_row("base", found.base or "not named")
    if found.base_parameters:
        table.add_row(
            "share of the base", f"{found.parameters / found.base_parameters:.2%} of {found.base_parameters:,}"
        )
    else:
        table.add_row("share of the base", "unknown: the base's weights are not here; name its folder with --base")
    Console().print(table)
