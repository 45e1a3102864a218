"""What is asked of an engine about nodes of a trie, and its answers: OpenAI's completions, one token each.

A path of tokens behind the prompt is a prompt of its own; the engine keeps what the prompts have in common (prefix caching), so each
costs its last few tokens. Two kinds of requests, each for several paths:

* the log P of given tokens, at most 128 (vLLM's `logprob_token_ids`): what may follow inside names;
* the likeliest 64 tokens, or 20 where the engine gives no more: from them comes how likely a name ends there. The probability of all
  other tokens is divided between ending and going on as that of these is, with at least a twentieth for ending. (Where 110 names of
  code end, log P of ending was 0.06 off on average with 20 tokens; with as many places inside names, 0.23.)

vLLM's runner for processors (V1) has a fault: where it computes both kinds in one step, its answer to the second kind has one token
instead of all. (Its runner for GPUs is right.) RemoteTooFew is raised for such an answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.trie import Node
from tuning.ranking.serving.remote.errors import RemoteNonsense, RemoteTooFew

GIVEN = 128  # tokens whose log P may be asked for at once: vLLM's limit
LIKELIEST = (64, 20)  # tokens: the second is vLLM's default of --max-logprobs
REST = 0.05  # of the other tokens' probability, at least, is for ending
CELLS = 2048  # of paths times tokens in one request: an answer of 60 kB
LEAST = -60.0  # log P: less is not told apart, as with float32
SLACK = 0.05  # of probability: what an engine's precision adds to 1
ID = "token_id:"


class _Logprobs(msgspec.Struct):
    top_logprobs: list[dict[str, float | None] | None]


class _Choice(msgspec.Struct):
    index: int
    logprobs: _Logprobs


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_completion = msgspec.json.Decoder(_Completion)


@dataclass(kw_only=True)
class Question:
    """One request: for these rows of a batch, log P of these tokens; of the `likeliest` ones where none are given."""

    likeliest: int = LIKELIEST[-1]
    rows: list[int] = field(default_factory=list[int])
    tokens: list[int] = field(default_factory=list[int])

    def body(self, model: str, paths: Sequence[Sequence[int]]) -> dict[str, Any]:
        """`paths`: of each row of the batch, the prompt's tokens and those behind it."""
        asked: dict[str, Any] = {"logprob_token_ids": self.tokens} if self.tokens else {}
        return {
            "model": model,
            "prompt": [list(paths[row]) for row in self.rows],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": len(self.tokens) or self.likeliest,
            "return_tokens_as_token_ids": True,
            "add_special_tokens": False,
            **asked,
        }

    def answers(self, body: bytes) -> dict[int, dict[int, float]]:
        """log P of tokens, by row. Raises RemoteNonsense, RemoteTooFew."""
        try:
            choices = {choice.index: choice.logprobs.top_logprobs for choice in _completion.decode(body).choices}
        except msgspec.MsgspecError as error:
            raise RemoteNonsense(f"an answer that is no completion with log probabilities: {error}") from error
        found: dict[int, dict[int, float]] = {}
        for place, row in enumerate(self.rows):
            top = choices.get(place)
            if not top or top[0] is None:
                raise RemoteNonsense(f"no log probabilities for prompt {place} of {len(self.rows)}")
            found[row] = _log_p(top[0])
            if missing := set(self.tokens) - found[row].keys():
                raise RemoteNonsense(f"no log P of {len(missing)} of {len(self.tokens)} tokens that were asked for")
            if not self.tokens and len(found[row]) < self.likeliest:
                raise RemoteTooFew(
                    f"log P of {len(found[row])} tokens where the {self.likeliest} likeliest were asked for"
                )
        return found


def questions(nodes: Sequence[Node], likeliest: int = LIKELIEST[-1]) -> list[Question]:
    """The requests that answer for these nodes, as few as can be."""
    ending = [row for row, node in enumerate(nodes) if node.ends]
    most = max(1, CELLS // likeliest)
    found = [Question(likeliest=likeliest, rows=ending[at : at + most]) for at in range(0, len(ending), most)]
    current = Question()
    for row, tokens in _pieces(nodes):
        union = [*current.tokens, *(token for token in tokens if token not in current.tokens)]
        if current.rows and (len(union) > GIVEN or len(union) * (len(current.rows) + 1) > CELLS):
            found.append(current)
            current, union = Question(), tokens
        current.tokens = union
        if row not in current.rows:
            current.rows.append(row)
    return [*found, current] if current.rows else found


def _pieces(nodes: Sequence[Node]) -> Iterator[tuple[int, list[int]]]:
    """Each node's children, in pieces that one request can ask for."""
    for row, node in enumerate(nodes):
        tokens = list(node.children)
        for at in range(0, len(tokens), GIVEN):
            yield row, tokens[at : at + GIVEN]


class Answered:
    """What follows each node, as `search.Following`."""

    def __init__(self, ending: NDArray[np.bool_]) -> None:
        self._ending = ending
        self._known: dict[int, dict[int, float]] = {}
        self._ended: dict[int, float] = {}

    def add(self, question: Question, found: Mapping[int, dict[int, float]]) -> None:
        """An answer."""
        for row, log_p in found.items():
            if question.tokens:
                self._known.setdefault(row, {}).update(log_p)
            else:
                self._ended[row] = self._ending_log_p(log_p)

    def log_p(self, row: int, tokens: Sequence[int]) -> list[float]:
        known = self._known[row]
        return [known[token] for token in tokens]

    def ends(self, row: int) -> float:
        return self._ended[row]

    def _ending_log_p(self, log_p: Mapping[int, float]) -> float:
        p = {token: math.exp(value) for token, value in log_p.items()}
        # Rows of a padded vocabulary stand for no text.
        ended = sum(p[token] for token in p if token >= len(self._ending) or self._ending[token])
        known = sum(p.values())
        return math.log(ended + max(1 - known, 1e-6) * max(ended / known, REST))


def _log_p(top: Mapping[str, float | None]) -> dict[int, float]:
    """Raises RemoteNonsense where these are no probabilities of one distribution."""
    found: dict[int, float] = {}
    for name, value in top.items():
        number = name.removeprefix(ID)
        if not name.startswith(ID) or not number.isdecimal():
            raise RemoteNonsense(f"a token is called {name[:40]!r} and not {ID}NUMBER")
        if value is None or math.isnan(value) or value > SLACK:
            raise RemoteNonsense(f"a log P of {value}")
        found[int(number)] = max(min(value, 0.0), LEAST)
    if not found or sum(map(math.exp, found.values())) > 1 + SLACK:
        raise RemoteNonsense("probabilities that add up to more than 1" if found else "no log probabilities")
    return found
