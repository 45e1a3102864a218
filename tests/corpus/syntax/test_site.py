"""What syntax says of a cursor ('|'), in whole and in broken code."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.language import Language, languages
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.queries import query
from corpus.syntax.site import CompletionSite, site_at
from corpus.syntax.text import SourceText

LANGUAGE = languages()["python"]
FOO = "class Foo:\n    size = 1\n    def run(self) -> 'Bar':\n        self.state = 1\n"


def site(marked: str) -> CompletionSite:
    before, _, after = marked.rpartition("|")
    offset = len(before.encode("utf-8", "surrogatepass"))
    return site_at(SyntaxDocument((before + after).encode("utf-8", "surrogatepass"), LANGUAGE), offset)


def check_site(marked: str, **expected: object) -> None:
    found = site(marked)
    assert {name: getattr(found, name) for name in expected} == expected


RECEIVERS = [
    ("def f(p: Path):\n    p.|", "p", "Path"),
    ("def f(p: 'Path'):\n    p.|", "p", "Path"),
    ("def f(p: Optional[Path]):\n    p.|", "p", "Path"),
    ("def f(p: Path | None = None):\n    p.|", "p", "Path"),
    ("def f(p: pathlib.Path):\n    p.|", "p", "Path"),
    ("x: Foo = make()\nx.|", "x", "Foo"),
    ("x = Foo()\nx.|", "x", "Foo"),
    ("x = Foo()\nx = Bar()\nx.|", "x", "Bar"),
    ("x = lib.Foo(1, 2)\nx.|", "x", "Foo"),
    ("x = Foo(\n  1,\n)\nx.|", "x", "Foo"),
    (FOO + "        self.|", "self", "Foo"),
    (FOO + "    @classmethod\n    def make(cls):\n        cls.|", "cls", "Foo"),
    (FOO + "def f(foo: Foo):\n    foo.run().|", "foo.run()", "Bar"),
    ("class A:\n    def __init__(self):\n        self.x = Foo()\n    def g(self):\n        self.x.|", "self.x", "Foo"),
    ("if isinstance(v, Bar):\n    v.|\n", "v", "Bar"),
    ("with Foo() as x:\n    x.|", "x", "Foo"),
    ("import os.path\nos.path.|", "os.path", "os.path"),
    ("import numpy as np\nnp.|", "np", "numpy"),
    ("'abc'.|", "'abc'", "str"),
    ('f"a{b}".|', 'f"a{b}"', "str"),
    ("b'abc'.|", "b'abc'", "bytes"),
    ("[1, 2].|", "[1, 2]", "list"),
    ("{}.|", "{}", "dict"),
    ("{'a': 1}.|", "{'a': 1}", "dict"),
    ("x = []\nx.|", "x", "list"),
    ("def f() -> Foo: ...\nf().|", "f()", "Foo"),
    ("(a + b).|", "(a + b)", ""),
    ("a[0].b(c, d).|", "a[0].b(c, d)", ""),
    ("class Foo:\n    def f(self):\n        self.|\n    x = 3\n", "self", "Foo"),
    ("def f(x: Foo):\n    if x.|\n    return 1", "x", "Foo"),
    ("def f(x: Foo):\n    g(x.|\n\ndef h(): pass", "x", "Foo"),
    ("def f(x: Foo):\n    y = [x.|\n    z = 2", "x", "Foo"),
    ("é = Foo()\né.|", "é", "Foo"),
    ("s = '😀'; x = Foo(); x.|", "x", "Foo"),
    ("x = Foo()\r\nx.|\r\n", "x", "Foo"),
    ("x = lambda y: y.|", "y", ""),
    ("[a.| for a in b]", "a", ""),
    ("print(f'{a.|}')", "a", ""),
    ("x = Foo()\nx.\\\n  y.|", None, ""),
]


@pytest.mark.parametrize(("marked", "receiver", "kind"), RECEIVERS)
def test_receiver(marked: str, receiver: str | None, kind: str) -> None:
    found = site(marked)
    assert found.kind == "member"
    assert found.receiver_type == kind
    assert receiver is None or found.receiver == receiver


KINDS = [
    ("foo|", "name", "foo"),
    ("from os import |", "import", ""),
    ("from os import pa|", "import", "pa"),
    ("import o|", "import", "o"),
    ("import os.|", "import", ""),
    ("# foo.|", "text", ""),
    ("'abc |", "text", ""),
    ('"""doc.|', "text", ""),
    ("def f|", "declaration", "f"),
    ("class A|", "declaration", "A"),
    ("@dec.|\ndef f(): pass", "member", ""),
    ("g(a, |", "name", ""),
    ("|", "name", ""),
]


@pytest.mark.parametrize(("marked", "kind", "prefix"), KINDS)
def test_kind_and_prefix(marked: str, kind: str, prefix: str) -> None:
    check_site(marked, kind=kind, prefix=prefix, start=marked.encode().index(b"|") - len(prefix.encode()))


