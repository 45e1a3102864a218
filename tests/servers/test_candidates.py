"""Lists recorded from real servers over a small repository: what the author wrote is among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.lists.candidates import Asked, Project, record
from corpus.lists.positions import positions
from corpus.mining.sites import Site
from tests.corpus.repositories import repository
from tests.servers.catalog import CATALOG, path_with_servers
from tests.servers.conftest import needs

pytestmark = pytest.mark.servers

SOURCES = {
    "basedpyright": (
        "shop.py",
        "python",
        b"import collections\n\nfound = collections.OrderedDict()\nfound.move_to_end('x')\n",
    ),
    "ty": ("shop.py", "python", b"import collections\n\nfound = collections.OrderedDict()\nfound.move_to_end('x')\n"),
    "typescript-language-server": (
        "shop.ts",
        "typescript",
        b"const found = new Map<string, number>()\nfound.forEach(x => x)\n",
    ),
    "intelephense": (
        "src/Shop.php",
        "php",
        b"<?php\n\nfunction size(ArrayObject $found): int\n{\n    return $found->getFlags();\n}\n",
    ),
    "clangd": (
        "src/shop.cpp",
        "cpp",
        b"#include <shop/cart.h>\n\nint size(const shop::Cart &found) {\n    return found.getCount();\n}\n",
    ),
    "gopls": (
        "shop.go",
        "go",
        b'package shop\n\nimport "strings"\n\nfunc size(found strings.Builder) int {\n\treturn found.Len()\n}\n',
    ),
    "jdtls": (
        "src/main/java/shop/Shop.java",
        "java",
        b"package shop;\n\nclass Shop {\n    int size(String name) {\n        return name.length();\n    }\n}\n",
    ),
}
LAST = {
    "python": b"move_to_end",
    "typescript": b"forEach",
    "cpp": b"getCount",
    "go": b"Len",
    "java": b"length",
    "php": b"getFlags",
}
BESIDE = {
    "pom.xml": b"<project/>",
    "tsconfig.json": b'{"compilerOptions": {"target": "ES2022"}}',
    "go.mod": b"module example.org/shop\n\ngo 1.19\n",
    "include/shop/cart.h": b"namespace shop {\nstruct Cart {\n    int getCount() const;\n    int price, weight, colour;\n};\n}\n",
}


@pytest.mark.parametrize("server", SOURCES)
def test_the_truth_is_in_the_list(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(CATALOG[server])
    monkeypatch.setenv("PATH", path_with_servers())
    path, language, data = SOURCES[server]
    place = repository(tmp_path / "r.git", {path: data, **BESIDE})
    start = data.index(LAST[language])
    site = Site(start=start, end=start + len(LAST[language]), kind="member")
    asked = Asked(path=path, language=language, data=data, positions=positions(path, data, [site]))
    project = Project(name="o/r", revision="HEAD", place=str(place), server=server, files=[asked])
    (row,), tally = record([project], tmp_path / "work")
    assert tally.failed == {}
    assert row.has_truth
    assert len(row.names) > 3
