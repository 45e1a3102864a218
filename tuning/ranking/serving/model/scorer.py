"""log P of names at a place in the text, by a causal language model. Best first, over a trie, on a cached prompt.

Names' tokens are nodes of a trie. One forward pass scores many nodes in a single row: each sees the prompt and its
own ancestors only (tree attention). A path's log P only falls, so what is scored so far is an upper bound, and
search may stop at any time. Used from one thread.
"""

from __future__ import annotations

import heapq
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuning.ranking.serving.model.adapter_spec import NONE, on_base, parsed
from tuning.ranking.serving.model.errors import ModelUnsupported, ScorerMissing
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.trie import TOP, Node, Scores, build

Floats = NDArray[np.float64]

BATCH = 8  # trie nodes a forward pass: of 24 most are looked at in vain, and it takes 59 ms instead of 35
CHUNK = 96  # prompt tokens a forward pass: an interruption waits for one at most
KEPT_PROMPTS = 4
SURE = 12  # best names, where all the time in the world is given
TOLERANCE = 2e-3
NOTHING: Mapping[str, float] = MappingProxyType({})
BLOCKED = torch.finfo(torch.float32).min


class _Cached:
    """Keys and values of a document's prompt, and the log P of what follows its last token."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.tokens: list[int] = []
        self.next: torch.Tensor | None = None  # float32[vocabulary]


class Scorer:
    """A model, its tokenizer, and the prompts of a few documents."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._prompts: OrderedDict[str, _Cached] = OrderedDict()
        self._ending = torch.from_numpy(ends_identifier(tokenizer, model.config.vocab_size))
        self._sequences: OrderedDict[str, list[int]] = OrderedDict()

    @classmethod
    def load(
        cls,
        base: str | Path,
        *,
        adapter: str = "",
        threads: int | None = None,
        quantize: bool | None = None,
        allow_download: bool = False,
    ) -> Scorer:
        """Load a model folder, or a hub id whose files are on this machine or may be downloaded. Raises ScorerError, TuningError.

        `adapter`: what `tuning.ranking.serving.model.adapter_spec` takes, merged into the weights.
        `quantize`: int8 linear layers on CPU (None: yes).
        """
        remote = allow_download and not Path(base).is_dir()
        if not remote:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        for message in (".*past_key_values.*", ".*quantize_per_tensor.*"):  # known, and pinned against
            warnings.filterwarnings("ignore", message=message)
        # One core stays free: the wrapped server and signals must answer while the model works.
        torch.set_num_threads(threads or max(1, min(4, (os.cpu_count() or 1) - 1)))
        parsed(adapter)  # says what is not there, before a model is read
        try:
            try:
                model, tokenizer = _from_pretrained(base, local=True)
            except (OSError, ValueError):
                if not remote:
                    raise
                model, tokenizer = _from_pretrained(base, local=False)
        except (OSError, ValueError) as error:
            raise ScorerMissing(
                f"no usable model in {base} (a folder with safetensors, or a hub id): {error}"
            ) from error
        scorer = cls(on_base(model, base, adapter), tokenizer)
        scorer.check()
        if quantize or quantize is None:
            # Deprecated in torch for a package that would be one more dependency; pinned with torch, and tested.
            scorer.model = torch.ao.quantization.quantize_dynamic(  # pyright: ignore[reportDeprecated]
                scorer.model, {torch.nn.Linear}, dtype=torch.qint8
            )
        return scorer

    def check(self) -> None:
        """Compare the tree's scores with plain text's. Raises ModelUnsupported where they differ."""
        prompt = Prompt(text="def area(width, height):\n    return width", tail=" * ")
        names = ["height", "heights", "width", "w"]
        try:
            search = self.search("", prompt, names)
            while not search.step():
                pass
            found = search.scores().bounds
        except Exception as error:
            raise ModelUnsupported(f"{type(self.model).__name__} can't score a tree of tokens: {error}") from error
        self._prompts.clear()
        expected = np.array([self._plain(prompt, name) for name in names])
        if not np.allclose(found, expected, atol=TOLERANCE, rtol=0):
            raise ModelUnsupported(
                f"{type(self.model).__name__} scores a tree of tokens unlike text: {found} against {expected}"
            )

    @torch.inference_mode()
    def _plain(self, prompt: Prompt, name: str) -> float:
        text, tail = self._encode(prompt.text), self.sequence(prompt.tail, name)
        logits = self.model(torch.tensor([text + tail])).logits[0].float().log_softmax(-1)
        path = sum(float(logits[len(text) + place - 1, token]) for place, token in enumerate(tail))
        return path + float(logits[-1][self._ending].logsumexp(-1))

    def sequence(self, tail: str, name: str) -> list[int]:
        """A name's tokens as they stand in the text, those of the tail before it included."""
        key = tail + name
        found = self._sequences.get(key)
        if found is None:
            found = self._sequences[key] = self.tokenizer.encode(key, add_special_tokens=False)
            if len(self._sequences) > 20_000:
                self._sequences.popitem(last=False)
        return found

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False) or [self.tokenizer.eos_token_id or 0]

    @torch.inference_mode()
    def advance(self, key: str, text: str, *, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Read a document's prompt, keeping what it shares with the last one. False when stopped before its end."""
        return self._advance(key, text, should_stop) is not None

    def _advance(self, key: str, text: str, should_stop: Callable[[], bool]) -> _Cached | None:
        from transformers import DynamicCache

        tokens = self._encode(text)
        state = self._prompts.get(key)
        if state is None:
            state = self._prompts[key] = _Cached(DynamicCache(config=self.model.config))
            while len(self._prompts) > KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        if state.tokens == tokens and state.next is not None:
            return state
        shared = 0
        for ours, theirs in zip(state.tokens, tokens, strict=False):
            if ours != theirs:
                break
            shared += 1
        shared = min(shared, len(tokens) - 1)
        if shared < len(state.tokens):
            state.cache.crop(shared - len(state.tokens))
            del state.tokens[shared:]
        state.next = None
        while len(state.tokens) < len(tokens):
            if should_stop():
                return None
            piece = tokens[len(state.tokens) : len(state.tokens) + CHUNK]
            out = self.model(torch.tensor([piece]), past_key_values=state.cache, use_cache=True, logits_to_keep=1)
            state.tokens += piece
            state.next = out.logits[0, -1].float().log_softmax(-1)
        return state

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

    @torch.inference_mode()
    def expand(self, search: Search, nodes: Sequence[Node]) -> torch.Tensor:
        """log P of what follows each node, float32[nodes, vocabulary]. Keys and values stay for descendants."""
        state = search.state
        assert state is not None
        prompt, before, count = len(state.tokens), search.slots, len(nodes)
        mask = torch.full((count, prompt + before + count), BLOCKED)
        mask[:, :prompt] = 0.0
        for row, node in enumerate(nodes):
            node.slot = before + row
            ancestor: Node | None = node
            while ancestor is not None and ancestor.depth > 0:
                mask[row, prompt + ancestor.slot] = 0.0
                ancestor = ancestor.parent
        out = self.model(
            torch.tensor([[node.token for node in nodes]]),
            attention_mask=mask[None, None],
            position_ids=torch.tensor([[prompt + node.depth - 1 for node in nodes]]),
            past_key_values=state.cache,
            use_cache=True,
        )
        search.slots += count
        return out.logits[0].float().log_softmax(-1)

    def ending(self, log_p: torch.Tensor) -> float:
        """log P that the identifier ends here, from log P of the next token, float32[vocabulary]."""
        return float(log_p[self._ending].logsumexp(-1))


class Search:
    """Scores of names, bounds first, exact in the end, best first. One at a time a document."""

    def __init__(
        self, scorer: Scorer, key: str, prompt: Prompt, names: Sequence[str], known: Mapping[str, float]
    ) -> None:
        self._scorer, self._key, self._prompt = scorer, key, prompt
        self._bounds = np.array([known.get(name, 0.0) for name in names])
        self._exact = np.array([name in known for name in names], bool)
        sequences = {i: scorer.sequence(prompt.tail, names[i]) for i in np.flatnonzero(~self._exact).tolist()}
        self._tokens = np.array([len(sequences.get(i, ())) for i in range(len(names))], np.int64)
        self._left = np.where(self._exact, 0, self._tokens + 1)
        self._root = build(sequences)
        self._frontier: list[tuple[float, int, Node]] = []
        self._pushed = 0
        self._started = False
        self.state: _Cached | None = None
        self.slots = 0

    def step(self, top: int = TOP) -> bool:
        """One forward pass (the first one reads the prompt). True when the `top` best are certain."""
        if not self._started:
            self._started = True
            self.state = self._scorer._advance(self._key, self._prompt.text, lambda: False)  # pyright: ignore[reportPrivateUsage]
            assert self.state is not None and self.state.next is not None
            self._open(self._root, self.state.next)
            if not self._certain(top):
                return False
        if self._certain(top):
            self._put_away()
            return True
        nodes = [heapq.heappop(self._frontier)[2] for _ in range(min(BATCH, len(self._frontier)))]
        for node, log_p in zip(nodes, self._scorer.expand(self, nodes), strict=True):
            self._open(node, log_p)
        if self._certain(top):
            self._put_away()
            return True
        return False

    def scores(self) -> Scores:
        """What is known by now."""
        return Scores(bounds=self._bounds.copy(), exact=self._exact.copy(), left=self._left.copy())

    def close(self) -> None:
        """Give the prompt's cache back, where the search stops before its end."""
        self._put_away()

    def _open(self, node: Node, log_p: torch.Tensor) -> None:
        if node.ends:
            ended = node.log_p + self._scorer.ending(log_p)
            self._bounds[node.ends] = ended
            self._exact[node.ends] = True
            self._left[node.ends] = 0
        if node.children:
            tokens = list(node.children)
            for token, value in zip(tokens, log_p[torch.tensor(tokens)].tolist(), strict=True):
                child = node.children[token]
                child.log_p = node.log_p + value
                self._bounds[child.below] = child.log_p
                self._left[child.below] = self._tokens[child.below] - child.depth + 1
                self._pushed += 1
                heapq.heappush(self._frontier, (-child.log_p, self._pushed, child))

    def _certain(self, top: int) -> bool:
        return not self._frontier or self.scores().certain(top)

    def _put_away(self) -> None:
        if self.state is not None and self.slots:
            self.state.cache.crop(-self.slots)
            self.slots = 0


def base_and_tokenizer(base: str, adapter: str = NONE) -> tuple[Any, Any]:
    """A model folder's, or the default's, in single precision, with adapters in its weights. Raises ScorerMissing, TuningError."""
    from tuning.ranking.serving.model.install import default_base_dir, is_installed

    if not base and not is_installed():
        raise ScorerMissing("the default base is not installed; run: starling install-model")
    try:
        model, tokenizer = _from_pretrained(base or default_base_dir(), local=True)
    except (OSError, ValueError) as error:
        raise ScorerMissing(f"no usable model in {base} (a folder with safetensors): {error}") from error
    return on_base(model, base, adapter), tokenizer


def _from_pretrained(base: str | Path, *, local: bool) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    options = {"local_files_only": local, "trust_remote_code": False}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(base), dtype=torch.float32, use_safetensors=True, **options
    )
    return model, transformers.AutoTokenizer.from_pretrained(str(base), **options)


def ends_identifier(tokenizer: Any, size: int) -> NDArray[np.bool_]:
    """Which tokens can't continue an identifier: those that start with something else, and the special ones."""
    ends = np.ones(size, bool)
    texts = tokenizer.convert_ids_to_tokens(range(min(size, len(tokenizer))))
    for token, text in enumerate(texts):
        first = text[:1] if text is not None else ""
        ends[token] = not (first.isalnum() or first == "_") or first in "ĠĊĉčÂâð▁"
    ends[[token for token in tokenizer.all_special_ids if token < size]] = True
    return ends
