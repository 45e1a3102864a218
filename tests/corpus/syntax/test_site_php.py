"""What syntax says of a cursor ('|') in PHP, in whole and in broken code."""

import pytest

from corpus.syntax.language import languages
from tests.corpus.sites import check_site, site

HEAD = """\
<?php
namespace App\\Tea;
use Shop\\Tea\\Leaf;
use Shop\\Tea\\Water as Liquid;
use Shop\\{Cup, Saucer as Plate, Old\\Spoon};
use function Shop\\pour;
class Lid { public bool $open; public static int $made = 0; const SIZES = [1]; }
class Kettle extends Vessel {
    private ?Leaf $leaf = null;
    protected static array $all = [];
    public function __construct(private readonly Lid $lid) { $this->spare = new Lid(); }
    public function lid(): Lid { return $this->lid; }
    public static function make(Lid $lid): static { return new static($lid); }
"""


def method(body: str, parameters: str = "Liquid $water, ?Lid $l") -> str:
    return f"{HEAD}    public function boil({parameters}): Lid {{\n        {body}\n    }}\n}}\n"


# text, receiver, its class, its origin
RECEIVERS = [
    (method("$this->|"), "$this", "Kettle", "Vessel()"),
    (method("$this->lid->|"), "$this->lid", "Lid", ""),
    (method("$this->leaf?->|"), "$this->leaf", "Leaf", "Shop.Tea.Leaf()"),
    (method("$this->spare->|"), "$this->spare", "Lid", ""),
    (method("$water->|;"), "$water", "Liquid", "Shop.Tea.Water()"),
    (method("$l\n            ->|"), "$l", "Lid", ""),
    (method("$x = $this->lid();\n        $x->|"), "$x", "Lid", ""),
    (method("$x = clone $l;\n        $x->|"), "$x", "Lid", ""),
    (method("(new Lid())->|"), "(new Lid())", "Lid", ""),
    (method("self::|"), "self", "Kettle", "Vessel()"),
    (method("parent::|"), "parent", "Vessel", "Vessel()"),
    (method("static::make($l)->|"), "static::make($l)", "Kettle", "Vessel()"),
    (method("Leaf::find(1)->|"), "Leaf::find(1)", "", "Shop.Tea.Leaf.find()"),
    (method("Plate::|"), "Plate", "Saucer", "Shop.Saucer"),
    (method("Spoon::|"), "Spoon", "Spoon", "Shop.Old.Spoon"),
    (method("\\Shop\\Tea\\|"), "\\Shop\\Tea", "", "Shop.Tea"),
    (method("\\Shop\\Cup::|"), "\\Shop\\Cup", "", "Shop.Cup"),
    (method("try {} catch (\\Shop\\Cold | Leaf $e) { $e->| }"), "$e", "Cold", "Shop.Cold()"),
    (method("if ($x instanceof Lid) { $x->| }"), "$x", "Lid", "$x"),
    (method("$f = fn(Lid $x) => $x->|;"), "$x", "Lid", ""),
    (method('$s = "to $water->|";'), "$water", "Liquid", "Shop.Tea.Water()"),
    (method('$s = "{$water->|}";'), "$water", "Liquid", "Shop.Tea.Water()"),
    (method('$s = "{ {$water} ";\n        $l->|'), "$l", "Lid", ""),
    (method("$s = <<<TEA\n        it's $water->|\n        TEA;"), "$water", "Liquid", "Shop.Tea.Water()"),
    (method("$s = <<<'TEA'\n        it's $water->\n        TEA;\n        $l->|"), "$l", "Lid", ""),
    (method("?><p>it's</p><?php\n        $l->|"), "$l", "Lid", ""),
    (method("// it's ?> it's <?=\n        $l->|"), "$l", "Lid", ""),
    ("<p>it's</p>\n<?= $tea->|", "$tea", "", "$tea"),
]


@pytest.mark.parametrize(("marked", "receiver", "kind", "origin"), RECEIVERS)
def test_receiver(marked: str, receiver: str, kind: str, origin: str) -> None:
    check_site(marked, "php", kind="member", receiver=receiver, receiver_type=kind, receiver_origin=origin)


