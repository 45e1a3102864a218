"""What a team's engine is started from: a folder with the model, adapters, a token, vLLM's configuration and a script.

The model is the base with Starling's own adapter in its weights, because what `train` makes stands on that. vLLM serves it as
`starling`, and each adapter by its name.
"""

from __future__ import annotations

import json
import secrets
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tuning.files import replacing, replacing_folder
from tuning.ranking.learning.torch_models import base_and_tokenizer
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import Installed
from tuning.ranking.serving.model.adapter_spec import CONFIG, shipped
from tuning.ranking.serving.remote.completions import GIVEN
from tuning.ranking.serving.remote.engine import PREFERRED

LONGEST = 1024  # tokens: a prompt has some 400, a name at most 128
LARGEST = 60_000.0  # float16 ends at 65,504
TOKEN, SETTINGS, START = "token", "vllm.yaml", "start.sh"
SCRIPT = """\
#!/bin/sh
# Starts the engine. Written by: starling team config
cd "$(dirname "$0")" || exit 1
export VLLM_API_KEY="$(cat token)" HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
exec ${VLLM:-vllm serve} --config vllm.yaml "$@"
"""


class TeamError(Exception):
    """The engine's folder can't be made."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `starling team config` is asked for. `gpus`: copies of the model, each on a GPU of its own."""

    folder: Path
    base: str = ""
    adapters: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    gpus: int = 1
    parts: int = 1  # GPUs that share one copy of a model that is too large for one
    ray: bool = False


def write_engine(asked: Asked) -> None:
    """Write the folder; what is there of an earlier run is replaced, but for the token. Raises TeamError, ScorerError, OSError."""
    adapters = [_installed(name, asked.base) for name in asked.adapters]
    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    heads = _write_model(asked.base, folder / "model")
    if heads % asked.parts:
        raise TeamError(f"the model's {heads} heads of keys can't be shared by {asked.parts} GPUs; use --gpus instead")
    shutil.rmtree(folder / "adapters", ignore_errors=True)
    for one in adapters:
        shutil.copytree(one.folder, folder / "adapters" / one.name)
    if not (folder / TOKEN).exists():
        with replacing(folder / TOKEN) as temporary:
            temporary.touch(0o600)
            temporary.write_text(secrets.token_urlsafe(32) + "\n")
    ranks = [_rank(one.folder) for one in adapters]
    with replacing(folder / SETTINGS) as temporary:
        temporary.write_text(_yaml(_settings(asked, [one.name for one in adapters], max(ranks, default=0))), "utf-8")
    with replacing(folder / START) as temporary:
        temporary.write_text(SCRIPT, "utf-8")
        temporary.chmod(temporary.stat().st_mode | stat.S_IXUSR)


def _settings(asked: Asked, adapters: Sequence[str], rank: int) -> Mapping[str, Any]:
    """vLLM's, by its own names."""
    found: dict[str, Any] = {
        "model": "./model",
        "served-model-name": PREFERRED,
        "host": asked.host,
        "port": asked.port,
        "max-model-len": LONGEST,
        "max-logprobs": GIVEN,
        "max-num-seqs": 256,
        "enable-prefix-caching": True,
        "disable-uvicorn-access-log": True,
        "generation-config": "vllm",
    }
    if asked.gpus > 1:
        found["data-parallel-size"] = asked.gpus
    if asked.parts > 1:
        found["tensor-parallel-size"] = asked.parts
    if asked.ray:
        found["distributed-executor-backend" if asked.parts > 1 else "data-parallel-backend"] = "ray"
    if adapters:
        found |= {
            "enable-lora": True,
            "max-lora-rank": next(size for size in (8, 16, 32, 64, 128, 256, 320, 512) if size >= rank),
            "max-loras": min(8, len(adapters)),
            "lora-modules": [json.dumps({"name": name, "path": f"./adapters/{name}"}) for name in adapters],
        }
    return found


def _yaml(settings: Mapping[str, Any]) -> str:
    """Each value as JSON, which is YAML too."""
    return "# Written by: starling team config\n" + "".join(
        f"{key}: {json.dumps(value)}\n" for key, value in settings.items()
    )


def _installed(name: str, base: str) -> Installed:
    """An installed adapter that vLLM can serve. Raises TeamError."""
    found = adapter_registry.used(name) if adapter_registry.NAME.fullmatch(name) else None
    if found is None:
        there = ", ".join(one.name for one in adapter_registry.all_used()) or "none"
        raise TeamError(f"no adapter {name!r} is installed; installed: {there}")
    if adapter_registry.beneath(found.folder) != shipped(base):
        raise TeamError(f"{name} was not trained on this base with Starling's own adapter in it; train it again")
    config = json.loads((found.folder / CONFIG).read_text("utf-8"))
    if config.get("peft_type") != "LORA" or config.get("use_dora"):
        raise TeamError(f"{name} is no plain LoRA adapter; vLLM serves only those by name")
    return found


def _rank(folder: Path) -> int:
    return int(json.loads((folder / CONFIG).read_text("utf-8"))["r"])


def _write_model(base: str, to: Path) -> int:
    """A base with Starling's own adapter in its weights, in half precision. Returns its heads of keys and values."""
    model, tokenizer = base_and_tokenizer(base, "")
    largest = max(float(parameter.detach().abs().max()) for parameter in model.parameters())
    # Of the two halves, float16 is the finer; a model trained in bfloat16 may have numbers that it can't hold.
    model = model.to(torch.float16 if largest < LARGEST else torch.bfloat16)
    with replacing_folder(to) as fresh:
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
    config = model.config
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
