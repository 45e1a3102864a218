"""Names that a wrapped server gave, and what the editor calls them."""

from __future__ import annotations

from lsp_server.servers.id_mapping import Left, ServerNames


def test_requests_get_names_of_ours_and_find_back_once() -> None:
    names = ServerNames()
    one, text = names.ask(1, "a"), names.ask("1", "b")
    assert one != text
    back = names.answered(text)
    assert back is not None
    assert (back.id, back.method) == ("1", "b")
    assert names.answered(text) is None
    assert names.answered(1) is None


def test_1_is_not_the_text_1() -> None:
    names = ServerNames()
    number, text = names.ask(1, "a"), names.ask("1", "a")
    assert (names.asked_as(1), names.asked_as("1")) == (number, text)
    assert names.asked_as(2) is None
    assert names.token(1) != names.token("1")
    assert (names.token_of(names.token(1)), names.token_of(names.token("1"))) == (1, "1")
    assert names.registration("1") != names.registration("2")


def test_a_token_keeps_its_name_until_it_ends() -> None:
    names = ServerNames()
    ours = names.token("t")
    assert names.token("t") == names.known_token("t") == ours
    names.token_ended("t")
    assert names.known_token("t") is None
    assert names.token_of(ours) is None


def test_a_new_generation_gives_new_names_and_hands_back_what_was_held() -> None:
    names = ServerNames()
    asked, token = names.ask(1, "a"), names.token("t")
    kept, gone = names.registration("r"), names.registration("s")
    names.register(kept, "x/y")
    names.register(gone, "x/z")
    names.unregister(gone)
    assert names.next_generation() == Left(tokens=[token], registrations=[(kept, "x/y")], asked=[asked])
    assert names.answered(asked) is None  # a late answer reaches no other server
    assert names.token("t") != token
    assert names.registration("r") != kept
    assert names.ask(1, "a") != asked
    assert names.next_generation().registrations == []
