"""Virtual tokens before the input: prompt tuning, prefix tuning, P-tuning. One adapter is used at a time; the base is frozen."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tuning.checkpoint import Loaded
from tuning.config import PromptConfig, TaskType
from tuning.errors import AdapterError, CheckpointError, ConfigError, check_adapters
from tuning.inputs import by_name, copies, counting_new, first_of, longer, mask_of, seeing
from tuning.registry import PromptFamily, method_named
from tuning.routing import Routing
from tuning.saved import add_saved, delete_saved, saved_modules, without_saved
from tuning.virtual import (
    CHECKPOINTING,
    IGNORED,
    as_cache,
    cache_name,
    check_takes_keys,
    complete,
    number,
    word_embeddings,
)

log = logging.getLogger(__name__)

LABELLED = (TaskType.CAUSAL_LM, TaskType.TOKEN_CLS)  # a label for each token, so one for each virtual token
TYPED = (TaskType.SEQ_CLS, TaskType.TOKEN_CLS, TaskType.QUESTION_ANS)  # token_type_ids stay


class Prompts:
    """Makes virtual tokens for a frozen model. `encoders`: what makes each adapter's; `PeftModel` has them as `prompt_encoder`."""

    def __init__(self, model: nn.Module, encoders: nn.ModuleDict) -> None:
        self.model = model.requires_grad_(False)
        self.prompt_encoder = encoders
        self.peft_config: dict[str, PromptConfig] = {}
        self.active_adapters: list[str] = []
        self.routing = Routing()

    @property
    def is_used(self) -> bool:
        """Whether an adapter is active."""
        return self.routing.enabled and bool(self.active_adapters)

    @property
    def gives_keys(self) -> bool:
        """Whether a decoder's output, whichever adapter is used, is as long as its input: its tokens are keys and values."""
        return all(
            self.family(name).as_keys and config.task_type == TaskType.CAUSAL_LM
            for name, config in self.peft_config.items()
        )

    def family(self, name: str) -> PromptFamily:
        family = method_named(self.peft_config[name].METHOD)
        assert isinstance(family, PromptFamily)
        return family

    # adapters

    def add(self, name: str, config: PromptConfig, *, initialise: bool = True) -> None:
        """Make an adapter. Raises ConfigError, AdapterError; then nothing has changed.

        Without `initialise` it is the plain table that `load` fills: a checkpoint holds the tokens, not what computed them.
        """
        if name in self.peft_config:
            raise AdapterError(f"there is an adapter '{name}' already; delete it first, or take another name")
        family = method_named(config.METHOD)
        assert isinstance(family, PromptFamily)
        if family.as_keys:
            check_takes_keys(self.model)
        words = word_embeddings(self.model)
        complete(config, self.model, as_keys=family.as_keys)
        fresh = initialise and not config.inference_mode
        encoder = family.encoder(config, words) if fresh else family.table(config)
        if config.modules_to_save:
            add_saved(self.model, name, config.modules_to_save, self.routing)
        self.prompt_encoder[name] = encoder.to(words.weight.device)
        self.peft_config[name] = config
        self.set_requires_grad([name], False)

    def delete_adapter(self, names: str | Sequence[str]) -> None:
        names = [names] if isinstance(names, str) else list(names)
        self.check_known(names)
        for name in names:
            self._delete(name)

    def _delete(self, name: str) -> None:
        del self.prompt_encoder[name], self.peft_config[name]
        delete_saved(self.model, name)
        if name in self.active_adapters:
            self.active_adapters, self.routing.active = [], ()
            if self.peft_config:
                self.set_adapter([next(iter(self.peft_config))])

    def set_adapter(self, names: Sequence[str], inference_mode: bool = False) -> None:
        """Use this adapter, and train it alone. Raises AdapterError."""
        self.check_known(names)
        if len(names) > 1:
            raise AdapterError(f"{', '.join(names)} are adapters of virtual tokens, of which one is used at a time")
        self.active_adapters = list(names)
        self.routing.active = tuple(names)
        for name in self.prompt_encoder:
            self.set_requires_grad([name], not inference_mode and name in names)

    def set_requires_grad(self, names: Sequence[str], requires_grad: bool = True) -> None:
        self.check_known(names)
        for name in names:
            self.prompt_encoder[name].requires_grad_(requires_grad)
            for saved in saved_modules(self.model).values():
                if name in saved.modules_to_save:
                    saved.modules_to_save[name].requires_grad_(requires_grad)

    @contextmanager
    def disabled(self) -> Generator[None]:
        """The base alone, inside the `with`. It may be nested."""
        enabled, self.routing.enabled = self.routing.enabled, False
        try:
            yield
        finally:
            self.routing.enabled = enabled

    def unload(self) -> nn.Module:
        """The model with nothing of ours in it."""
        without_saved(self.model, ())
        return self.model

    def check_known(self, names: Iterable[str]) -> None:
        """Raises AdapterError where no adapter has a name."""
        check_adapters(names, self.peft_config)

    # the model's own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own forward, with the active adapter's tokens before the input; outputs hold theirs too."""
        if not self.is_used:
            return self.model(*args, **kwargs)
        name = self.active_adapters[0]
        given = by_name(self.model.forward, args, kwargs)
        return self.family(name).around(
            self.peft_config[name], given, lambda inputs: self.model(**self.after_tokens(inputs))
        )

    def after_tokens(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the model is given, so that the active adapter's tokens come before the input. Raises ConfigError."""
        name = self.active_adapters[0]
        config, as_keys = self.peft_config[name], self.family(name).as_keys
        length = number(config.num_virtual_tokens)
        if as_keys and self.model.training and getattr(self.model, "is_gradient_checkpointing", False):
            raise ConfigError(CHECKPOINTING)
        there = self._held(inputs) or (not as_keys and inputs.get("encoder_outputs") is not None)
        masked = "decoder_attention_mask" if as_keys and config.task_type == TaskType.SEQ_2_SEQ_LM else "attention_mask"
        mask = inputs.get(masked)
        inputs[masked] = seeing(mask, length) if as_keys else longer(mask, length, 1)
        if (positions := inputs.pop("position_ids", None)) is not None:
            if as_keys or there:
                inputs["position_ids"] = positions + length
            else:
                log.warning(
                    "position_ids are left out: with virtual tokens before the input, positions count from these"
                )
        if (types := inputs.pop("token_type_ids", None)) is not None and config.task_type in TYPED:
            inputs["token_type_ids"] = types if as_keys else longer(types, length, 0)
        if there:
            return inputs
        if as_keys:
            return inputs | {cache_name(self.model): self._keys(name, len(first_of(inputs)))}
        if config.task_type in LABELLED:
            inputs["labels"] = longer(inputs.get("labels"), length, IGNORED)
        return inputs | {"inputs_embeds": self._embedded(name, inputs), "input_ids": None}

    def _held(self, inputs: Mapping[str, Any]) -> bool:
        """Whether a cache that was given has tokens: it then has the virtual ones too."""
        caches = [inputs[name] for name in ("cache", "past_key_values") if inputs.get(name) is not None]
        return any(cache.get_seq_length() > 0 for cache in caches)

    def _embedded(self, name: str, inputs: Mapping[str, Any]) -> Tensor:
        """(rows, virtual tokens + tokens, dimensions)."""
        embedded = inputs.get("inputs_embeds")
        if embedded is None:
            embedded = word_embeddings(self.model)(first_of(inputs))
        return torch.cat([self._tokens(name, len(embedded)).to(embedded), embedded], dim=1)

    def _tokens(self, name: str, rows: int) -> Tensor:
        """(rows, virtual tokens, dimensions)."""
        tokens = self.family(name).tokens(self.prompt_encoder[name], self.routing.task_ids)
        tokens = tokens[:, : number(self.peft_config[name].num_virtual_tokens)]
        return tokens.expand(rows, -1, -1) if len(tokens) == rows else tokens.repeat(rows, 1, 1)

    def _keys(self, name: str, rows: int) -> Any:
        model: Any = self.model
        return as_cache(model, self.peft_config[name], self._tokens(name, rows).to(model.dtype))

    @torch.no_grad()
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own generate, with the active adapter's tokens in its cache. They are not in what it returns.

        With padding on the left the tokens stand before it, and positions count real tokens only, so that a row's result does not
        depend on the rows beside it.
        """
        model: Any = self.model
        if not self.is_used:
            return model.generate(*args, **kwargs)
        given = by_name(model.generate, args, kwargs)
        if (inputs := given.pop("inputs", None)) is not None:
            given["input_ids"] = inputs
        if self._held(given):
            raise AdapterError(
                "generate with virtual tokens fills its cache itself: leave out the one that holds tokens"
            )
        for without in ("position_ids", "token_type_ids", "encoder_outputs"):
            given.pop(without, None)
        name = self.active_adapters[0]
        encoded = self.peft_config[name].task_type == TaskType.SEQ_2_SEQ_LM
        settings = given.get("generation_config") or model.generation_config
        if given.get("attention_mask") is None:
            given["attention_mask"] = mask_of(given, settings)
        if self.family(name).as_keys:
            return model.generate(**self._generate_after_keys(name, given, settings, encoded=encoded))
        ids, mask = given.get("input_ids"), given["attention_mask"]
        given |= {
            "inputs_embeds": self._embedded(name, given),
            "attention_mask": longer(mask, number(self.peft_config[name].num_virtual_tokens), 1),
        }
        if encoded or ids is None:
            given.pop("input_ids", None)
        return model.generate(**(given if encoded else counting_new(given, settings, mask.shape[1])))

    def _generate_after_keys(self, name: str, given: dict[str, Any], settings: Any, *, encoded: bool) -> dict[str, Any]:
        model: Any = self.model
        mask, embedded = given["attention_mask"], given.get("inputs_embeds")
        length = number(self.peft_config[name].num_virtual_tokens)
        given |= {cache_name(model): self._keys(name, len(mask) * copies(given, model)), "use_cache": True}
        if not encoded:
            given["attention_mask"] = longer(mask, length, 1)
            if embedded is not None:  # transformers wants what the cache holds before them, and cuts it off
                padded = torch.cat([embedded.new_zeros(len(embedded), length, embedded.shape[2]), embedded], dim=1)
                given = counting_new(given | {"inputs_embeds": padded}, settings, mask.shape[1])
        if embedded is None and "cache_position" in inspect.signature(model.prepare_inputs_for_generation).parameters:
            fresh = 1 if encoded else mask.shape[1]  # transformers 5.0 asks where its cache ends
            given["cache_position"] = torch.arange(length, length + fresh, device=mask.device)
        return given

    # on disk

    def get_prompt(self, rows: int) -> Any:
        """The active adapter's tokens for so many rows: (rows, tokens, dimensions), or a cache of keys and values."""
        name = self.active_adapters[0]
        if self.family(name).as_keys:
            return self._keys(name, rows)
        return self._tokens(name, rows)

    @torch.no_grad()
    def saved(self, name: str) -> dict[str, Tensor]:
        """An adapter by a checkpoint's keys: its tokens as they are computed now, and what is trained whole beside them."""
        self.check_known([name])
        encoder = self.prompt_encoder[name]
        training = encoder.training
        tensors = self.family(name).saved(encoder.eval())
        encoder.train(training)
        return {key: tensor.detach() for key, tensor in {**tensors, **self._whole(name)}.items()}

    def _whole(self, name: str) -> dict[str, Tensor]:
        return {
            f"base_model.{path}.{own}": tensor
            for path, module in saved_modules(self.model).items()
            if name in module.modules_to_save
            for own, tensor in module.modules_to_save[name].state_dict(keep_vars=True).items()
        }

    @torch.no_grad()
    def load(self, name: str, tensors: Mapping[str, Tensor]) -> Loaded:
        """Put a checkpoint's tokens into an adapter that is there. Raises CheckpointError.

        What computed them is not in a checkpoint: an adapter of P-tuning or of a projected prefix is a plain table from here on.
        """
        self.check_known([name])
        config = self.peft_config[name]
        family = self.family(name)
        table = family.table(config)
        wanted = family.saved(table)
        if lacking := [key for key in wanted if key not in tensors]:
            there = ", ".join(sorted(tensors)[:6]) or "nothing"
            raise CheckpointError(
                f"the checkpoint has no '{lacking[0]}', which {config.METHOD} is saved as (there is: {there})"
            )
        whole = self._whole(name)
        for key, target in {**whole, **wanted}.items():
            if key in tensors and tensors[key].shape != target.shape:
                raise CheckpointError(
                    f"'{key}' is {tuple(tensors[key].shape)} in the checkpoint and {tuple(target.shape)} here: "
                    "it was trained for another base, or with another num_virtual_tokens"
                )
        encoder = self.prompt_encoder[name]
        if type(encoder) is not type(table):
            like = next(encoder.parameters())
            table = table.to(device=like.device, dtype=like.dtype).requires_grad_(like.requires_grad)
            self.prompt_encoder[name] = encoder = table.train(encoder.training)
        family.read(encoder, tensors)
        for key, target in whole.items():
            if key in tensors:
                target.copy_(tensors[key])
        known = {**whole, **wanted}
        return Loaded([key for key in whole if key not in tensors], sorted(key for key in tensors if key not in known))


class AfterKeys(nn.Module):
    """A part of the model, given what the model is given: the active adapter's keys and values, and inputs that come after them."""

    def __init__(self, prompts: Prompts, part: nn.Module) -> None:
        super().__init__()
        self.part = part
        self.held = (prompts,)  # in a tuple: no part of this

    def forward(self, **inputs: Any) -> Any:
        (prompts,) = self.held
        return self.part(**(prompts.after_tokens(inputs) if prompts.is_used else inputs))
