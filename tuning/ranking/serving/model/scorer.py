"""log P of names at a place in the text, by a causal language model on this machine: `search` on a cached prompt.

Names' tokens are nodes of a trie. One forward pass scores many nodes in a single row: each sees the prompt and its
own ancestors only (tree attention). Used from one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.errors import ModelUnsupported
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.read_ahead import LogitsFollowing, ReadAhead
from tuning.ranking.serving.model.runtime import Context, Logits, Runtime
from tuning.ranking.serving.model.search import TrieSearch
from tuning.ranking.serving.model.tokenizer import ModelTokenizer, NameTokens
from tuning.ranking.serving.model.trie import TOP, Node, Scores

Floats = NDArray[np.float64]

CACHE_BYTES = 64_000_000  # of keys and values, all documents' together: some three prompts of SmolLM2-135M's
SURE = 12  # best names, where all the time in the world is given
TOLERANCE = 2e-3
AHEAD = "\0ahead"  # behind a document's key: the prompt of a place that is looked at
NOTHING: Mapping[str, float] = MappingProxyType({})


class _Cached:
    """Keys and values of a document's prompt, and what follows its last token. Behind it, nodes of a tree."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.tokens: list[int] = []
        self.next: LogitsFollowing | None = None
        self.ahead = ReadAhead()

    def forget_from(self, length: int) -> None:
        """Keep the first `length` tokens only."""
        self.context.crop(length)
        del self.tokens[length:]
        self.next, self.ahead = None, ReadAhead()

    def forget_ahead(self) -> None:
        """Keep the prompt only."""
        self.ahead = ReadAhead()
        self.forget_nodes()

    def forget_nodes(self) -> None:
        """Keep the prompt and what was read ahead only."""
        self.context.crop(len(self.tokens) + len(self.ahead))


