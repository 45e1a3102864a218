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


@pytest.mark.parametrize(
    ("marked", "origin", "language"),
    [
        (*case, language)
        for language, cases in (("python", PYTHON), ("javascript", JAVASCRIPT), ("typescript", TYPESCRIPT))
        for case in cases
    ],
)
def test_the_origin_of_a_receiver(marked: str, origin: str, language: str) -> None:
    assert site(marked, languages()[language]).receiver_origin == origin


def test_the_origin_of_a_callee() -> None:
    found = site("import subprocess as sp\nsp.run(['ls'], |", languages()["python"])
    assert (found.callee, found.callee_origin, found.argument) == ("sp.run", "subprocess.run", 1)
