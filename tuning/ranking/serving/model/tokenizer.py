"""Text to a model's tokens, and which tokens can't continue an identifier."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.errors import ModelFileBroken, ModelUnsupported, ScorerMissing

NOT_LETTERS = "ĠĊĉčÂâð▁"  # how byte-level vocabularies write spaces, and bytes that no identifier begins with
LONGEST_NAME = 128  # tokens; of a longer one its beginning is scored
KNOWN_NAMES = 20_000
LETTER = "a"  # begins a name
CONTROL = 3  # a token's type in GGUF: no text


class ModelTokenizer:
    """A tokenizer of the library `tokenizers`. `end_of_text`: a token that stands for an empty text."""

    def __init__(self, tokenizer: Any, *, end_of_text: int = 0) -> None:
        self._tokenizer = tokenizer
        self.end_of_text = end_of_text

    @classmethod
    def load(cls, file: Path, *, end_of_text: int = 0) -> ModelTokenizer:
        """Read a tokenizer.json. Raises ScorerMissing where there is none that can be read."""
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(file)), end_of_text=end_of_text)
        except Exception as error:  # the library raises Exception itself
            raise ScorerMissing(f"{file} can't be read: {error}") from error

    @classmethod
    def parse(cls, text: str, *, end_of_text: int = 0) -> ModelTokenizer:
        """Read what is in a tokenizer.json. Raises ScorerMissing where it is none."""
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_str(text), end_of_text=end_of_text)
        except Exception as error:  # the library raises Exception itself
            raise ScorerMissing(f"this tokenizer.json can't be read: {error}") from error

    @property
    def size(self) -> int:
        """How many tokens there are, added ones included."""
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with nothing put around them."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def ends_identifier(self, size: int) -> NDArray[np.bool_]:
        """Which of `size` tokens can't continue an identifier: those that start with something else, and the special ones."""
        ends = np.ones(size, bool)
        for token in range(min(size, self._tokenizer.get_vocab_size())):
            ends[token] = not _in_name(self.text_of(token)[:1])
        for token, added in self._tokenizer.get_added_tokens_decoder().items():
            if added.special and token < size:
                ends[token] = True
        return ends

    def begins_name(self, size: int, before: str) -> NDArray[np.bool_]:
        """Which of `size` tokens are `before` and the beginning of a name."""
        begins = np.zeros(size, bool)
        for token in range(min(size, self._tokenizer.get_vocab_size())):
            text = self.text_of(token)
            first = text[len(before) : len(before) + 1]
            begins[token] = text.startswith(before) and _in_name(first)
        return begins

    def text_of(self, token: int) -> str:
        """A token as its vocabulary writes it."""
        return self._tokenizer.id_to_token(token) or ""


def _in_name(letter: str) -> bool:
    return (letter.isalnum() or letter == "_") and letter not in NOT_LETTERS


class NameTokens:
    """Prompts and names as tokens; those of names are kept. `positions`: tokens that a model can hold."""

    def __init__(self, tokenizer: ModelTokenizer, positions: int) -> None:
        self._tokenizer = tokenizer
        self._most = positions - min(LONGEST_NAME, positions // 4)
        self._names: OrderedDict[str, list[int]] = OrderedDict()

    def name(self, tail: str, name: str) -> list[int]:
        """A name's tokens as they stand in the text, those of the tail before it included."""
        key = tail + name
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = self._tokenizer.encode(key)[:LONGEST_NAME]
            if len(self._names) > KNOWN_NAMES:
                self._names.popitem(last=False)
        return found

    def tail(self, tail: str) -> list[int]:
        """The tokens that most names begin with behind a tail: those before the token that has a name's first letter."""
        return self.name(tail, LETTER)[:-1]

    def before_letter(self, tail: str) -> str:
        """What the token that has a name's first letter has before it: a space, or nothing."""
        return self._tokenizer.text_of(self.name(tail, LETTER)[-1]).removesuffix(LETTER)

    def prompt(self, text: str) -> list[int]:
        """A prompt's tokens: the last ones, where there are more than leave names their positions."""
        return self._tokenizer.encode(text)[-self._most :] or [self._tokenizer.end_of_text]


def from_gguf(metadata: Mapping[str, Any], path: Path) -> str:
    """A tokenizer.json of the tokenizer in a GGUF file. Raises ModelUnsupported where it is no byte-level BPE that is known here."""
    kind, form = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if (kind, form) != ("gpt2", "smollm"):
        raise ModelUnsupported(f"{path}: its tokenizer is of kind {kind}, {form}; read is gpt2, smollm")
    try:
        tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
        merges = [merge.split(" ", 1) for merge in metadata["tokenizer.ggml.merges"]]
    except KeyError as error:
        raise ModelFileBroken(f"{path} has no {error}") from error
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [
        {"id": i, "content": text, **flags}
        for i, (text, of) in enumerate(zip(tokens, types, strict=True))
        if of == CONTROL
    ]
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": added,
            "pre_tokenizer": {**byte_level, "add_prefix_space": False},
            "decoder": {**byte_level, "add_prefix_space": True},
            "model": {"type": "BPE", "vocab": {text: i for i, text in enumerate(tokens)}, "merges": merges},
        },
        ensure_ascii=False,
    )
