"""What syntax says of a cursor ('|') in TypeScript, in whole and in broken code."""

import pytest

from corpus.syntax.language import languages
from tests.corpus.sites import check_site, site

FOO = "class Foo {\n  size = 1;\n  private state: Bar;\n  run(): Bar { return this.state; }\n"

# text, receiver, its class
RECEIVERS = [
    ("function f(p: Path) {\n  p.|\n}", "p", "Path"),
    ("function f(p?: Path) {\n  p?.|\n}", "p", "Path"),
    ("function f(p: Path) {\n  p!.|\n}", "p", "Path"),
    ("function f(p: Path | null | undefined) { p.| }", "p", "Path"),
    ("function f(p: ns.Path<string>) { p.| }", "p", "Path"),
    ("function f(ps: Path[]) { ps.| }", "ps", "Array"),
    ("function f(ps: readonly Path[]) { ps.| }", "ps", "Array"),
    ("function f(ps: Path[]) { ps[0].| }", "ps[0]", "Path"),
    ("function f(ps: Path[]) { for (const p of ps) { p.| } }", "p", "Path"),
    ("let x: Foo = make();\nx.|", "x", "Foo"),
    ("const x = new Foo();\nx.|", "x", "Foo"),
    ("const x = new Map<string, Foo>();\nx.|", "x", "Map"),
    ("const x = new Foo\nx.|", "x", "Foo"),
    ("const x = new lib.Foo(1, 2)\nx.|", "x", "Foo"),
    ("new Foo(1).|", "new Foo(1)", "Foo"),
    ("new Map<string, Foo[]>().|", "new Map<string, Foo[]>()", "Map"),
    ("let x = new Foo();\nx = new Bar();\nx.|", "x", "Bar"),
    (FOO + "  f() {\n    this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f() {\n    this.state.|\n  }\n}", "this.state", "Bar"),
    (FOO + "  f() {\n    this.run().|\n  }\n}", "this.run()", "Bar"),
    (FOO + "  f = () => {\n    this.|\n  }\n}", "this", "Foo"),
    (FOO + "}\nfunction g(foo: Foo) { foo.run().| }", "foo.run()", "Bar"),
    (FOO + "}\nfunction g(foo: Foo) { foo?.state?.| }", "foo?.state", "Bar"),
    ("class A { constructor(private readonly x: Foo) {}\n  f() { this.x.| } }", "this.x", "Foo"),
    ("class A { constructor(private x: Foo) { x.| } }", "x", "Foo"),
    ("class A { #x = new Foo();\n  f() { this.#x.| } }", "this.#x", "Foo"),
    ("class A { f() { this.#| } }", "this", "A"),
    ("class A extends B { f() { super.| } }", "super", "B"),
    ("if (v instanceof Bar) {\n  v.|\n}", "v", "Bar"),
    ("v instanceof Bar && v.|", "v", "Bar"),
    ("const y = x as Foo;\ny.|", "y", "Foo"),
    ("(x as Foo).|", "(x as Foo)", "Foo"),
    ("(<Foo>x).|", "(<Foo>x)", "Foo"),
    ("const y = { a: 1 } satisfies Foo;\ny.|", "y", "Foo"),
    ("import * as fs from 'fs';\nfs.|", "fs", "fs"),
    ("import { Foo } from './foo';\nFoo.|", "Foo", "Foo"),
    ("import Foo from './foo';\nconst x = new Foo();\nx.|", "x", "Foo"),
    ("import fs = require('fs');\nfs.|", "fs", "fs"),
    ("'abc'.|", "'abc'", "string"),
    ("`a${b}c`.|", "`a${b}c`", "string"),
    ("/[a-z/]+'/g.|", "/[a-z/]+'/g", "RegExp"),
    ("import.meta.env.|", "import.meta.env", ""),
    ("[1, 2].|", "[1, 2]", "Array"),
    ("const x = { a: 1 };\nx.|", "x", "x"),
    ("const x: Foo = { a: 1 };\nx.|", "x", "Foo"),
    ("function f() { const x = { a: 1 }; }\nfunction g(x) { x.| }", "x", ""),
    ("const x = [];\nx.|", "x", "Array"),
    ("function f(): Foo {}\nf().|", "f()", "Foo"),
    ("const f = (a: number): Foo => make(a);\nf(1).|", "f(1)", "Foo"),
    ("async function f(): Promise<Foo> {}\nconst x = await f();\nx.|", "x", "Foo"),
    ("async function f(): Promise<Foo> {}\nf().|", "f()", "Promise"),
    ("async function f(): Promise<Foo> {}\n(await f()).|", "(await f())", "Foo"),
    ("function f({ p }: Foo) { p.| }\n" + FOO + "}", "p", ""),
    (FOO + "}\nconst foo: Foo = make();\nconst { state } = foo;\nstate.|", "state", "Bar"),
    ("JSON.|", "JSON", "JSON"),
    ("promise.catch(e => 1).|", "promise.catch(e => 1)", ""),
    ("enum Color { Red, Green }\nColor.|", "Color", "Color"),
    ("(a + b).|", "(a + b)", ""),
    ("a[0].b(c, d).|", "a[0].b(c, d)", ""),
    ("const é = new Foo();\né.|", "é", "Foo"),
    ("const $s = '😀', $x = new Foo(); $x.|", "$x", "Foo"),
    ("const x = new Foo()\r\nx.|\r\n", "x", "Foo"),
    ("xs.map((x: Foo) => x.|)", "x", "Foo"),
    ("xs.map(x => x.|)", "x", ""),
    ("`${a.|}`", "a", ""),
    ("foo\n  .bar()\n  .|", "foo\n  .bar()", ""),
    # as while typing
    ("function f(x: Foo) {\n  x.|\n  const y = 1;\n}", "x", "Foo"),
    ("function f(x: Foo) {\n  x.|\n  return y;\n}", "x", "Foo"),
    ("function f(x: Foo) {\n  if (x.|\n  return 1;\n}", "x", "Foo"),
    (FOO + "  f(x: Foo) {\n    if (this.|\n  }\n  g() {}\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    g(this.|\n    const y = 1;\n  }\n  g() {}\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    const y = [this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    xs.map(x => {\n      this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    g({ a: x.|\n    })\n  }\n}", "x", "Foo"),
    (FOO + "  f(x: Foo) {\n    const s = 'abc\n    this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    const s = `a ${this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    this.|", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    g(() => {\n      this.|\n    const y = 1;\n  }\n  g() {}\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    x = { a: this.|\n    const y = 1;\n  }\n  g() {}\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    switch (x) {\n    case 1:\n      this.|\n    case 2:\n    }\n  }\n}", "this", "Foo"),
    (FOO + "  f(x: Foo) {\n    g(`a ${this.|\n    const y = 1;\n  }\n}", "this", "Foo"),
    ("function f(x: Foo) {\n  g(x.|\n}\n\nfunction h() {}", "x", "Foo"),
    ("function f(x: Foo) {\n  while (x.|", "x", "Foo"),
]


