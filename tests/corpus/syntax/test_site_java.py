"""What syntax says of a cursor ('|') in Java, in whole and in broken code."""

import pytest

from corpus.syntax.language import languages
from tests.corpus.sites import check_site, site

FOO = "class Foo extends Base {\n  private Bar state = null;\n  int size;\n  Bar run() { return state; }\n"
BAR = "class Bar { Foo foo; Foo make() { return foo; } }\n"


def method(body: str, parameters: str = "") -> str:
    return f"class A {{\n  void m({parameters}) {{\n    {body}\n  }}\n  void n() {{}}\n}}\n"


# text, receiver, its class
RECEIVERS = [
    (method("p.|", "Path p"), "p", "Path"),
    (method("p.|;", "final Path p"), "p", "Path"),
    (method("p.|;", "Map<String, List<Path>> p"), "p", "Map"),
    (method("p.|;", "java.nio.file.Path p"), "p", "Path"),
    (method("p.|;", "Path... p"), "p", "Path"),
    (method("p.|;", "Path[] p"), "p", ""),
    (method("p[0].|;", "Path[] p"), "p[0]", "Path"),
    (method("for (Path p : ps) { p.| }"), "p", "Path"),
    (method("for (var p : ps) { p.| }", "List<Path> ps"), "p", "Path"),
    (method("for (int i = 0; i < n; i++) { x.| }", "Foo x"), "x", "Foo"),
    (method("Foo x = make();\n    x.|"), "x", "Foo"),
    (method("var x = new Foo();\n    x.|"), "x", "Foo"),
    (method("var x = new ArrayList<Foo>(List.of());\n    x.|"), "x", "ArrayList"),
    (method("var x = new HashMap<>();\n    x.|"), "x", "HashMap"),
    (method("var x = (Foo) y;\n    x.|"), "x", "Foo"),
    (method("new Foo(1).|"), "new Foo(1)", "Foo"),
    (method("new ArrayList<Foo>().|"), "new ArrayList<Foo>()", "ArrayList"),
    (method("new Foo<A>() { int x; }.|"), "new Foo<A>() { int x; }", "Foo"),
    (method("((Foo) y).|"), "((Foo) y)", "Foo"),
    (method("try (Reader r = open()) { r.| }"), "r", "Reader"),
    (method("try {} catch (IOException | Foo e) { e.| }"), "e", "IOException"),
    (method("if (o instanceof Foo f) { f.| }"), "f", "Foo"),
    (method("if (o instanceof Foo f && f.|) {}"), "f", "Foo"),
    (method("if (o instanceof Foo) { o.| }", "Object o"), "o", "Foo"),
    (method("switch (o) { case Foo f -> f.|; default -> {} }"), "f", "Foo"),
    (method("if (o instanceof Point(Foo x, int y)) { x.| }"), "x", "Foo"),
    (FOO + "  void f() {\n    this.|\n  }\n}", "this", "Foo"),
    (FOO + "  void f() {\n    super.|\n  }\n}", "super", "Base"),
    (FOO + "  void f() {\n    state.|\n  }\n}", "state", "Bar"),
    (FOO + "  void f() {\n    this.state.|\n  }\n}", "this.state", "Bar"),
    (FOO + "  void f() {\n    run().|\n  }\n}", "run()", "Bar"),
    (FOO + "  void f() {\n    this.run().|\n  }\n}", "this.run()", "Bar"),
    (FOO + "  void f() {\n    run().make().|\n  }\n}\n" + BAR, "run().make()", "Foo"),
    (FOO + "}\n" + method("foo.state.foo.|", "Foo foo") + BAR, "foo.state.foo", "Foo"),
    (method('"abc".|'), '"abc"', "String"),
    (method('"""\n    a "quoted" b\n    """.|'), '"""\n    a "quoted" b\n    """', "String"),
    (method("String.format(a).|"), "String.format(a)", "String"),
    (method("System.out.|"), "System.out", ""),
    (method("System.|"), "System", "System"),
    ("import java.util.List;\n" + method("List.|"), "List", "List"),
    ("import static java.lang.Math.PI;\n" + method("PI.|"), "PI", "PI"),
    (method("xs.stream().map(x -> x.|)"), "x", ""),
    (method("xs.forEach((Foo x) -> { x.| });"), "x", "Foo"),
    (method("xs.stream()\n        .filter(a)\n        .|"), "xs.stream()\n        .filter(a)", ""),
    (method("xs.map(Foo::|)"), "Foo", "Foo"),
    (method("xs.map(List<Foo>::|)"), "List<Foo>", "List"),
    (method("Foo.<A, B>|"), "Foo", "Foo"),
    (method("Foo.<A>make(1).|"), "Foo.<A>make(1)", ""),
    (method("a < b && c > d.|"), "d", ""),
    (method("Style.COMPACT.|"), "Style.COMPACT", ""),
    (method("this::|"), "this", "A"),
    (method("char c = '\"'; x.|", "Foo x"), "x", "Foo"),
    (method("Runnable r = new Runnable() { public void run() { this.| } };"), "this", "Runnable"),
    ("enum Color { RED, GREEN;\n  Color next() { return RED.| } }", "RED", "Color"),
    ("record P(Foo x, int y) { Foo f() { return this.x.| } }", "this.x", "Foo"),
    ("class É { void f() { this.| } }", "this", "É"),
    # as while typing
    (method("x.|\n    Bar y = 1;", "Foo x"), "x", "Foo"),
    (method("x.|\n    return;", "Foo x"), "x", "Foo"),
    (method("if (x.|\n    y.run();", "Foo x"), "x", "Foo"),
    (method("if (x.|", "Foo x"), "x", "Foo"),
    (method("g(h(x.|\n    int i = 0;", "Foo x"), "x", "Foo"),
    (method('String s = "abc\n    x.|', "Foo x"), "x", "Foo"),
    (method("int[] a = { x.|\n    };", "Foo x"), "x", "Foo"),
    (method("for (Foo f : fs) {\n      f.|"), "f", "Foo"),
    (method("return x\n        .|\n        .c();", "Foo x"), "x", "Foo"),
    (FOO + "  void f() {\n    if (a) {\n      this.|", "this", "Foo"),
    (FOO + "  void f()\n      throws E {\n    if (a) {\n      this.|\n    return;\n  }\n  int g() {}\n}", "this", "Foo"),
    (FOO + "  void f() {\n    g(x -> {\n      this.|\n\n  int g() {}\n}", "this", "Foo"),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "receiver", "kind"), RECEIVERS)
