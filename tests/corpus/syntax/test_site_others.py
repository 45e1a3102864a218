"""What syntax says of a cursor ('|') in C, C++, Go, Rust and Bash, in whole and in broken code."""

import pytest

from corpus.syntax.language import language_for
from tests.corpus.sites import check_site

C = "struct kettle { double litres; struct lid *lid; };\nstruct lid { int open; };\nstruct kettle *fill(struct kettle *k);\n"
CPP = """\
class Kettle : public Vessel {
public:
  Kettle(double litres);
  double boil() { return celsius_; }
  Lid &lid();
private:
  double celsius_ = 20;
  Lid lid_;
};
struct Lid { bool open; };
"""
GO = """\
package tea
import (
	"net/http"
	log "log/slog"
)
type Kettle struct {
	Litres float64
	Lid *Lid
}
type Lid struct { Open bool }
func NewKettle() *Kettle { return nil }
func (k *Kettle) Boil(long bool) *Lid { return k.Lid }
"""
RUST = """\
use std::collections::HashMap;
use crate::cups::{Cup, Saucer};
pub struct Kettle { pub litres: f64, lid: Box<Lid> }
struct Lid { open: bool }
impl Kettle {
    pub fn new() -> Self { todo!() }
    pub fn boil(&mut self, long: bool) -> Lid { todo!() }
}
"""
BASH = 'litres=1\nboil() {\n  local celsius=20\n  echo "it\'s $celsius"\n}\n'


def in_c(body: str, parameters: str = "struct kettle *k") -> str:
    return f"{C}void f({parameters}) {{\n  {body}\n}}\nvoid g(void) {{}}\n"


def in_cpp(body: str, parameters: str = "") -> str:
    return f"{CPP}void Kettle::pour({parameters}) {{\n  {body}\n}}\nvoid g() {{}}\n"


def in_go(body: str, parameters: str = "k *Kettle") -> str:
    return f"{GO}func f({parameters}) {{\n\t{body}\n}}\nfunc g() {{}}\n"


def in_rust(body: str, parameters: str = "k: &Kettle") -> str:
    return f"{RUST}fn f({parameters}) {{\n    {body}\n}}\nfn g() {{}}\n"


# language, text, receiver, its class
RECEIVERS = [
    ("c", in_c("k->|"), "k", "kettle"),
    ("c", in_c("k->lid->|"), "k->lid", "lid"),
    ("c", in_c("k.|", "struct kettle k"), "k", "kettle"),
    ("c", in_c("fill(k)->|"), "fill(k)", "kettle"),
    ("c", in_c("fill(k)->lid->|;"), "fill(k)->lid", "lid"),
    ("c", in_c("const struct lid *l = k->lid;\n  l->|"), "l", "lid"),
    ("c", in_c("((struct lid *)p)->|", "void *p"), "((struct lid *)p)", "lid"),
    ("c", in_c("for (struct lid *l = a; l; l->|"), "l", "lid"),
    ("c", in_c("if (k->lid && k->|\n  return;"), "k", "kettle"),
    ("c", in_c("char c = '\"'; k->|"), "k", "kettle"),
    ("c", "typedef struct { int size; } cup;\nvoid f(cup *c) { c->| }", "c", "cup"),
    ("cpp", in_cpp("this->|"), "this", "Kettle"),
    ("cpp", CPP + "struct A { Lid lid; void f() { this->lid.| } };", "this->lid", "Lid"),
    ("cpp", in_cpp("k.|", "const Kettle &k"), "k", "Kettle"),
    ("cpp", in_cpp("k->|", "std::unique_ptr<Kettle> k"), "k", "Kettle"),
    ("cpp", in_cpp("auto k = std::make_shared<tea::Kettle>(1);\n  k->|"), "k", "Kettle"),
    ("cpp", in_cpp("for (const auto &k : ks) { k.| }", "std::vector<Kettle> ks"), "k", "Kettle"),
    ("cpp", in_cpp("auto *k = new Kettle(1);\n  k->|"), "k", "Kettle"),
    ("cpp", in_cpp("static_cast<Lid *>(p)->|", "void *p"), "static_cast<Lid *>(p)", "Lid"),
    ("cpp", in_cpp("Kettle::|"), "Kettle", "Kettle"),
    ("cpp", in_cpp("std::vector<Lid> a;\n  a.|"), "a", "vector"),
    ("cpp", in_cpp("lid().|"), "lid()", ""),
    ("cpp", in_cpp("this->lid().|"), "this->lid()", "Lid"),
    ("cpp", in_cpp('auto s = R"(a " b)"; x->|', "Lid *x"), "x", "Lid"),
    ("go", in_go("k.|"), "k", "Kettle"),
    ("go", in_go("k.Lid.|"), "k.Lid", "Lid"),
    ("go", in_go("k := NewKettle()\n\tk.|", ""), "k", "Kettle"),
    ("go", in_go("k := &Kettle{Litres: 1}\n\tk.|", ""), "k", "Kettle"),
    ("go", in_go("for _, k := range ks {\n\t\tk.|\n\t}", "ks []*Kettle"), "k", "Kettle"),
    ("go", in_go("k.Boil(true).|"), "k.Boil(true)", "Lid"),
    ("go", in_go("if l, ok := x.(*Lid); ok {\n\t\tl.|\n\t}", "x any"), "l", "Lid"),
    ("go", in_go("http.|"), "http", "net/http"),
    ("go", in_go("log.|"), "log", "log/slog"),
    ("go", in_go("var l Lid\n\tif l.|\n\treturn"), "l", "Lid"),
    ("go", GO + "func (k *Kettle) Pour() {\n\tk.|\n}\n", "k", "Kettle"),
    ("go", in_go('s := `a " b`\n\tk.|'), "k", "Kettle"),
    ("rust", in_rust("k.|"), "k", "Kettle"),
    ("rust", in_rust("k.lid.|"), "k.lid", "Lid"),
    ("rust", in_rust("let mut k = Kettle::new();\n    k.|", ""), "k", "Kettle"),
    ("rust", in_rust("let k = Kettle { litres: 1.0 };\n    k.|", ""), "k", "Kettle"),
    ("rust", in_rust("k.boil(true).|", "k: &'a mut Kettle"), "k.boil(true)", "Lid"),
    ("rust", RUST + "impl Drop for Kettle {\n    fn drop(&mut self) {\n        self.|\n    }\n}", "self", "Kettle"),
    ("rust", RUST + "impl Kettle {\n    fn f() { Self::|", "Self", "Kettle"),
    ("rust", in_rust("Kettle::|"), "Kettle", "Kettle"),
    ("rust", in_rust("HashMap::|"), "HashMap", "HashMap"),
    ("rust", in_rust("for k in ks.iter() {}\n    for k in ks { k.| }", "ks: Vec<Kettle>"), "k", "Kettle"),
    ("rust", in_rust("let c = 'a'; let q = '\"'; k.|\n    let x = 1;"), "k", "Kettle"),
    ("rust", in_rust("let l: Box<dyn Lid> = g();\n    l.|"), "l", "Lid"),
    ("rust", in_rust('let s = r#"a " b"#; k.|'), "k", "Kettle"),
]


