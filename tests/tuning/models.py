"""Tiny models of untrained weights, and a tokenizer as theirs have it, made here."""

from __future__ import annotations

from typing import Any

import tokenizers
import torch
import transformers

TEXT = "class A:\n    def __init__(self, value):\n        self._value = value\n        self.name = value.name\n"


def byte_level() -> Any:
    """A byte-level BPE as GPT-2 and its successors have it."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=["<eos>"])
    bpe.train_from_iterator([TEXT] * 4, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>")


def tiny(kind: str, vocabulary: int) -> Any:
    """A causal language model of two layers; of "wide llama" the heads have the size that the serving graph needs."""
    torch.manual_seed(0)
    if kind == "wide llama":
        config = transformers.LlamaConfig(
            vocab_size=vocabulary, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=2048,
        )  # fmt: skip
        return transformers.AutoModelForCausalLM.from_config(config)
    if kind == "llama":
        config = transformers.LlamaConfig(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=2048,
        )  # fmt: skip
    else:
        config = transformers.GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=512)
    return transformers.AutoModelForCausalLM.from_config(config)