def test_receiver(marked: str, receiver: str, kind: str) -> None:
    check_site(marked, "java", kind="member", receiver=receiver, receiver_type=kind)


KINDS = [
    (method("fo|"), "name", "fo"),
    ("import java.util.|;", "import", ""),
    ("import java.util.Li|", "import", "Li"),
    ("import static java.util.Collections.so|", "import", "so"),
    ("package a.b.|", "import", ""),
    ("import ja|", "import", "ja"),
    (method("// foo.|"), "text", ""),
    ("/** foo.|", "text", ""),
    ("/** a */ class A|", "declaration", "A"),
    (method('s = "foo.|"'), "text", ""),
    (method("Foo x|"), "declaration", "x"),
    (method("List<Foo> x|"), "declaration", "x"),
    (method("int[] x|"), "declaration", "x"),
    (method("var x|"), "declaration", "x"),
    (method("", "final Foo x|"), "declaration", "x"),
    ("class A {\n  private static Foo x|", "declaration", "x"),
    ("record P|", "declaration", "P"),
    (method("return x|"), "name", "x"),
    (method("throw new Fo|"), "name", "Fo"),
    (method("else fo|"), "name", "fo"),
    (method("if (o instanceof Foo f|"), "declaration", "f"),
    ("class A {\n  @Over|\n  void f() {}\n}", "name", "Over"),
    ("class A {\n  @Foo.|\n  void f() {}\n}", "member", ""),
    ("class A extends B|", "name", "B"),
    (method("a < b|"), "name", "b"),
    ("|", "name", ""),
]


@pytest.mark.parametrize(("marked", "kind", "prefix"), KINDS)
def test_kind_and_prefix(marked: str, kind: str, prefix: str) -> None:
    check_site(marked, "java", kind=kind, prefix=prefix)


def test_what_is_imported_from() -> None:
    check_site("import java.util.|", "java", kind="import", receiver_type="java.util")
    check_site("import static java.util.Collections.|", "java", receiver_type="java.util.Collections")