class Scorer:
    """A model, its tokenizer, and the prompts of a few documents."""

    def __init__(self, runtime: Runtime[Any], tokenizer: ModelTokenizer) -> None:
        self.runtime = runtime
        self.tokenizer = tokenizer
        self._prompts: OrderedDict[str, _Cached] = OrderedDict()
        self._ending = tokenizer.ends_identifier(runtime.vocabulary).astype(np.float32)
        self._begins: dict[str, NDArray[np.bool_]] = {}  # tokens that begin a name, by what stands before it
        self.tokens = NameTokens(tokenizer, runtime.positions)

    def check(self, tolerance: float = TOLERANCE) -> None:
        """Compare the tree's scores with plain text's. Raises ModelUnsupported where they differ."""
        prompt = Prompt(text="def area(width, height):\n    return width", tail=" * ")
        names = ["height", "heights", "width", "w"]
        try:
            search = self.search("", prompt, names)
            while not search.step():
                pass
            found = search.scores().bounds
            expected = np.array([self.plain(prompt, name) for name in names])
        except Exception as error:
            raise ModelUnsupported(f"{type(self.runtime).__name__} can't score a tree of tokens: {error}") from error
        finally:
            self._prompts.clear()
        if not np.allclose(found, expected, atol=tolerance, rtol=0):
            raise ModelUnsupported(
                f"{type(self.runtime).__name__} scores a tree of tokens unlike text: {found} against {expected}"
            )

    def plain(self, prompt: Prompt, name: str) -> float:
        """log P of a name, read token by token as plain text: what a search has to give too."""
        context = self.runtime.context()
        logits = self.runtime.read(context, self.tokens.prompt(prompt.text))
        total = 0.0
        for token in self.tokens.name(prompt.tail, name):
            total += LogitsFollowing(logits[None], self._ending).log_p(0, [token])[0]
            logits = self.runtime.read(context, [token])
        return total + LogitsFollowing(logits[None], self._ending).ends(0)

    def advance(
        self,
        key: str,
        prompt: Prompt,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        ahead: bool = False,
        guesses: int = 0,
    ) -> bool:
        """Read a document's prompt and its tail, keeping what the text shares with the last one. False when stopped before its end.

        `ahead`: of a place that the author only looks at; the prompt of the place where the author types stays too.
        `guesses`: so many passes more, over tokens that are likely behind the tail.
        """
        state = self._read(key, prompt, should_stop, ahead)
        if state is None or should_stop():
            return False
        for other in self._prompts.values():  # what follows a node takes 200 kB
            if other is not state and other.ahead.nodes:
                other.forget_ahead()
        if state.ahead.tail != prompt.tail:
            self._read_tail(state, prompt.tail)
        while state.ahead.guesses < guesses:
            if should_stop():
                return False
            self._guess(state)
        return True

    def _read(self, key: str, prompt: Prompt, should_stop: Callable[[], bool], ahead: bool = False) -> _Cached | None:
        """The document's prompt, read to its end; where only a few tokens are left of it, its tail too. None when stopped before."""
        tokens = self.tokens.prompt(prompt.text)
        key = self._place(key, tokens, ahead)
        state = self._prompts.get(key)
        if state is None:
            state = self._prompts[key] = _Cached(self.runtime.context())
        self._prompts.move_to_end(key)
        if state.tokens == tokens and state.next is not None:
            state.forget_nodes()  # of a search that failed
            return state
        self._make_room(len(tokens))
        state.forget_from(min(_shared(state.tokens, tokens), len(tokens) - 1))
        while len(state.tokens) < len(tokens):
            if should_stop():
                return None
            left = tokens[len(state.tokens) :]
            tail = self.tokens.tail(prompt.tail)
            if state.tokens and len(left) + len(tail) <= self.runtime.nodes:
                self._read_with_tail(state, left, prompt.tail, tail)
                break
            piece = tokens[len(state.tokens) : len(state.tokens) + self.runtime.chunk]
            logits = self.runtime.read(state.context, piece)
            state.tokens += piece
            if len(state.tokens) == len(tokens):
                state.next = LogitsFollowing(logits[None], self._ending)
        return state

    def _read_with_tail(self, state: _Cached, left: Sequence[int], text: str, tail: Sequence[int]) -> None:
        """Read the last tokens of a prompt and those of its tail in one forward pass, which takes little more than either."""
        logits = self._expand_chain(state, [*left, *tail])
        state.tokens += left
        state.next = LogitsFollowing(logits[len(left) - 1 : len(left)], self._ending)
        state.ahead = ReadAhead(text)
        if tail:
            state.ahead.take_tail(tail, LogitsFollowing(logits[len(left) :], self._ending))

    def _read_tail(self, state: _Cached, tail: str) -> None:
        """Read what all names begin with, in one forward pass: a search then knows from its beginning what may follow."""
        state.ahead = ReadAhead(tail)
        state.forget_nodes()
        tokens = self.tokens.tail(tail)[: self.runtime.nodes]
        if tokens:
            state.ahead.take_tail(tokens, LogitsFollowing(self._expand_chain(state, tokens), self._ending))

    def _expand_chain(self, state: _Cached, tokens: Sequence[int]) -> Logits:
        """Append tokens behind the prompt, each after the one before; logits of what follows each."""
        places = range(len(tokens))
        return self.runtime.expand(
            state.context, tokens, places, [list(range(place)) for place in places], len(state.tokens)
        )

    def _guess(self, state: _Cached) -> None:
        """Read the tokens that are the likeliest to come next in a name, in one forward pass."""
        assert state.next is not None
        before = self.tokens.before_letter(state.ahead.tail)
        if before not in self._begins:
            self._begins[before] = self.tokenizer.begins_name(self.runtime.vocabulary, before)
        likely = state.ahead.likely(state.next, self._begins[before], self._ending == 0, self.runtime.nodes)
        following = self._expand_likely(state, likely) if likely else state.next
        state.ahead.take_likely(likely, following)

    def _expand_likely(self, state: _Cached, likely: Sequence[tuple[float, int, int]]) -> LogitsFollowing:
        """Append what `ReadAhead.likely` gave behind what was read ahead."""
        ancestors = [_ancestors(state.ahead.nodes, parent) for _, _, parent in likely]
        logits = self.runtime.expand(
            state.context,
            [token for _, token, _ in likely],
            [len(rows) for rows in ancestors],
            ancestors,
            len(state.tokens),
        )
        return LogitsFollowing(logits, self._ending)

    def _place(self, key: str, tokens: Sequence[int], ahead: bool) -> str:
        """Which of a document's two prompts these tokens go on from: the typed one, or the one that was read ahead.

        Where the author types at the place that was read ahead, the two change places.
        """
        other = f"{key}{AHEAD}"
        shared = {
            name: _shared(self._prompts[name].tokens, tokens) if name in self._prompts else 0 for name in (key, other)
        }
        if ahead:
            return key if len(tokens) - shared[key] <= self.runtime.chunk else other
        if shared[other] > shared[key]:
            found, before = self._prompts.pop(other), self._prompts.pop(key, None)
            if before is not None:
                self._prompts[other] = before
            self._prompts[key] = found
        return key

    def _make_room(self, tokens: int) -> None:
        """Forget the prompts that were not used for longest, so that one of so many tokens has its place."""
        *others, _ = self._prompts
        taken = self.runtime.bytes_of(tokens)
        for key in reversed(others):
            taken += self.runtime.bytes_of(len(self._prompts[key].tokens))
            if taken > CACHE_BYTES:
                del self._prompts[key]

    def log_p(self, prompt: Prompt, names: Sequence[str], *, top: int = SURE) -> Floats:
        """log P of each name after a prompt, float64[names]: exact for the `top` best, about right for the others."""
        unique = list(dict.fromkeys(names))
        search = self.search("log_p", prompt, unique)
        while not search.step(top=top):
            pass
        found = dict(zip(unique, search.scores().likely.tolist(), strict=True))
        return np.array([found[name] for name in names])

    def search(self, key: str, prompt: Prompt, names: Sequence[str], known: Mapping[str, float] = NOTHING) -> Search:
        """Begin scoring names after a prompt, those already `known` excepted. Computes nothing before the first step."""
        return Search(self, key, prompt, names, known)

    def expand(self, search: Search, nodes: Sequence[Node]) -> LogitsFollowing:
        """What follows each node. Keys and values stay for descendants."""
        state = search.state
        assert state is not None
        ancestors: list[list[int]] = []
        for row, node in enumerate(nodes):
            node.slot = search.slots + row
            seen: list[int] = []
            ancestor = node.parent
            while ancestor is not None and ancestor.depth > 0:
                seen.append(ancestor.slot)
                ancestor = ancestor.parent
            ancestors.append(seen)
        logits = self.runtime.expand(
            state.context,
            [node.token for node in nodes],
            [node.depth - 1 for node in nodes],
            ancestors,
            len(state.tokens),
        )
        search.slots += len(nodes)
        return LogitsFollowing(logits, self._ending)


