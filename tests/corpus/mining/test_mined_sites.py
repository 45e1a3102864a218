"""Which identifiers of a file are sites, and of what kind."""

from __future__ import annotations

import pytest
import tree_sitter
from hypothesis import given
from hypothesis import strategies as st

from corpus.mining.sites import KINDS, sites
from corpus.syntax.language import languages
from corpus.syntax.parse import grammar
from corpus.syntax.tokens import cut

PYTHON = b"""import os.path
from pkg import helper as other

@decorate.fully(1)
class Shop(base.Base):
    '''not code'''
    def price(self, item, *, rate=1):  # nor this
        total = self.fetch(item, rate=rate)
        return total.amount == "word"
"""
TYPESCRIPT = b"""import { one } from "pkg";
@Injectable()
export class Shop extends Base<Item> {
  private total: number = 0;
  price(item?: Item): number { // words
    const { rate } = this.config?.current;
    return item!.amount * rate + `${this.total}`.length;
  }
}
"""
JAVA = b"""import java.util.List;
import static org.junit.Assert.assertTrue;
@Service
class Shop extends Base {
  private int total;
  int price(Item item) { return this.total + item.amount() + List.of(item).size(); }
}
"""
PHP = b"""<p>outside</p>
<?php
namespace App\\Space;
use Pkg\\Helper;
#[Route('/shop', name: 'shop')]
class Shop extends Base
{
    private ?Item $total = null; // words
    const LIMIT = 1;
    public function price(Item $item): int
    {
        return $this->total->amount + \\strlen("to $item") + Pkg\\Old::make(rate: self::LIMIT);
    }
}
"""
CSHARP = b"""using System.Text;
namespace App.Space;
[Serializable]
class Shop : Base
{
    private int total; // words
    public Item Top { get; set; } = null;
    int Price(Item item) { return this.total + item?.Amount(rate: total) + List.Of(item).Size; }
}
"""
EXPECTED = {
    "python": (
        PYTHON,
        {
            "import": {"os", "path", "pkg", "helper"},
            "decorator": {"decorate", "fully"},
            "member": {"Base", "fetch", "amount"},
            "keyword": {"rate"},
            "name": {"base", "self", "item", "rate", "total"},
        },
        {"price", "Shop", "not", "nor", "word", "def", "class"},
    ),
    "typescript": (
        TYPESCRIPT,
        {
            "import": {"one"},
            "decorator": {"Injectable"},
            "member": {"config", "current", "amount", "total", "length"},
            "name": {"Base", "Item", "item", "rate"},
        },
        {"Shop", "words", "pkg", "private", "const"},
    ),
    "java": (
        JAVA,
        {
            "import": {"java", "util", "List", "assertTrue"},
            "decorator": {"Service"},
            "member": {"total", "amount", "of", "size"},
            "name": {"Base", "Item", "item", "List"},
        },
        {"Shop", "price", "class", "int"},
    ),
    "php": (
        PHP,
        {
            "import": {"Pkg", "Helper"},
            "decorator": {"Route"},
            "member": {"total", "amount", "Old", "make", "LIMIT"},
            "keyword": {"rate"},
            "name": {"Base", "Item", "$item", "$this", "strlen", "Pkg"},
        },
        {"Shop", "price", "class", "$total", "outside", "words", "App", "Space"},
    ),
    "csharp": (
        CSHARP,
        {
            "import": {"System", "Text"},
            "decorator": {"Serializable"},
            "member": {"total", "Amount", "Of", "Size"},
            "keyword": {"rate"},
            "name": {"Base", "Item", "item", "List", "total"},
        },
        {"Shop", "Price", "Top", "class", "int", "words", "App", "Space"},
    ),
}


def found(language: str, data: bytes, limit: int, seed: int = 0) -> list[tuple[str, str]]:
    known = languages()[language]
    tree = tree_sitter.Parser(grammar(known)).parse(data)
    (names,) = cut([data]).names
    return [
        (data[site.start : site.end].decode("utf-8", "replace"), site.kind)
        for site in sites(data, names, tree, known, seed, limit)
    ]


@pytest.mark.parametrize(("language", "kind"), [(id, kind) for id in EXPECTED for kind in EXPECTED[id][1]])
def test_kinds(language: str, kind: str) -> None:
    data, expected, _ = EXPECTED[language]
    assert expected[kind] <= {name for name, own in found(language, data, 1000) if own == kind}


@pytest.mark.parametrize("language", EXPECTED)
def test_text_keywords_and_declarations_are_no_sites(language: str) -> None:
    data, _, never = EXPECTED[language]
    assert not never & {name for name, _ in found(language, data, 1000)}


def test_few_are_taken_from_a_long_file_and_from_all_over_it() -> None:
    data = b"".join(b"value_%d = box.member_%d(other_%d)\n" % (i, i, i) for i in range(1000))
    one = found("python", data, 8, seed=1)
    assert len(one) == 8
    assert sum(kind == "member" for _, kind in one) == 4
    assert one == found("python", data, 8, seed=1) != found("python", data, 8, seed=2)
    lines = [int(name.rpartition("_")[2]) for name, kind in one if kind == "member"]
    assert max(lines) - min(lines) > 300
    assert found("python", data, 0) == []


@given(st.sampled_from(sorted(languages())), st.text(alphabet="ab.=(){}\"'#/ \n\u00e9\U0001f600@:;<>", max_size=200))
def test_any_text_gives_sites_or_none(language: str, text: str) -> None:
    assert all(kind in KINDS for _, kind in found(language, text.encode(), 8))