@pytest.mark.parametrize(("language", "marked", "receiver", "kind"), RECEIVERS)
def test_receiver(language: str, marked: str, receiver: str, kind: str) -> None:
    check_site(marked, language, kind="member", receiver=receiver, receiver_type=kind)


KINDS = [
    ("c", in_c("kett|"), "name", "kett"),
    ("c", "#include <sys/ty|", "import", "ty"),
    ("c", '#include "ke|"', "text", "ke"),
    ("c", in_c("struct lid *l|"), "declaration", "l"),
    ("c", in_c("a * b|"), "name", "b"),
    ("c", in_c("// k->|"), "text", ""),
    ("c", "#define SIZ|", "declaration", "SIZ"),
    ("cpp", "using namespace st|", "import", "st"),
    ("cpp", in_cpp("std::string na|"), "declaration", "na"),
    ("cpp", in_cpp("return a < b|"), "name", "b"),
    ("cpp", "class Po|", "declaration", "Po"),
    ("go", in_go("var x|"), "declaration", "x"),
    ("go", "package tea\nfunc (k *Kettle) Po|", "declaration", "Po"),
    ("go", in_go("go fu|"), "name", "fu"),
    ("go", 'package tea\nimport "net/ht|"', "text", "ht"),
    ("rust", "use std::collections::Ha|", "import", "Ha"),
    ("rust", "use std::{fs, i|}", "import", "i"),
    ("rust", in_rust("let mut x|"), "declaration", "x"),
    ("rust", in_rust("let x = y|"), "name", "y"),
    ("rust", "fn f<'a>(x: &'a st|", "name", "st"),
    ("bash", BASH + "bo|", "name", "bo"),
    ("bash", BASH + "echo $li|", "name", "li"),
    ("bash", BASH + 'echo "a ${li|', "name", "li"),
    ("bash", BASH + "echo ${#li|", "name", "li"),
    ("bash", BASH + "echo 'li|", "text", "li"),
    ("bash", BASH + "echo a # li|", "text", "li"),
    ("bash", BASH + "local -r li|", "declaration", "li"),
    ("bash", BASH + "if [[ $# -gt 1 ]]; then bo|", "name", "bo"),
]


@pytest.mark.parametrize(("language", "marked", "kind", "prefix"), KINDS)
def test_kind_and_prefix(language: str, marked: str, kind: str, prefix: str) -> None:
    check_site(marked, language, kind=kind, prefix=prefix)


