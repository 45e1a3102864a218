"""Where an adapter is: a folder here, or a repository on the Hugging Face hub. Nothing connects unless it was asked to.

A name that is no folder is looked for on the hub only where the caller allows it: `local_files_only=False`, `TUNING_ONLINE=1`, or a
`revision`, `token` or `cache_dir` of the hub's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from corpus.interpreter import missing
from tuning.errors import CheckpointError, LibraryMissing

OF_COMMIT = ("token", "commit_message", "commit_description", "revision", "create_pr")
OF_UPLOAD = ("private", *OF_COMMIT)
VOCABULARY = (  # a tokenizer's files: an adapter may have tokens that its base lacks
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "spiece.model"),
)
OF_THE_HUB = ("revision", "token", "cache_dir", "force_download")


def resolved(where: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any) -> Path:
    """The folder. Raises CheckpointError where there is none and the hub was not asked for."""
    folder = Path(where) / (subfolder or "")
    if folder.is_dir():
        return folder
    if not allowed(**kwargs):
        raise CheckpointError(
            f"{folder} is no folder. If it is a repository on the hub, allow the connection: local_files_only=False"
        )
    return _downloaded(str(where), subfolder, kwargs)


def allowed(**kwargs: Any) -> bool:
    """Whether what a caller gave asks for a connection."""
    asked = kwargs.get("local_files_only") is False or os.environ.get("TUNING_ONLINE") == "1"
    return asked or any(kwargs.get(name) for name in OF_THE_HUB)


def _downloaded(name: str, subfolder: str | None, kwargs: dict[str, Any]) -> Path:
    hub = _library()
    wanted = [
        "adapter_config.json",
        "adapter_model*.safetensors",
        "adapter_model.safetensors.index.json",
        "adapter_model.bin",
        *VOCABULARY,
    ]
    given = {key: kwargs[key] for key in OF_THE_HUB if key in kwargs}
    patterns = [f"{subfolder}/{file}" if subfolder else file for file in wanted]
    try:
        folder = hub.snapshot_download(name, allow_patterns=patterns, **given)
    except Exception as error:
        raise CheckpointError(f"{name} could not be fetched from the hub: {error}") from error
    return Path(folder) / (subfolder or "")


def push(folder: Path, name: str, **kwargs: Any) -> str:
    """Upload an adapter's folder; returns its address."""
    hub = _library()
    hub.create_repo(name, exist_ok=True, **{key: kwargs[key] for key in ("token", "private") if key in kwargs})
    given = {"commit_message": "Upload adapter"} | {key: kwargs[key] for key in OF_COMMIT if key in kwargs}
    return str(hub.upload_folder(repo_id=name, folder_path=str(folder), **given))


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise LibraryMissing("The hub: " + missing("huggingface_hub", extra="train")) from error
    return huggingface_hub
