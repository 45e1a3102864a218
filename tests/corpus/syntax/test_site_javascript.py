"""What syntax says of a cursor ('|') in JavaScript and in elements written in code, whole and broken."""

import pytest

from corpus.syntax.language import languages
from tests.corpus.sites import check_site, site

FOO = "class Foo extends Base {\n  size = 1;\n  constructor(a) { super(); this.state = new Bar(); }\n"

# text, receiver, its class
RECEIVERS = [
    ("const x = new Foo();\nx.|", "x", "Foo"),
    ("var x = new lib.Foo({ a: 1 })\nx.|", "x", "Foo"),
    ("let x\nx = new Foo()\nx.|", "x", "Foo"),
    (FOO + "  f() {\n    this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f() {\n    this.state.|\n  }\n}", "this.state", "Bar"),
    (FOO + "  f() {\n    super.|\n  }\n}", "super", "Base"),
    (FOO + "  f = async (e) => {\n    this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f() {\n    xs.forEach(function (x) { this.| })\n  }\n}", "this", "Foo"),
    (FOO + "  #own = new Map();\n  f() { this.#own.| }\n}", "this.#own", "Map"),
    (FOO + "}\nconst foo = new Foo();\nfoo.state.|", "foo.state", "Bar"),
    ("const Foo = class {\n  f() { this.| }\n}", "this", "Foo"),
    ("if (v instanceof Bar) { v.| }", "v", "Bar"),
    ("if (v instanceof Bar && v.|) {}", "v", "Bar"),
    ("x = v instanceof Bar ? v.| : null", "v", "Bar"),
    ("const fs = require('fs');\nfs.|", "fs", "fs"),
    ("const { Foo } = require('./foo');\nconst x = new Foo();\nx.|", "x", "Foo"),
    ("import path from 'path';\npath.|", "path", "path"),
    ("import * as path from 'node:path';\npath.|", "path", "node:path"),
    ("import React, { useState as use } from 'react';\nReact.|", "React", "React"),
    ("'abc'.|", "'abc'", "string"),
    ("`a ${b} c`.|", "`a ${b} c`", "string"),
    ("[].|", "[]", "Array"),
    ("const x = /a/;\nx.|", "x", "RegExp"),
    ("const x = { a: 1, b };\nx.|", "x", "x"),
    ("const x = Object.keys(y);\nx.|", "x", "Array"),
    ("Math.|", "Math", "Math"),
    ("let Math = 1;\nMath.|", "Math", "number"),
    ("a?.b?.(c)?.[0]?.|", "a?.b?.(c)?.[0]", ""),
    ("p.then(x => x.|)", "x", ""),
    ("promise.catch(f).finally(g).|", "promise.catch(f).finally(g)", ""),
    ("x.default.|", "x.default", ""),
    ("return x.|", "x", ""),
    ("f(...xs.|)", "xs", ""),
    ("foo()\n  // why\n  .|", "foo()", ""),
    # as while typing
    ("const x = new Foo();\nx.|\nfoo();", "x", "Foo"),
    ("const x = new Foo();\nfunction f() {\n  x.|\n  if (a) {}\n}", "x", "Foo"),
    (FOO + "  f() {\n    g(this.|\n  }\n  h() {}\n}", "this", "Foo"),
    (FOO + "  f() {\n    g({ a: this.|\n      b: 1 })\n  }\n}", "this", "Foo"),
    (FOO + "  f() {\n    const s = \"abc\n    this.|\n  }\n}", "this", "Foo"),
    (FOO + "  f() {\n    if (a) {\n      return [this.|", "this", "Foo"),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "receiver", "kind"), RECEIVERS)
def test_receiver(marked: str, receiver: str, kind: str) -> None:
    check_site(marked, "javascript", kind="member", receiver=receiver, receiver_type=kind)


COMPONENT = "function View(props) {\n  const x = new Foo();\n  return (\n    <div>\n"

# text, kind, prefix, receiver, its class
ELEMENTS = [
    (COMPONENT + "      {x.|}\n    </div>\n  );\n}", "member", "", "x", "Foo"),
    (COMPONENT + "      <Item a={x.|} />\n    </div>\n  );\n}", "member", "", "x", "Foo"),
    (COMPONENT + "      <Item {...x.|} />\n    </div>\n  );\n}", "member", "", "x", "Foo"),
    (COMPONENT + "      don't {x.|}\n    </div>\n  );\n}", "member", "", "x", "Foo"),
    (COMPONENT + "      <Item on={() => {\n        x.|\n      }} />\n    </div>\n  );\n}", "member", "", "x", "Foo"),
    (COMPONENT + "      {x.|\n    </div>\n  );\n}", "member", "", "x", "Foo"),
    (COMPONENT + "      <Item a={x.|\n    </div>\n  );\n}", "member", "", "x", "Foo"),
    (COMPONENT + "      some te|\n    </div>\n  );\n}", "text", "te", "", ""),
    (COMPONENT + "      <It|\n    </div>\n  );\n}", "name", "It", "", ""),
    (COMPONENT + "      <Item cl|\n    </div>\n  );\n}", "name", "cl", "", ""),
    (COMPONENT + "      <Item class='a|'\n    </div>\n  );\n}", "text", "a", "", ""),
    (COMPONENT + "      <Menu.|\n    </div>\n  );\n}", "member", "", "Menu", "Menu"),
    (COMPONENT + "      {xs.map((y) => <li key={y.|}>{y}</li>)}\n    </div>\n  );\n}", "member", "", "y", ""),
    (COMPONENT + "      {/* x.| */}\n    </div>\n  );\n}", "text", "", "", ""),
]


