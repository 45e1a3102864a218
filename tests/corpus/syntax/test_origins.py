"""Where an expression comes from, in words that other projects share. The expression stands before the last '|'."""

from __future__ import annotations

import pytest

from corpus.syntax.language import languages
from tests.corpus.sites import site

PYTHON = [
    ("import numpy as np\nnp.|", "numpy"),
    ("import numpy as np\nnp.random.|", "numpy.random"),
    ("from pathlib import Path\np = Path('x')\np.|", "pathlib.Path()"),
    ("from pathlib import Path\np = Path('x')\np.parent.|", "pathlib.Path().parent"),
    ("from pathlib import Path\ndef f(p: Path):\n    p.|\n", "pathlib.Path()"),
    ("from pathlib import Path\ndef f(p: Path | None):\n    p.|\n", "pathlib.Path()"),
    ("import pandas as pd\ndef f(d: pd.DataFrame):\n    d.|\n", "pandas.DataFrame()"),
    ("import logging\nlogger = logging.getLogger(__name__)\nlogger.|", "logging.getLogger()"),
    ("import json\ndef f(text):\n    json.loads(text)['a'].|\n", "json.loads()[]"),
    ("def f(p):\n    with open(p) as g:\n        g.|\n", "open()"),
    (
        "import re\nclass A:\n    def __init__(self):\n        self.p = re.compile('a')\n    def f(self):\n        self.p.|\n",
        "re.compile()",
    ),
    ("import unittest\nclass A(unittest.TestCase):\n    def test(self):\n        self.|\n", "unittest.TestCase()"),
    ("class A:\n    def f(self):\n        self.|\n", ""),
    ("from .own import thing\nthing.|", ""),
    ("def f(x):\n    x.|\n", ""),
    ("x = y = x\nx.|", ""),
]
JAVASCRIPT = [
    ("import express from 'express';\nconst app = express();\napp.|", "express()"),
    ("import { Router } from 'express';\nconst r = new Router();\nr.|", "express.Router()"),
    ("const { readFile } = require('fs');\nreadFile.|", "fs.readFile"),
    ("import * as path from 'path';\npath.posix.|", "path.posix"),
    ("document.getElementById('x').|", "document.getElementById()"),
    ("import own from './own.js';\nown.|", ""),
    ("function f(req) {\n  req.|\n}", ""),
]
TYPESCRIPT = [
    ('import { z } from "zod";\nconst s = z.object({ a: 1 });\ns.|', "zod.z.object()"),
    ("class A { m: Map<string, number>; f() { this.m.| } }", "Map()"),
    ('import type { Request } from "express";\nfunction f(req: Request) { req.| }', "express.Request()"),
]