EXPECTED = [
    ("c", in_c("fill(|"), "fill", 0, "kettle"),
    ("c", in_c("struct lid *l = |"), "", None, "lid"),
    ("c", C + "struct lid *f(void) {\n  return |\n}", "", None, "lid"),
    ("cpp", in_cpp("k.seal(1, |", "Kettle &k"), "k.seal", 1, ""),
    ("cpp", CPP + "void seal(int n, const Lid &lid) {}\nvoid f() { seal(1, | }", "seal", 1, "Lid"),
    ("go", in_go("k.Boil(|"), "k.Boil", 0, "bool"),
    ("go", GO + "func f() *Lid {\n\treturn |\n}", "", None, "Lid"),
    ("rust", in_rust("k.boil(|)"), "k.boil", 0, "bool"),
    ("rust", RUST + "fn f() -> Option<Lid> {\n    return |\n}", "", None, "Option"),
    ("rust", in_rust("let l: Lid = |"), "", None, "Lid"),
]


@pytest.mark.parametrize(("language", "marked", "callee", "argument", "expected"), EXPECTED)
def test_expected_argument(language: str, marked: str, callee: str, argument: object, expected: str) -> None:
    check_site(marked, language, callee=callee, argument=argument, expected_type=expected)


MEMBERS = [
    ("c", in_c("k->|"), {"litres", "lid"}),
    ("cpp", in_cpp("this->|"), {"boil", "lid", "celsius_", "lid_", "pour"}),
    ("go", in_go("k.|"), {"Litres", "Lid", "Boil"}),
    ("rust", in_rust("k.|"), {"litres", "lid", "new", "boil"}),
]


@pytest.mark.parametrize(("language", "marked", "own"), MEMBERS)
def test_own_members_wherever_they_stand(language: str, marked: str, own: set[str]) -> None:
    check_site(marked, language, own_members=own)


VISIBLE = [
    ("c", in_c("int a = 1, *b; enum { RED } c; |", "int d, char *e[]"), {"a", "b", "c", "d", "e", "RED", "fill", "kettle"}),
    ("cpp", in_cpp("auto [a, b] = c(); auto f = [](int x) { | };", "int d = 1"), {"a", "b", "d", "f", "x", "Kettle", "Lid"}),
    ("go", in_go("a, b := c(); if d := a; d { | }", "x, y int"), {"a", "b", "d", "x", "y", "f", "g", "http", "log", "Kettle"}),
    ("rust", in_rust("let (a, b) = c; if let Some(d) = a { for e in b { | } }"), {"a", "b", "d", "e", "k", "HashMap", "Cup"}),
    ("bash", BASH + "for cup in a b; do read -r tea; |; done", {"litres", "boil", "cup", "tea"}),
]  # fmt: skip


@pytest.mark.parametrize(("language", "marked", "names"), VISIBLE)
def test_visible_names(language: str, marked: str, names: set[str]) -> None:
    check_site(marked, language, visible=names)


ENCLOSING = [
    ("cpp", in_cpp("|", "int n"), ("Kettle", "pour"), ("void Kettle::pour(int n)",)),
    ("go", GO + "func (k *Kettle) Pour() {\n\t|\n}\n", ("Kettle", "Pour"), ("func (k *Kettle) Pour()",)),
    ("rust", RUST + "impl Drop for Kettle {\n    fn drop(&mut self) {\n        |\n    }\n}", ("Kettle", "drop"),
     ("impl Drop for Kettle", "fn drop(&mut self)")),
]  # fmt: skip


@pytest.mark.parametrize(("language", "marked", "enclosing", "signatures"), ENCLOSING)
def test_enclosing(language: str, marked: str, enclosing: tuple[str, ...], signatures: tuple[str, ...]) -> None:
    check_site(marked, language, enclosing=enclosing, enclosing_signatures=signatures)


def test_imports() -> None:
    check_site(in_go("|"), "go", imports={"http": "net/http", "log": "log/slog"})
    check_site(in_rust("|"), "rust", imports={"HashMap": "std.collections.HashMap", "Cup": ".crate.cups.Cup"})


@pytest.mark.parametrize(
    ("language_id", "path", "expected"),
    [("c", "a", "c"), ("", "a.h", "c"), ("cpp", "a.h", "cpp"), ("", "a.hpp", "cpp"), ("", "a.cc", "cpp"),
     ("go", "a", "go"), ("", "a.go", "go"), ("rust", "a", "rust"), ("", "a.rs", "rust"),
     ("shellscript", "a", "bash"), ("", "a.bats", "bash")],
)  # fmt: skip
def test_a_files_language(language_id: str, path: str, expected: str) -> None:
    found = language_for(language_id, path)
    assert found is not None
    assert found.id == expected
