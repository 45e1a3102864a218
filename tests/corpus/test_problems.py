"""What went wrong is printed as it is."""

from __future__ import annotations

import io

from rich.console import Console

from corpus.problems import print_error, print_warning


def test_a_problem_is_printed_as_it_is() -> None:
    path = "/".join(["", *["folder with [brackets]"] * 9, "missing"])
    for printed in (print_error, print_warning):
        out = io.StringIO()
        printed(Console(file=out, width=80), OSError(f"{path}: is not there."))
        assert out.getvalue() == f"{path}: is not there.\n"
