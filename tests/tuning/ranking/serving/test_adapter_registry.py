"""Installed adapters: which version is used, which documents it is for, and the way back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tuning.errors import AdapterError
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import AdapterRegistryError, Card
from tuning.ranking.serving.model.adapter_spec import parsed


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(adapter_registry, "home", lambda kind="adapters": tmp_path / kind)
    monkeypatch.setattr(adapter_registry, "LOOK_AGAIN", 0.0)
    return tmp_path / "adapters"


def made(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "made"
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(text)
    return folder


def test_the_newest_is_used_and_one_step_back_is_the_one_before(tmp_path: Path) -> None:
    for text in ("one", "two"):
        adapter_registry.install("shop", made(tmp_path, text), Card(base="", workspaces=["/w/shop"]))
    found = adapter_registry.used("shop")
    assert found is not None
    assert (found.folder / "adapter_config.json").read_text() == "two"
    back = adapter_registry.roll_back("shop")
    assert back is not None
    assert (back.folder / "adapter_config.json").read_text() == "one"
    assert adapter_registry.roll_back("shop") is None
    assert adapter_registry.used("shop") is None
    with pytest.raises(AdapterRegistryError, match="no adapter 'shop' is used"):
        adapter_registry.roll_back("shop")


def test_what_a_run_goes_on_from_stays_where_it_is(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "state").write_text("large")
    installed = adapter_registry.install("shop", folder, Card(base=""))
    assert sorted(file.name for file in installed.folder.iterdir()) == ["adapter_config.json", adapter_registry.CARD]


def test_a_version_after_a_step_back_is_a_new_one(tmp_path: Path) -> None:
    for text in ("one", "two"):
        adapter_registry.install("shop", made(tmp_path, text), Card(base=""))
    adapter_registry.roll_back("shop")
    assert adapter_registry.install("shop", made(tmp_path, "three"), Card(base="")).version == 3


def test_old_versions_go(tmp_path: Path, own_home: Path) -> None:
    for text in "abcde":
        adapter_registry.install("shop", made(tmp_path, text), Card(base=""))
    assert sorted(folder.name for folder in (own_home / "shop").glob("0*")) == ["0003", "0004", "0005"]


def test_a_step_back_leads_past_what_was_left_before_and_what_is_left_goes_as_late(
    tmp_path: Path, own_home: Path
) -> None:
    adapter_registry.install("shop", made(tmp_path, "good"), Card(base=""))
    for number in (2, 3, 4, 5):
        adapter_registry.install("shop", made(tmp_path, "bad"), Card(base="", digest=str(number)))
        back = adapter_registry.roll_back("shop")
        assert back is not None and back.version == 1
    assert sorted(card.digest for card in adapter_registry.rolled_back("shop")) == ["2", "3", "4", "5"]
    adapter_registry.install("shop", made(tmp_path, "new"), Card(base=""))
    assert sorted(folder.name for folder in (own_home / "shop").glob("0*")) == ["0001", "0003", "0004", "0005", "0006"]


def test_another_card_is_seen_at_once(tmp_path: Path) -> None:
    installed = adapter_registry.install("shop", made(tmp_path, ""), Card(base="", workspaces=["/w/shop"]))
    watched = adapter_registry.Watched()
    assert watched.folder_for(Path("/v/shop/a.py"), "python") == ""
    adapter_registry.describe(installed, Card(base="", workspaces=["/v/shop"]))
    assert watched.folder_for(Path("/v/shop/a.py"), "python") == str(installed.folder)
    found = adapter_registry.used("shop")
    assert found is not None and (found.version, found.card.workspaces) == (1, ["/v/shop"])


def test_what_was_trained_here_goes_before_what_came_from_elsewhere(tmp_path: Path) -> None:
    for name, source in (("a-team", "https://team"), ("mine", "")):
        card = Card(base="", workspaces=["/w/shop"], source=source)
        adapter_registry.install(name, made(tmp_path, ""), card)
        adapter_registry.install(f"{name}-all", made(tmp_path, ""), Card(base="", source=source))
    watched = adapter_registry.Watched()
    assert Path(watched.folder_for(Path("/w/shop/a.py"), "python")).parent.name == "mine"
    assert Path(watched.folder_for(Path("/w/else/a.py"), "python")).parent.name == "mine-all"


def test_many_that_install_at_once_get_a_version_each(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: adapter_registry.install("shop", folder, Card(base="")), range(8)))
    assert sorted(one.version for one in found) == [*range(1, 9)]
    used = adapter_registry.used("shop")
    assert used is not None and used.version == 8


def test_nothing_half_copied_is_used(tmp_path: Path, own_home: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        adapter_registry.install("shop", tmp_path / "nowhere", Card(base=""))
    assert adapter_registry.used("shop") is None
    assert not list((own_home / "shop").iterdir())


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 65])
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(AdapterRegistryError, match="is no name"):
        adapter_registry.install(name, made(tmp_path, ""), Card(base=""))


def test_documents_get_the_adapter_of_their_nearest_workspace(tmp_path: Path) -> None:
    adapter_registry.install("all", made(tmp_path, ""), Card(base="", languages=["python"]))
    adapter_registry.install("team", made(tmp_path, ""), Card(base="", workspaces=["/w"]))
    adapter_registry.install(
        "shop", made(tmp_path, ""), Card(base="", workspaces=["/w/shop", "/w/till"], languages=["python"])
    )
    watched = adapter_registry.Watched()

    def name(path: str, language: str) -> str:
        folder = watched.folder_for(Path(path), language)
        return Path(folder).parent.name if folder else ""

    assert name("/w/shop/a.py", "python") == "shop"
    assert name("/w/till/a.py", "python") == "shop"
    assert name("/w/shop/a.ts", "typescript") == "team"
    assert name("/w/shopping/a.py", "python") == "team"
    assert name("/elsewhere/a.py", "python") == "all"
    assert name("/elsewhere/a.ts", "typescript") == ""
    adapter_registry.roll_back("shop")
    assert name("/w/shop/a.py", "python") == "team"


def test_what_can_not_be_read_is_left_out(tmp_path: Path, own_home: Path) -> None:
    adapter_registry.install("good", made(tmp_path, ""), Card(base=""))
    bad = adapter_registry.install("bad", made(tmp_path, ""), Card(base=""))
    (bad.folder / adapter_registry.CARD).write_text("{")
    (own_home / "other").mkdir()
    assert [one.name for one in adapter_registry.all_used()] == ["good"]
    with pytest.raises(AdapterRegistryError, match="was not installed here"):
        adapter_registry.used("bad")


def test_a_spec_names_folders_and_installed_ones(tmp_path: Path) -> None:
    installed = adapter_registry.install("shop", made(tmp_path, ""), Card(base=""))
    folder = made(tmp_path, "")
    found = parsed(f"team={folder}@0.5, repo=shop")
    assert [(one.folder, one.weight) for one in found] == [(folder, 0.5), (installed.folder, 1.0)]
    assert parsed("") == parsed("none") == []
    with pytest.raises(AdapterError, match="'nobody' is neither an adapter's folder nor installed; installed: shop"):
        parsed("nobody")


def test_usage_tables_are_apart_from_adapters_of_the_same_name(tmp_path: Path) -> None:
    adapter = adapter_registry.install("shop", made(tmp_path, "adapter"), Card(base=""))
    table = adapter_registry.install("shop", made(tmp_path, "table"), Card(base=""), adapter_registry.USAGE)
    assert adapter.folder != table.folder
    watched = adapter_registry.Watched(adapter_registry.USAGE)
    assert watched.folder_for(Path("/w/a.py"), "python") == str(table.folder)
    assert adapter_registry.roll_back("shop", adapter_registry.USAGE) is None
    assert adapter_registry.used("shop") is not None
    with pytest.raises(AdapterRegistryError, match="no usage table 'shop' is used; there are: none"):
        adapter_registry.roll_back("shop", adapter_registry.USAGE)