EXPECTED = [
    ("def g(a: int, b: str): pass\ng(1, |", "g", 1, "str"),
    ("def g(a: int, b: Foo): pass\ng(b=|", "g", "b", "Foo"),
    ("def f() -> Foo:\n    return |", "", None, "Foo"),
    ("x: Foo = |", "", None, "Foo"),
    ("lib.call(1, 2, |", "lib.call", 2, ""),
]


@pytest.mark.parametrize(("marked", "callee", "argument", "expected"), EXPECTED)
def test_expected_argument(marked: str, callee: str, argument: object, expected: str) -> None:
    check_site(marked, callee=callee, argument=argument, expected_type=expected)


def test_scope_imports_and_enclosing() -> None:
    found = site(
        "import os\nfrom a.b import c as d\nTOP = 1\nclass A:\n    def f(self, arg):\n        local = 2\n        |"
    )
    assert found.imports == {"os": "os", "d": "a.b.c"}
    assert found.enclosing == ("A", "f")
    assert found.enclosing_signatures == ("class A:", "def f(self, arg):")
    assert found.visible["local"].distance < found.visible["TOP"].distance
    assert found.visible["arg"].kind == "parameter"


def test_own_members_are_the_classes_in_this_file() -> None:
    assert site(FOO + "        self.|").own_members == {"size", "run", "state"}


def test_what_calls_itself_ends() -> None:
    check_site(
        "class A:\n    def f(self):\n        self.x = self.x.f().x.f()\n        self.x.f().|", receiver="self.x.f()"
    )


SNIPPETS = [
    "def f(x: Foo):\n",
    "class A { m(x: Foo) {",
    "void f(Foo<A> x) {\n",
    "x => {",
    "}",
    "`a${",
    "/*",
    "*/",
    "</a>",
    "?.",
    "::",
    "    x.",
    "'",
    '"""',
    "(",
    "]",
    "\r\n",
    "\n",
    "é",
    "😀",
    "\ud83d",
    "\0",
    "class A:\n",
    "import a\n",
]

BRACES = "class Foo {\n  Foo run() { return x.y; }\n}\n"
WHOLE = {"java": BRACES, "javascript": BRACES.replace("Foo run", "run"), "typescript": BRACES.replace("Foo run", "run")}
WHOLE["tsx"] = WHOLE["typescript"]
WHOLE["csharp"] = BRACES
WHOLE["php"] = "<?php\nclass Foo {\n  function run() { return $x->y; }\n}\n?>\n"


@pytest.mark.parametrize("language", languages().values(), ids=lambda language: language.id)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=14), st.integers(0, 60))
def test_never_raises_on_any_text(language: Language, parts: list[str], offset: int) -> None:
    document = SyntaxDocument("".join(parts).encode("utf-8", "surrogatepass"), language)
    assert site_at(document, offset).offset <= len(document.text.data)


@pytest.mark.parametrize("language", languages().values(), ids=lambda language: language.id)
@given(st.integers(0, 10_000))
def test_tree_after_edits_is_the_tree_parsed_fresh(language: Language, seed: int) -> None:
    generator = random.Random(seed)
    document = SyntaxDocument((WHOLE.get(language.id, FOO) * 3).encode(), language)
    for _ in range(6):
        assert document.tree is not None
        size = len(document.text.data)
        start = generator.randrange(size + 1)
        end = min(size, start + generator.choice([0, 0, 1, 5]))
        document.edit(start, end, generator.choice(SNIPPETS).encode("utf-8", "surrogatepass"))
    assert document.tree is not None
    if document.tree.root_node.has_error:  # how errors are mended may depend on the way there; whole code may not
        document.edit(0, len(document.text.data), (WHOLE.get(language.id, FOO) * 2).encode())
    fresh = SyntaxDocument(bytes(document.text.data), language)
    assert document.tree is not None
    assert fresh.tree is not None
    assert str(document.tree.root_node) == str(fresh.tree.root_node)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.text("a\r\né", max_size=5)), max_size=8))
def test_line_starts_after_edits_are_those_of_the_text(edits: list[tuple[int, int, str]]) -> None:
    text = SourceText(b"one\r\ntwo\rthree\n")
    for start, length, new in edits:
        begin = min(start, len(text.data))
        text.replace(begin, min(begin + length, len(text.data)), new.encode())
        fresh = SourceText(bytes(text.data))
        assert [text.line_start(i) for i in range(text.line_count)] == [
            fresh.line_start(i) for i in range(fresh.line_count)
        ]


@pytest.mark.parametrize("language", languages().values(), ids=lambda language: language.id)
@pytest.mark.parametrize("name", ["locals", "sites"])
def test_queries_of_every_language_compile(language, name: str) -> None:
    assert query(language, name).pattern_count >= 0