@pytest.mark.parametrize(("marked", "receiver", "kind"), RECEIVERS)
def test_receiver(marked: str, receiver: str, kind: str) -> None:
    check_site(marked, "typescript", kind="member", receiver=receiver, receiver_type=kind)


KINDS = [
    ("foo|", "name", "foo"),
    ("$foo|", "name", "$foo"),
    ("f(...ar|)", "name", "ar"),
    ("import { | } from 'm'", "import", ""),
    ("import {\n  a,\n  type b|\n} from 'm'", "import", "b"),
    ("import F|", "import", "F"),
    ("export { a| }", "import", "a"),
    ("// foo.|", "text", ""),
    ("/* foo.|", "text", ""),
    ("/** a\n * foo.| */", "text", ""),
    ("/* a */ foo.|", "member", ""),
    ("'abc |", "text", ""),
    ("`abc |", "text", ""),
    ("`a ${b} c|", "text", "c"),
    ("`a ${b|}", "name", "b"),
    ("`a ${f(`b ${c}`)} d|`", "text", "d"),
    ("`a ${f(`b ${c.|", "member", ""),
    ("/['\"]/; foo.|", "member", ""),
    ("x = /a|", "text", "a"),
    ("a / b / c.|", "member", ""),
    ("function f|", "declaration", "f"),
    ("class A|", "declaration", "A"),
    ("const x|", "declaration", "x"),
    ("type T|", "declaration", "T"),
    ("class A {\n  private x|", "declaration", "x"),
    ("@dec.|\nclass A {}", "member", ""),
    ("@De|\nclass A {}", "name", "De"),
    ("g(a, |", "name", ""),
    ("let x: Fo|", "name", "Fo"),
    ("x?.|", "member", ""),
    ("|", "name", ""),
]


@pytest.mark.parametrize(("marked", "kind", "prefix"), KINDS)
def test_kind_and_prefix(marked: str, kind: str, prefix: str) -> None:
    check_site(marked, "typescript", kind=kind, prefix=prefix)


def test_the_module_may_stand_after_the_names() -> None:
    check_site("import { a, | } from './m';\n", "typescript", kind="import", receiver_type="./m")
    check_site("import { a|\n  b } from 'm';\n", "typescript", receiver_type="m")


