"""The model that ranks: whether it is there, loads, and how fast and how large it is on this machine."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

from corpus.interpreter import DISTRIBUTION
from lsp_server.settings import Settings
from starling_lsp.findings import Finding
from starling_lsp.findings.machine import megabytes, resident_memory, size_of

WITHOUT = "without it the ranker 'signals' is used"
LIBRARIES = ("onnxruntime", "tokenizers")


def model(settings: Settings) -> list[Finding]:
    """One finding, of the model as it would be loaded by these settings."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        remedy = f"install {DISTRIBUTION} again ({WITHOUT})"
        return [Finding(what="model", found=f"these libraries are missing: {', '.join(missing)}", remedy=remedy)]
    from tuning.ranking.serving.model.model_store import gguf_file, models_dir

    if not settings.base and not gguf_file().exists():
        return [Finding(what="model", found="not installed", remedy=f"starling install-model ({WITHOUT})")]
    found = _tried(settings.base, settings.adapter)
    if settings.base or found.remedy:
        return [found]
    return [found, Finding(what="", found=f"{megabytes(size_of(models_dir()))} on disk in {models_dir()}")]


def _tried(base: str, adapter: str) -> Finding:
    """Load it and time the scoring of one list, with the prompt already read, as while typing."""
    from tuning.ranking.serving.model.loading import load_scorer
    from tuning.ranking.serving.model.prompt import build_prompt

    before = resident_memory()
    started = time.perf_counter()
    try:
        scorer = load_scorer(base, adapter=adapter)
    except Exception as error:  # report any problem of the model
        remedy = "give another --base or --adapter" if base or adapter else "starling install-model"
        return Finding(what="model", found=f"can't be used: {error}", remedy=remedy, needed=True)
    loaded = time.perf_counter() - started
    prompt = build_prompt(path="doctor", before="total = 0\nfor value in values:\n    total = value.", line_comment="")
    scorer.advance("doctor", prompt)
    names = [f"{verb}_{noun}" for verb in ("add", "get", "read", "set", "to") for noun in ("item", "name", "text")]
    times: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        search = scorer.search("doctor", prompt, names)
        while not search.step():
            pass
        times.append((time.perf_counter() - started) * 1000)
    after = resident_memory()
    memory = "" if before is None or after is None else f", takes {megabytes(after - before)} of memory"
    return Finding(
        what="model",
        found=f"{Path(base).name or 'installed'}: loads in {loaded:.1f} s, ranks {len(names)} names in {sorted(times)[1]:.0f} ms{memory}",
    )