def _ancestors(nodes: Sequence[tuple[int, int]], parent: int) -> list[int]:
    """The rows above a node with this parent."""
    found: list[int] = []
    while parent >= 0:
        found.append(parent)
        parent = nodes[parent][1]
    return found


def _shared(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginning."""
    for place, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return place
    return min(len(ours), len(theirs))


class Search:
    """Scores of names after a document's prompt, by forward passes of the scorer's model. One at a time a document."""

    def __init__(
        self, scorer: Scorer, key: str, prompt: Prompt, names: Sequence[str], known: Mapping[str, float]
    ) -> None:
        self._scorer, self._key, self._prompt = scorer, key, prompt
        self._search = TrieSearch(names, known, partial(scorer.tokens.name, prompt.tail))
        self.state: _Cached | None = None
        self.slots = 0

    def step(self, top: int = TOP) -> bool:
        """One forward pass (the first step reads what is left of the prompt). True when the `top` best are certain."""
        if self.state is None:
            self.state = state = self._scorer._read(self._key, self._prompt, lambda: False)  # pyright: ignore[reportPrivateUsage]
            assert state is not None and state.next is not None
            ahead = state.ahead if state.ahead.tail == self._prompt.tail else ReadAhead()
            for slot, node in self._search.begin(state.next, ahead.nodes, ahead).items():
                node.slot = slot
            self.slots = len(state.ahead)
        elif not self._search.certain(top):
            nodes = self._search.batch(self._scorer.runtime.nodes)
            self._search.take(nodes, self._scorer.expand(self, nodes))
        if self._search.certain(top):
            self.close()
            return True
        return False

    def scores(self) -> Scores:
        """What is known by now."""
        return self._search.scores()

    def close(self) -> None:
        """Give the prompt's cache back, where the search stops before its end."""
        if self.state is not None:
            self.state.forget_nodes()
