"""What the words around a cursor say of names."""

from tuning.ranking.serving.wording import Wording, parts


def check(
    before: str,
    name: str,
    *,
    receiver: str = "self",
    function: str = "",
    after: str = "",
    path: str = "",
    **expected: float,
) -> None:
    columns = Wording.of(before.encode(), receiver, function, after=after.encode(), path=path).columns([name])
    assert {column: round(float(columns[column][0]), 2) for column in expected} == expected


def test_names_are_cut_at_underscores_capitals_and_digits() -> None:
    assert parts("maxLineLength") == {"max", "line", "length"}
    assert parts("_HTTPServer2") == {"http", "server", "2"}
    assert parts("größe_max") == {"größe", "max"}
    assert parts("__") == frozenset()


def test_a_keyword_names_the_member() -> None:
    check("call(key=self.", "_key", named_by_nearest=1.0, named_by_line=1.0)


def test_a_variable_names_half_of_the_member() -> None:
    check("    size = self.", "max_size", named_by_nearest=0.0, named_by_line=0.5, line_names=1.0)


def test_a_function_names_the_member() -> None:
    check("    return self.", "_name", function="get_name", named_by_function=1.0, function_names=0.5)


def test_lines_above_name_the_member() -> None:
    check("    close(self._reader)\n    self.", "_writer_task", named_by_lines_before=0.0)
    check("    reader = 1\n    self.", "_reader", named_by_lines_before=1.0)


def test_lines_below_name_the_member() -> None:
    below = "\n    self._reader.close()\n    a\n    b\n    c = far\n"
    check("    self.", "_reader", after=below, named_by_lines_after=1.0, stands_after=1.0)
    check("    self.", "_readers_far", after=below, named_by_lines_after=0.0, stands_after=0.0)


def test_the_files_name_names_the_member() -> None:
    check("    self.", "read_page", path="lib/core/page_cache.py", named_by_file=0.5)


def test_the_receiver_is_not_part_of_the_line() -> None:
    check("    reader.", "reader", receiver="reader", named_by_line=0.0, named_by_receiver=1.0)


def test_says_nothing_of_nothing() -> None:
    columns = Wording.of(b"", "", "").columns(["", "_", "x"])
    assert not any(column.any() for column in columns.values())