KINDS = [
    (method("$wa|"), "name", "$wa"),
    (method("return new Li|"), "name", "Li"),
    (method("throw new \\Runtime|"), "name", "Runtime"),
    (method("\\strl|"), "name", "strl"),
    (method('$s = "to $wa|";'), "name", "$wa"),
    (method('$s = "{$wa|}";'), "name", "$wa"),
    (method('$s = "to \\$wa|";'), "text", "$wa"),
    (method('$s = "to wa|";'), "text", "wa"),
    (method("$s = 'to $wa|';"), "text", "$wa"),
    (method("// $wa|"), "text", "$wa"),
    (method("# $wa|"), "text", "$wa"),
    (HEAD + "    #[Over|]\n    public function f() {}\n}\n", "name", "Over"),
    (method("f(...$re|)"), "name", "$re"),
    (method("foreach ($x as $k => $v|) {}"), "declaration", "$v"),
    (method("", "Lid $l, int $n|"), "declaration", "$n"),
    (method("", "Lid $l, Li|"), "name", "Li"),
    (HEAD + "    private ?Lid $la|\n}\n", "declaration", "$la"),
    (HEAD + "    private Li|\n}\n", "name", "Li"),
    (HEAD + "    use Steam|\n}\n", "name", "Steam"),
    ("<?php\nclass Po|", "declaration", "Po"),
    ("<?php\nuse Shop\\Te|", "import", "Te"),
    ("<?php\nuse Shop\\{Cup,\n    Sau|", "import", "Sau"),
    ("<?php\nnamespace Shop\\Te|", "import", "Te"),
    ("<p>$te|</p>\n<?php $x = 1;", "text", "$te"),
    ("<?php $x = 1; ?>\n<p>te|</p>", "text", "te"),
]


@pytest.mark.parametrize(("marked", "kind", "prefix"), KINDS)
def test_kind_and_prefix(marked: str, kind: str, prefix: str) -> None:
    check_site(marked, "php", kind=kind, prefix=prefix)


CALLS = [
    (method("$this->boil($water, |)"), "$this->boil", 1, "Lid"),
    (method("Kettle::make(lid: |"), "Kettle::make", "lid", "Lid"),
    (method("$this->boil(Lid::SIZES, |"), "$this->boil", 1, "Lid"),
    (method("new Kettle(|"), "new Kettle", 0, "Lid"),
    (method("pour(|)"), "pour", 0, ""),
    (method("return |"), "", None, "Lid"),
]


@pytest.mark.parametrize(("marked", "callee", "argument", "expected"), CALLS)
def test_call(marked: str, callee: str, argument: object, expected: str) -> None:
    check_site(marked, "php", callee=callee, argument=argument, expected_type=expected)


def test_origin_of_a_callee() -> None:
    assert site(method("pour(|)"), languages()["php"]).callee_origin == "Shop.pour"
    assert site(method("\\strlen(|)"), languages()["php"]).callee_origin == "strlen"
    assert site(method("new \\Shop\\Cup(|)"), languages()["php"]).callee_origin == "Shop.Cup"


def test_names_and_members() -> None:
    check_site(
        method("[$a, 'b' => $b] = f();\n        static $n = 0;\n        foreach ($x as $k => &$v) {}\n        |"),
        "php",
        visible={"$a", "$b", "$n", "$k", "$v", "$water", "$l", "Leaf", "Liquid", "Cup", "Plate", "Kettle", "pour"},
        imports={"Leaf": "Shop.Tea.Leaf", "Plate": "Shop.Saucer", "Spoon": "Shop.Old.Spoon", "pour": "Shop.pour"},
        enclosing=("Kettle", "boil"),
        enclosing_signatures=("class Kettle extends Vessel", "public function boil(Liquid $water, ?Lid $l): Lid"),
    )
    check_site(method("$this->|"), "php", own_members={"leaf", "lid", "spare", "make", "$all"})
    check_site(method("Lid::|"), "php", own_members={"open", "$made", "SIZES"})
    check_site(
        "<?php\nenum Size: int { case Small = 1; const ALL = []; }\nSize::|", "php", own_members={"Small", "ALL"}
    )
