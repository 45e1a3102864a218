"""What a server is told of somebody else's sources: where their includes lead, and files above them."""

from __future__ import annotations

from pathlib import Path

from corpus.lists.replay_rules import Rules, include_folders, rules_for, written_above

SUFFIXES = (".cpp", ".hpp")
INCLUDED = '#include ["<]([\\w./]+)[">]'
FILES = {
    "src/main.cpp": '#include <shop/cart.hpp>\n#include "near.hpp"\n#include <vector>\n',
    "src/near.hpp": "#include <shop/price.hpp>\n",
    "src/other.cpp": '#include "util/text.hpp"\n#include "../third/odd.hpp"\n',
    "include/shop/cart.hpp": '#include "price.hpp"\n',
    "include/shop/price.hpp": "",
    "lib/util/text.hpp": "",
}


def laid_out(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_include_folders_are_those_that_includes_are_found_in(tmp_path: Path) -> None:
    assert include_folders(laid_out(tmp_path), INCLUDED, SUFFIXES) == ["include", "lib"]
    assert include_folders(tmp_path, INCLUDED, SUFFIXES, most=1) == ["include"]
    assert include_folders(tmp_path, "", SUFFIXES) == []


def test_files_above_the_sources_name_their_include_folders(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "sources")
    rules = Rules(included=INCLUDED, above={"flags.txt": "Add: [{include_folders:-I}]\n"})
    written_above(rules, root, tmp_path, SUFFIXES)
    assert (tmp_path / "flags.txt").read_text() == f'Add: ["-I{root}/include", "-I{root}/lib"]\n'
    assert sorted(path.name for path in root.iterdir()) == ["include", "lib", "src"]


def test_clangd_is_told_of_include_folders_and_not_by_a_projects_own_files(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "sources")
    written_above(rules_for("clangd"), root, tmp_path, SUFFIXES)
    assert f'Add: ["-idirafter{root}/include", "-idirafter{root}/lib"]' in (tmp_path / ".clangd").read_text()
    assert ".clangd" in rules_for("clangd").left_out
