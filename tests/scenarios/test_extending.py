"""Features of the user's own: the example of docs/extending.md as it stands there, and files that are wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lsp_server.features import loading
from lsp_server.jsonrpc import wire
from lsp_server.servers.backend import BackendRefused
from tests.fakes.editor import FakeRanker, editing
from tests.scenarios.harness import URI, Scene, until

PAGE = Path(__file__).parent.parent.parent / "docs" / "extending.md"
WHERE = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}


@pytest.fixture
def example(tmp_path: Path) -> str:
    path = tmp_path / "my_feature.py"
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    path.write_text(found[1], encoding="utf-8")
    return str(path)


async def test_the_example_of_the_page(tmp_path: Path, example: str) -> None:
    scene = Scene(tmp_path, results={"textDocument/hover": {"contents": {"kind": "plaintext", "value": "int"}}})
    async with scene.starling("--ranker", "off", "--feature", example) as probe:
        hover = await probe.backend.request("textDocument/hover", WHERE, 20)
        assert hover == {"contents": "int (seen by my feature)"}
        probe.backend.notify("textDocument/didSave", {"textDocument": {"uri": URI}})
        assert (await probe.heard("window/showMessage"))[0] == {"type": 3, "message": "saved"}
        await probe.backend.request("odd/flush", {}, 20)
    assert [params["textDocument"]["uri"] for params in scene.received("textDocument/didSave")] == [URI]


@pytest.mark.parametrize("answer", ['{"contents":{"kind":5}}', '{"contents":{{'], ids=["not of LSP", "garbled"])
async def test_an_answer_that_is_not_what_lsp_says_is_an_error_and_no_wait(
    tmp_path: Path, example: str, answer: str
) -> None:
    scene = Scene(tmp_path, raw={"textDocument/hover": answer})
    async with scene.starling("--ranker", "off", "--feature", example) as probe:
        with pytest.raises(BackendRefused):
            await probe.backend.request("textDocument/hover", WHERE, 20)


async def test_a_server_that_is_not_ready_gets_no_request_of_a_feature(tmp_path: Path, example: str) -> None:
    lives = [{"hang": ["initialize"]}]
    scene = Scene(tmp_path, crash_on=["die"], life=str(tmp_path / "life"), lives=lives)
    async with scene.starling("--ranker", "off", "--feature", example) as probe:
        probe.backend.notify("die", {})
        await until(lambda: len(scene.received("initialize")) == 2)
        with pytest.raises(BackendRefused, match="is not ready; its state: restarting") as refused:
            await probe.backend.request("textDocument/hover", WHERE, 20)
        assert refused.value.code == wire.REQUEST_FAILED
        assert scene.received("textDocument/hover") == []


async def test_params_that_are_not_lsps_go_to_the_wrapped_server(tmp_path: Path, example: str) -> None:
    async with Scene(tmp_path).starling("--ranker", "off", "--feature", example) as probe:
        odd = {"textDocument": {"uri": URI}, "position": {"line": "x"}}
        assert await probe.backend.request("textDocument/hover", odd, 20) == {"echo": odd}


@pytest.mark.parametrize("code", ["raise RuntimeError('no')", "x = 1", "def register(server): server.nothing()"])
async def test_a_file_that_fails_is_named_and_costs_itself(tmp_path: Path, code: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(code)
    async with Scene(tmp_path).starling("--ranker", "off", "--feature", str(path)) as probe:
        assert "broken.py can't be loaded" in (await probe.heard("window/showMessage"))[0]["message"]
        assert await probe.backend.request("odd/thing", {"n": 1}, 20) == {"echo": {"n": 1}}


async def test_features_that_can_not_be_loaded_cost_the_ranking_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "REGISTRY", "lsp_server.features.not_there")
    async with editing(tmp_path, ranker=FakeRanker(), completion=[{"label": "a"}]) as editor:
        assert (await editor.ask("textDocument/completion", WHERE))["result"] == [{"label": "a"}]
        assert "can't rank completions" in editor.shown()[0]


def test_error_codes_are_lsps() -> None:
    from lsprotocol import types

    for name, code in {**types.ErrorCodes.__members__, **types.LSPErrorCodes.__members__}.items():
        ours = getattr(wire, re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper(), None)
        assert ours is None or ours == code.value
    assert types.LSPErrorCodes.RequestFailed.value == wire.REQUEST_FAILED