EXPECTED = [
    ("class A { void g(int a, Foo b) {}\n  void f() { g(1, |) } }", "g", 1, "Foo"),
    ("class A { void g(int a, Foo b) {}\n  void f() { this.g(1, | } }", "this.g", 1, "Foo"),
    ("class A { A(Foo a) {} }\n" + method("new A(|)"), "new A", 0, "Foo"),
    ("class B { B(Foo a) {} }\nclass A extends B { A() { super(|) } }", "super", 0, "Foo"),
    (method("f(new HashMap<String, Foo>(), |"), "f", 1, ""),
    (method("f(x -> {\n      int a = 1;\n      return a;\n    }, |"), "f", 1, ""),
    (method("new ArrayList<Foo>(|"), "new ArrayList", 0, ""),
    ("class A { Foo f() {\n    return | } }", "", None, "Foo"),
    (method("Foo x = |"), "", None, "Foo"),
    (method("Map<String, Foo> x = |"), "", None, "Map"),
    (method("for (Foo x = |"), "", None, "Foo"),
    ("class A {\n  private final Foo x = |", "", None, "Foo"),
    ("class A { Foo x;\n  void f() {\n    this.x = |\n  }\n}", "", None, "Foo"),
    (method("if (x == |)", "Foo x"), "", None, "Foo"),
    (method("if (|"), "", None, ""),
    ("class A {\n  public void f(|", "", None, ""),
    ("class A {\n  Foo f(|", "", None, ""),
    ("class A {\n  public A(|", "", None, ""),
    ("class A {\n  A(|\n}", "", None, ""),
    ("enum A {\n  RED(|);\n  A(Foo a) {} }", "RED", 0, ""),
    ("@Table(name = |)\nclass A {}", "Table", "name", ""),
]


@pytest.mark.parametrize(("marked", "callee", "argument", "expected"), EXPECTED)
def test_expected_argument(marked: str, callee: str, argument: object, expected: str) -> None:
    check_site(marked, "java", callee=callee, argument=argument, expected_type=expected)


MEMBERS = [
    (FOO + "  void f() { this.| } }", {"state", "size", "run", "f"}),
    ("enum Color { RED, GREEN; int code; }\n" + method("Color.|"), {"RED", "GREEN", "code"}),
    ("interface I { int K = 1; void a(); default int b() { return 1; } }\n" + method("x.|", "I x"), {"K", "a", "b"}),
    ("record P(int x, Foo y) { int z() { return 1; } }\n" + method("p.|", "P p"), {"x", "y", "z"}),
]


@pytest.mark.parametrize(("marked", "own"), MEMBERS)
def test_own_members(marked: str, own: set[str]) -> None:
    check_site(marked, "java", own_members=own)


def test_nothing_is_known_of_what_is_unknown() -> None:
    assert not site(method("Object o = new Object() { int hidden; };\n    x.|"), languages()["java"]).own_members


VISIBLE = [
    ("class A { int a, b[]; A(Foo c) {}\n  void d(Foo e, Bar... f) { int g = 1, h; | } }", set("abdefgh")),
    (method("for (int i = 0, j = 1; ; ) { | }"), {"i", "j", "m", "n"}),
    (method("try (R r = open(); S s = open()) { | }"), {"r", "s"}),
    (method("f((x, y) -> |)"), {"x", "y"}),
    (method("f(x -> |)"), {"x"}),
    ("import a.B;\nimport static c.D.e;\nclass A { interface I {}\n  enum E { X }\n  void f() { | } }", {"B", "e", "A", "I", "E"}),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "names"), VISIBLE)
def test_visible_names(marked: str, names: set[str]) -> None:
    check_site(marked, "java", visible=names)


def test_what_blocks_bind_stays_in_them() -> None:
    found = site(method("if (a) { int b; } else { int c; }\n    for (int d = 0;;) {}\n    |"), languages()["java"])
    assert set(found.visible) == {"A", "m", "n"}


def test_imports_and_enclosing() -> None:
    check_site(
        "import java.util.List;\nimport static a.B.c;\nimport a.*;\n"
        "public class A<T> extends B<T> {\n  @Override\n  public void run(Foo x) throws E {\n    |\n  }\n}",
        "java",
        imports={"List": "java.util.List", "c": "a.B.c"},
        enclosing=("A", "run"),
        enclosing_signatures=("public class A<T> extends B<T>", "@Override public void run(Foo x) throws E"),
    )