EXPECTED = [
    ("function g(a: number, b: string) {}\ng(1, |", "g", 1, "string"),
    ("function g({ a }: A, b: B) {}\ng(1, |)", "g", 1, "B"),
    ("const g = (a: number, b: Foo) => {};\ng(1, |)", "g", 1, "Foo"),
    ("class A { m(a: Foo) {}\n f() { this.m(|) } }", "this.m", 0, "Foo"),
    ("class A { constructor(a: Foo) {} }\nnew A(|)", "new A", 0, "Foo"),
    ("class A { constructor(a: Foo) {} }\nclass B extends A { constructor() { super(|) } }", "super", 0, "Foo"),
    ("function f(): Foo {\n  return |\n}", "", None, "Foo"),
    ("async function f(): Promise<Foo> {\n  return |\n}", "", None, "Foo"),
    ("function f() {\n  const x: Foo = |\n}", "", None, "Foo"),
    ("class A {\n  private x: Foo | null = |\n}", "", None, "Foo"),
    ("class A { x: Foo;\n  f() {\n    this.x = |\n  } }", "", None, "Foo"),
    ("let x: Foo;\nif (x === |)", "", None, "Foo"),
    ("lib.call(1, 2, |", "lib.call", 2, ""),
    ("f(new Map<string, Foo>(), |", "f", 1, ""),
    ("f(() => {\n  const a = 1;\n  g();\n}, |)", "f", 1, ""),
    ("function g<T>(a: Foo) {}\ng<string>(|)", "g", 0, "Foo"),
    ("if (|", "", None, ""),
    ("class A {\n  constructor(|", "", None, ""),
    ("class A {\n  private m(|", "", None, ""),
    ("class A {\n  m(a: Foo, |\n}", "", None, ""),
    ("class A {\n  x = make(|\n}", "make", 0, ""),
]


@pytest.mark.parametrize(("marked", "callee", "argument", "expected"), EXPECTED)
def test_expected_argument(marked: str, callee: str, argument: object, expected: str) -> None:
    check_site(marked, "typescript", callee=callee, argument=argument, expected_type=expected)


MEMBERS = [
    (FOO + "  f() { this.| } }", {"size", "run", "state", "f"}),
    ("class A { constructor(private x: Foo, y: Bar) { this.z = 1; }\n  f() { this.| } }", {"x", "z", "f"}),
    ("interface A { a: string; b?(): void }\nlet x: A;\nx.|", {"a", "b"}),
    ("enum Color { Red, Green = 2 }\nColor.|", {"Red", "Green"}),
    ("type A = { a: string; b(): void };\nfunction f(x: A) { x.| }", {"a", "b"}),
    ("const api = { get: (u: string) => u, post() {}, base };\napi.|", {"get", "post", "base"}),
    ("abstract class A { abstract a(): void; static s = 1; get g(): X { return 1 } }\nlet x: A; x.|", {"a", "s", "g"}),
]


@pytest.mark.parametrize(("marked", "own"), MEMBERS)
def test_own_members(marked: str, own: set[str]) -> None:
    check_site(marked, "typescript", own_members=own)


def test_a_plain_parameter_is_no_member() -> None:
    found = site("class A { constructor(y: Bar) {}\n  f() { this.| } }", languages()["typescript"])
    assert "y" not in found.own_members


VISIBLE = [
    ("const top = 1;\nfunction f(arg: A) { let local; | }", {"top", "f", "arg", "local"}),
    ("const { a, b: c, d = 1, ...e } = x, [g, ...h] = y;\n|", {"a", "c", "d", "e", "g", "h"}),
    ("function f({ p, q: [r] }: P, ...rest: A[]) { | }", {"p", "r", "rest"}),
    ("for (const i of xs) { | }", {"i"}),
    ("for (let i = 0; i < |", {"i"}),
    ("try {} catch (err) { | }", {"err"}),
    ("xs.map((x, i) => | )", {"x", "i"}),
    ("import a, { b as c, type D } from 'm';\nimport * as ns from 'n';\n|", {"a", "c", "D", "ns"}),
    ("class A {}\ninterface I {}\ntype T = string;\nenum E {}\nnamespace N {}\n|", {"A", "I", "T", "E", "N"}),
    ("declare function f(a: X): Y;\n|", {"f"}),
]


@pytest.mark.parametrize(("marked", "names"), VISIBLE)
def test_visible_names(marked: str, names: set[str]) -> None:
    check_site(marked, "typescript", visible=names)


def test_what_blocks_and_functions_bind_stays_in_them() -> None:
    found = site(
        "if (a) { const b = 1 }\nfunction f(c) { var d }\nclass A { m() {} x = 1 }\n|", languages()["typescript"]
    )
    assert set(found.visible) == {"f", "A"}


def test_imports_and_enclosing() -> None:
    check_site(
        "import a, { b as c } from './m';\nimport * as ns from 'n';\n"
        "export class A<T> extends B<T> {\n  async run(x: Foo): Promise<void> {\n    |\n  }\n}",
        "typescript",
        imports={"a": "./m", "c": "./m.b", "ns": "n"},
        enclosing=("A", "run"),
        enclosing_signatures=("class A<T> extends B<T>", "async run(x: Foo): Promise<void>"),
    )
