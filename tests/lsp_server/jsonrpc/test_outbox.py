"""What waits for a process that does not read: in order, one change for many, bounded."""

from __future__ import annotations

from lsp_server.jsonrpc.outbox import Outbox


class Scene:
    def __init__(self, limit: int = 1000) -> None:
        self.sent: list[bytes] = []
        self.texts: dict[str, bytes] = {"a": b"whole a", "b": b"whole b"}
        self.full = 0
        self.hold_after = -1
        self.box = Outbox(self.write, whole=self.texts.get, on_full=self.is_full, limit=limit)

    def write(self, body: bytes) -> None:
        self.sent.append(body)
        if len(self.sent) == self.hold_after:
            self.box.held = True

    def is_full(self) -> None:
        self.full += 1


def test_while_the_process_reads_all_goes_on_as_it_came() -> None:
    scene = Scene()
    scene.box.send(b"1")
    scene.box.change(lambda: "a", b"2")
    assert scene.sent == [b"1", b"2"]


def test_many_changes_become_the_whole_text_at_the_place_of_the_first() -> None:
    scene = Scene()
    scene.box.flow(True)
    scene.box.send(b"request 1")
    for _ in range(1000):
        scene.box.change(lambda: "a", b"x" * 100)
    scene.box.change(lambda: "b", b"x")
    scene.box.send(b"request 2")
    assert scene.sent == []
    scene.box.flow(False)
    assert scene.sent == [b"request 1", b"whole a", b"whole b", b"request 2"]
    assert scene.full == 0


def test_changes_of_a_document_that_was_closed_are_void() -> None:
    scene = Scene()
    scene.box.flow(True)
    scene.box.change(lambda: "a", b"x")
    scene.box.forget("a")
    scene.box.send(b"close a")
    scene.box.send(b"open a")
    scene.box.change(lambda: "a", b"y")
    scene.box.flow(False)
    assert scene.sent == [b"close a", b"open a", b"whole a"]


def test_a_document_that_is_not_open_has_no_change() -> None:
    scene = Scene()
    scene.box.flow(True)
    scene.box.change(lambda: "unknown", b"x")
    scene.box.flow(False)
    assert scene.sent == []


def test_a_process_that_stops_again_keeps_the_rest_waiting() -> None:
    scene = Scene()
    scene.box.flow(True)
    for body in (b"1", b"2", b"3"):
        scene.box.send(body)
    scene.hold_after = 2
    scene.box.flow(False)
    assert scene.sent == [b"1", b"2"]
    scene.box.send(b"4")
    scene.box.flow(False)
    assert scene.sent == [b"1", b"2", b"3", b"4"]


def test_more_than_the_limit_is_said_once_and_kept_no_longer() -> None:
    scene = Scene(limit=100)
    scene.box.flow(True)
    for _ in range(50):
        scene.box.send(b"x" * 10)
    assert scene.full == 1
    scene.box.flow(False)
    assert scene.sent == []
