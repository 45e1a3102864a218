"""Which adapters a base is given, as a user says it, and the base with them in its weights.

    SPEC = [LABEL=]ADAPTER[@WEIGHT][,…]      ADAPTER: a folder in PEFT's format, or the name of an installed one

Several are stacked in their order; with weights they are summed, which LoRA adapters can be. "" is what comes with Starling for the
default base (`SHIPPED`, trained to rank in its languages), "none" is the base alone. What `train` makes for the default base stands
on SHIPPED, and its card says so; a folder without a card stands on the base alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tuning.errors import AdapterError
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.model_store import is_default

NONE = "none"
CONFIG = "adapter_config.json"
SHIPPED = Path(__file__).with_name("adapter")
LABEL = re.compile(r"[\w-]+=")
WEIGHT = re.compile(r"@(-?\d+(?:\.\d+)?)\Z")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One adapter of several."""

    folder: Path
    weight: float


def shipped(base: str | Path) -> str:
    """What stands for the adapter that comes with Starling for this base: its digest; "" where none does."""
    file = SHIPPED / "adapter_model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if is_default(base) and file.is_file() else ""


def stack(base: str | Path, spec: str) -> list[Wanted]:
    """All that goes into a base's weights by a text, in its order: SHIPPED beneath where that belongs. Raises AdapterError, AdapterRegistryError."""
    wanted, there = parsed(spec), shipped(base)
    beneath = {adapter_registry.beneath(one.folder) for one in wanted} if spec else {there}
    if unknown := beneath - {"", there}:
        names = ", ".join(str(one.folder) for one in wanted if adapter_registry.beneath(one.folder) in unknown)
        raise AdapterError(f"{names}: trained with another version of Starling's own adapter beneath; train it again")
    own = [Wanted(folder=SHIPPED, weight=1.0)] if there and there in beneath else []
    return own + wanted


def anchored(spec: str) -> str:
    """The text with its folders as absolute paths: another process may start elsewhere."""
    return ",".join(map(_anchored, spec.split(",")))


def _anchored(text: str) -> str:
    bare = WEIGHT.sub("", LABEL.sub("", text.strip(), count=1))
    folder = Path(bare).expanduser()
    return text.replace(bare, str(folder.absolute())) if bare and folder.is_dir() else text


def parsed(spec: str) -> list[Wanted]:
    """The adapters that a text names. Raises AdapterError where one is not there."""
    found: list[Wanted] = []
    if spec == NONE:
        return found
    for text in filter(None, map(str.strip, spec.split(","))):
        text = LABEL.sub("", text, count=1) if not Path(text).expanduser().is_dir() else text
        weight = WEIGHT.search(text)
        name = WEIGHT.sub("", text)
        folder = Path(name).expanduser()
        if not folder.is_dir():
            installed = adapter_registry.used(name) if adapter_registry.NAME.fullmatch(name) else None
            if installed is None:
                there = ", ".join(one.name for one in adapter_registry.all_used()) or "none"
                raise AdapterError(f"'{name}' is neither an adapter's folder nor installed; installed: {there}")
            folder = installed.folder
        if not (folder / CONFIG).is_file():
            raise AdapterError(f"'{name}' is no adapter's folder: it has no {CONFIG}")
        found.append(Wanted(folder=folder, weight=float(weight[1]) if weight else 1.0))
    return found
