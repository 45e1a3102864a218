"""The README.md beside an adapter: what a hub reads of it (https://huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuning.config import WRITTEN_FOR, TaskType
from tuning.files import replacing

NAME = "README.md"
VERSIONS = "### Framework versions"
TEXT = (
    "# An adapter\n\nIt is used with PEFT, or with Starling's tuning engine, on the base model that is named above.\n"
)


def write(model: Any, folder: Path) -> None:
    """Write or complete the card of a model's adapters. What an author wrote stays."""
    from huggingface_hub import ModelCard, ModelCardData

    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        card: Any = ModelCard.load(path)
    else:
        card = ModelCard(f"---\n{ModelCardData().to_yaml()}\n---\n{TEXT}")
    base = model.get_base_model()
    card.data["library_name"] = "peft"
    methods = {config.METHOD.lower() for config in model.peft_config.values()}
    library = type(base).__module__.partition(".")[0]
    tags = {
        *({library} & {"transformers"}),
        *(getattr(base, "model_tags", None) or ()),
        *(card.data.get("tags") or ()),
        *methods,
    }
    named = getattr(getattr(base, "config", None), "_name_or_path", None)
    if named:
        card.data["base_model"] = named
        tags.add(f"base_model:adapter:{named}")
    card.data["tags"] = sorted(tags)
    causal = any(config.task_type == TaskType.CAUSAL_LM for config in model.peft_config.values())
    if causal and not card.data.get("pipeline_tag"):
        card.data["pipeline_tag"] = "text-generation"
    lines, version = card.text.splitlines(), f"- PEFT {WRITTEN_FOR}"
    if version not in lines:
        if VERSIONS in lines:
            lines.insert(lines.index(VERSIONS) + 2, version)
        else:
            lines += [VERSIONS, "", version]
    card.text = "\n".join(lines)
    with replacing(path) as temporary:
        temporary.write_text(str(card) + "\n", encoding="utf-8")