@pytest.mark.parametrize("language", ["javascript", "tsx"])
@pytest.mark.parametrize(("marked", "kind", "prefix", "receiver", "known"), ELEMENTS)
def test_in_elements(language: str, marked: str, kind: str, prefix: str, receiver: str, known: str) -> None:
    check_site(marked, language, kind=kind, prefix=prefix, receiver=receiver, receiver_type=known)


# text, receiver, its class
TYPED_ELEMENTS = [
    ("function View({ user }: Props) {\n  return <p title={user.|}>a</p>;\n}\ninterface Props { user: User }", "user", "User"),
    ("const View = (props: Props) => <p>{props.|}</p>;", "props", "Props"),
    ("const View: React.FC<Props> = (props) => <p>{props.|}</p>;", "props", ""),
    ("class View extends React.Component<Props> {\n  render() { return <p>{this.|}</p>; }\n}", "this", "View"),
    ("const f = <T,>(x: Foo) => x.|;", "x", "Foo"),
    ("const [x, setX] = useState<Foo>(y);\n(x as Foo).|", "(x as Foo)", "Foo"),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "receiver", "known"), TYPED_ELEMENTS)
def test_in_elements_with_types(marked: str, receiver: str, known: str) -> None:
    check_site(marked, "tsx", kind="member", receiver=receiver, receiver_type=known)


KINDS = [
    ("import { us|\n} from 'react'", "import", "us"),
    ("async function f|", "declaration", "f"),
    ("function* f|", "declaration", "f"),
    ("class A { static async f|", "name", "f"),
    ("class A {\n  static async f|", "declaration", "f"),
    ("const { a|", "name", "a"),
    ("x => y|", "name", "y"),
    ("// a.|", "text", ""),
    ("a = b / c / d|", "name", "d"),
    ("a = /[/'\"]x|", "text", "x"),
    ('s.replace(/"/g, x|)', "name", "x"),
    ("new Fo|", "name", "Fo"),
]


@pytest.mark.parametrize(("marked", "kind", "prefix"), KINDS)
def test_kind_and_prefix(marked: str, kind: str, prefix: str) -> None:
    check_site(marked, "javascript", kind=kind, prefix=prefix)


EXPECTED = [
    ("foo(a, { b: 1, c }, |", "foo", 2, ""),
    ("new Foo(|", "new Foo", 0, ""),
    ("foo?.(a, |", "foo", 1, ""),
    ("it('a', async () => {\n  const x = 1;\n  expect(|\n});", "expect", 0, ""),
    ("const x = new Foo();\nif (x === |)", "", None, "Foo"),
    ("if (|", "", None, ""),
    ("class A {\n  async f(|", "", None, ""),
]


@pytest.mark.parametrize(("marked", "callee", "argument", "expected"), EXPECTED)
def test_expected_argument(marked: str, callee: str, argument: object, expected: str) -> None:
    check_site(marked, "javascript", callee=callee, argument=argument, expected_type=expected)


def test_own_members() -> None:
    check_site(
        FOO + "  get area() { return 1 }\n  static make() {}\n  on = () => 1;\n  f() { this.| }\n}",
        "javascript",
        own_members={"size", "state", "area", "make", "on", "f"},
    )
    check_site("const api = { get() {}, put: (x) => 1, url };\napi.|", "javascript", own_members={"get", "put", "url"})


def test_visible_names() -> None:
    check_site(
        "const { a, b: c, ...d } = x;\nvar e = function (f, { g }, [h], ...i) {\n  for (const j of f) {\n    | } }",
        "javascript",
        visible={"a", "c", "d", "e", "f", "g", "h", "i", "j"},
    )
    assert not {"f", "j"} & set(site("const e = (f) => { let j };\n|", languages()["javascript"]).visible)


def test_imports_and_enclosing() -> None:
    check_site(
        "import a, { b as c } from './m.js';\nconst d = require('d'), { e } = require('./e');\n"
        "export default class A extends B {\n  async run(x) {\n    items.map((y) => |)\n  }\n}",
        "javascript",
        imports={"a": "./m.js", "c": "./m.js.b", "d": "d", "e": "./e.e"},
        enclosing=("A", "run"),
        enclosing_signatures=("class A extends B", "async run(x)"),
    )
