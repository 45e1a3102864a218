"""A model of its own: the base with an adapter in its weights."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from tuning.config import FILE, PeftConfig
from tuning.errors import CheckpointError, ConfigError
from tuning.files import new_folder


def merge(adapter: Path, out: Path, base: Path | None = None) -> None:
    """Write the folder `out`, whole or not at all. Raises CheckpointError, ConfigError."""
    if out.exists():
        raise ConfigError(f"{out} is there already: name a new folder, or remove it")
    named = base or PeftConfig.from_json_file(adapter / FILE).get("base_model_name_or_path")
    if not named:
        raise CheckpointError(f"{adapter} does not say what its base is: name its folder with --base")
    from tuning.loading import base_model, tokenizer
    from tuning.tasks import PeftModel

    model = base_model(str(named))
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    with new_folder(out) as fresh:
        merged.save_pretrained(fresh)  # pyright: ignore[reportCallIssue]
        tokenizer(str(named)).save_pretrained(fresh)
    Console(stderr=True).print(f"Merged {adapter} into {named}: {out}")