JAVA = [
    ("import java.util.List;\nclass A { void f(List<String> xs) { xs.| } }", "java.util.List()"),
    ("import java.util.*;\nclass A { Map<String, Integer> m; void f() { m.| } }", "Map()"),
    (
        "import java.util.ArrayList;\nclass A { void f() { var xs = new ArrayList<String>(); xs.| } }",
        "java.util.ArrayList()",
    ),
    (
        "import java.util.List;\nclass A { List<String> xs() {} void f() { xs().stream().| } }",
        "java.util.List().stream()",
    ),
    ("import java.util.List;\nclass A { List<String> xs; void f(A a) { a.xs.| } }", "java.util.List()"),
    ("import java.util.Map;\nclass A { void f(Map.Entry<String, String> e) { e.| } }", "java.util.Map.Entry()"),
    ("import java.io.File;\nclass A { void f(Object o) { ((File) o).| } }", "java.io.File()"),
    ("import static java.lang.System.out;\nclass A { void f() { out.| } }", "java.lang.System.out"),
    ("import app.Screen;\nclass A extends Screen { void f() { this.| } }", "app.Screen()"),
    ("import app.Screen;\nclass A extends Screen { void f() { super.| } }", "app.Screen()"),
    ("import app.Screen;\nclass A<T> extends Screen<T> { void f() { this.| } }", "app.Screen()"),
    ("class A { Size Size; void f(A a) { a.Size.| } }", "Size()"),
    ("record A(B b) { }\nclass B { }\nclass C { void f(A a) { a.b.| } }", ""),
    ("class A { void f(A a) { a.| } }", ""),
    ("class A { void f() { g(x -> x.|) } }", ""),
]
GO = [
    ('import "net/http"\nfunc f(r *http.Request) {\n\tr.|\n}', "net/http.Request()"),
    ('import "net/http"\nfunc f() {\n\tc := &http.Client{}\n\tc.|\n}', "net/http.Client()"),
    ('import "net/http"\nfunc f() {\n\tr, err := http.NewRequest("GET", "/", nil)\n\tr.|\n}', "net/http.Request()"),
    ('import "net/http"\ntype S struct { c *http.Client }\nfunc (s *S) f() {\n\ts.c.|\n}', "net/http.Client()"),
    ('import "os"\nfunc f(xs []os.FileInfo) {\n\tfor _, x := range xs {\n\t\tx.|\n\t}\n}', "os.FileInfo()"),
    ('import "bytes"\nfunc g() (*bytes.Buffer, error)\nfunc f() {\n\tb, err := g()\n\tb.|\n}', "bytes.Buffer()"),
    ('import "example.org/pgx/v5"\nfunc f() {\n\tpgx.|\n}', "example.org/pgx"),
    ('import "example.org/yaml.v3"\nfunc f() {\n\tyaml.|\n}', "example.org/yaml"),
    ('import "example.org/go-sqlite3"\nfunc f() {\n\tsqlite3.|\n}', "example.org/go-sqlite3"),
    ('import core "example.org/api/core/v1"\nfunc f() {\n\tcore.|\n}', "example.org/api/core/v1"),
    ("func f(xs map[string]int) {\n\txs.|\n}", ""),
    ("type S struct{}\nfunc (s *S) f() {\n\ts.|\n}", ""),
]
USES = "use std::{io::{self, Read}, collections::HashMap, path::PathBuf as Place};\n"
RUST = [
    (USES + "fn f() { io::| }", "std.io"),
    (USES + "fn f() { Read::| }", "std.io.Read"),
    (USES + "fn f(p: Place) { p.| }", "std.path.PathBuf()"),
    (USES + "fn f() { let m = HashMap::new(); m.| }", "std.collections.HashMap()"),
    (USES + "fn f(m: &mut HashMap<String, u8>) { m.| }", "std.collections.HashMap()"),
    (USES + "fn f(e: io::Error) { e.| }", "std.io.Error()"),
    (USES + "fn f(ps: Vec<Place>) { for p in ps { p.| } }", "std.path.PathBuf()"),
    ("use std::fs::File;\nfn f() { File::open(p)?.| }", "std.fs.File.open()"),
    ("use std::fs::File;\nasync fn f() { let a = File::open(p).await?; a.| }", "std.fs.File.open()"),
    (
        "use x::Lock;\nuse std::sync::Arc;\nstruct S { a: Arc<Lock<u8>> }\nimpl S { fn f(&self) { self.a.| } }",
        "x.Lock()",
    ),
    ("fn f(c: &mut std::fmt::Formatter<'_>) { c.| }", "std.fmt.Formatter()"),
    ("use crate::own::Thing;\nfn f(t: Thing) { t.| }", ""),
    ("fn f() { super::own::| }", ""),
    ("struct S;\nimpl S { fn f(&self) { self.| } }", ""),
]
C = [
    ("void f(struct stat *s) { s->| }", "stat()"),
    ("void f(uv_loop_t *s) { s->| }", "uv_loop_t()"),
    ("struct own { int a; };\nvoid f(struct own *s) { s->| }", ""),
]
CPP = [
    ("void f() { std::vector<int> v;\n v.| }", "std.vector()"),
    ("using std::string;\nvoid f(const string &s) { s.| }", "std.string()"),
    ("void f() { auto p = std::make_unique<ns::Thing>(); p->| }", "ns.Thing()"),
    ("class A { std::string s_; void f() { s_.| } };", "std.string()"),
]
ALL = {
    "python": PYTHON,
    "javascript": JAVASCRIPT,
    "typescript": TYPESCRIPT,
    "java": JAVA,
    "go": [("package a\n" + marked, origin) for marked, origin in GO],
    "rust": RUST,
    "c": C,
    "cpp": CPP,
}


@pytest.mark.parametrize(
    ("marked", "origin", "language"),
    [(*case, language) for language, cases in ALL.items() for case in cases],
)
def test_the_origin_of_a_receiver(marked: str, origin: str, language: str) -> None:
    assert site(marked, languages()[language]).receiver_origin == origin


def test_the_origin_of_a_callee() -> None:
    found = site("import subprocess as sp\nsp.run(['ls'], |", languages()["python"])
    assert (found.callee, found.callee_origin, found.argument) == ("sp.run", "subprocess.run", 1)
