"""A model with adapters, by PEFT's names: `get_peft_model`, `PeftModel`.

What adapts layers is in `tuner.py`, what puts virtual tokens before the input in `prompts.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

from torch import Tensor, nn

from tuning.config import LayerConfig, PeftConfig, PromptConfig, TaskType
from tuning.conversion import converts
from tuning.disk import OnDisk
from tuning.errors import AdapterError, ConfigError, PeftWarning
from tuning.inputs import by_name, copies
from tuning.invocation import invoking
from tuning.layers import AdaptedLayer
from tuning.offload import check_not_offloaded
from tuning.pefts_class import OfPeftsClass
from tuning.prompts import Prompts
from tuning.quantised import check_library, prepare_model_for_gradient_checkpointing
from tuning.registry import method_named
from tuning.routing import NO_ADAPTER
from tuning.saved import SavedModule
from tuning.signature import ForwardOf
from tuning.status import LayerStatus, ModelStatus, count_parameters, get_layer_status, get_model_status
from tuning.tuner import Tuner
from tuning.tuners import tuner_class

HEADS = {  # what classifies is new, so it is trained whole: PEFT's names for it
    TaskType.SEQ_CLS: ("classifier", "score"),
    TaskType.TOKEN_CLS: ("classifier", "score"),
    TaskType.QUESTION_ANS: ("qa_outputs",),
}

ONLY_ON_LAYERS = ("merge_adapter", "unmerge_adapter", "merge_and_unload")


def name_the_base(config: PeftConfig, base: nn.Module) -> None:
    """Let a config say which base it is for: as PEFT, by the base's own name, whatever it said before."""
    said, own = config.base_model_name_or_path, getattr(base, "name_or_path", None)
    if said is not None and said != own:
        warnings.warn(
            f"The base model's name in the config was renamed from '{said}' to '{own}'", PeftWarning, stacklevel=4
        )
    config.base_model_name_or_path = own


def warn_of_name(adapter: str, config: PeftConfig) -> None:
    """Warn of an adapter's name that is a part of its parameters' names: libraries that look for these by their names mix them up."""
    prefix = getattr(method_named(config.METHOD), "prefix", "")
    if adapter in prefix:
        warnings.warn(
            f"adapter name '{adapter}' is contained in the prefix '{prefix}' of its parameters' names, where it is mistaken for a part of them: "
            "take another one",
            PeftWarning,
            stacklevel=4,
        )


class PeftModel(OfPeftsClass, OnDisk, nn.Module):
    """A base model and its adapters. Everything that is not ours is the base model's own."""

    TASK: ClassVar[TaskType | None] = None  # what a config that names no task is for
    _hf_peft_config_loaded = True  # for transformers: what is here is no plain base

    def __init__(
        self,
        model: nn.Module,
        peft_config: PeftConfig,
        adapter_name: str = "default",
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(model, PeftModel):
            raise AdapterError("this model has adapters already: use its add_adapter")
        if any(isinstance(module, AdaptedLayer) for module in model.modules()):
            warnings.warn(
                "adapters sit on this model already, and these go on top. For one in the others' place, call `.unload()` before",
                stacklevel=3,
            )
        check_library(model)
        check_not_offloaded(model)
        if not isinstance(peft_config, PeftConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"{type(peft_config).__name__} is no config of a method that is here")
        if not peft_config.METHOD:
            raise ConfigError(
                f"{type(peft_config).__name__} names no method: its peft_type is {peft_config.peft_type!r}"
            )
        if peft_config.is_prompt_learning:
            self.base_model = model
            self.prompt_encoder = nn.ModuleDict()
            self.__dict__["_held"] = Prompts(model, self.prompt_encoder)
        else:
            self.base_model = tuner_class(peft_config.METHOD)(model)
        if adapter_name in self.peft_config:  # the model had adapters before
            self.held.delete_adapter(adapter_name)
        self.add_adapter(adapter_name, peft_config, low_cpu_mem_usage, autocast_adapter_dtype)
        if isinstance(self.base_model, Tuner):
            self.base_model.freeze(adapter_name)
        self.set_adapter(adapter_name, inference_mode=peft_config.inference_mode)

    @classmethod
    def for_task(cls, task: str | None) -> type[PeftModel]:
        """The class of a task, where this is none's (`tuning.tasks` has them)."""
        kinds = cls.__subclasses__() if cls.TASK is None and task is not None else []
        return next((kind for kind in kinds if task == kind.TASK), cls)

    @property
    def held(self) -> Tuner | Prompts:
        """What holds the adapters."""
        found = self.__dict__.get("_held", self.base_model)
        assert isinstance(found, Tuner | Prompts)
        return found

    # adapters

    @property
    def peft_config(self) -> dict[str, Any]:
        return self.held.peft_config

    @property
    def active_adapters(self) -> list[str]:
        return list(self.held.active_adapters)

    @property
    def active_adapter(self) -> str:
        return self.active_adapters[0] if self.active_adapters else ""

    @property
    def active_peft_config(self) -> PeftConfig:
        return self.peft_config[self.active_adapter]

    def add_adapter(
        self,
        adapter_name: str,
        peft_config: PeftConfig,
        low_cpu_mem_usage: bool = False,
        autocast_adapter_dtype: bool = True,
    ) -> None:
        """Put one more adapter on the model; it is used once it is set. Raises TargetError, ConfigError, AdapterError.

        `low_cpu_mem_usage`: its weights are loaded next, so virtual tokens need nothing at the start.
        """
        if adapter_name in self.peft_config:
            raise AdapterError(
                f"Adapter with name {adapter_name} already exists: delete it first, or take another name"
            )
        if "." in adapter_name or not adapter_name or adapter_name == NO_ADAPTER:
            raise AdapterError(f"an adapter can't be named {adapter_name!r}: no dots, not empty, not {NO_ADAPTER}")
        name_the_base(peft_config, self.get_base_model())
        warn_of_name(adapter_name, peft_config)
        if peft_config.task_type is None and self.TASK is not None:
            peft_config.task_type = str(self.TASK)
        if isinstance(peft_config, (LayerConfig, PromptConfig)):
            self._train_head(peft_config)
        held = self.held
        if isinstance(held, Prompts):
            if not isinstance(peft_config, PromptConfig):
                raise ConfigError(
                    f"{peft_config.METHOD} adapts layers, and this model has {self._kinds()}: make a model of its own"
                )
            held.add(adapter_name, peft_config, initialise=not low_cpu_mem_usage)
            return
        if not isinstance(peft_config, LayerConfig):
            raise ConfigError(
                f"{peft_config.METHOD} puts tokens before the input, and this model has {self._kinds()}: make a model of its own"
            )
        held.add(adapter_name, peft_config, autocast=autocast_adapter_dtype, empty=low_cpu_mem_usage)

    def _train_head(self, peft_config: LayerConfig | PromptConfig) -> None:
        if "modules_to_save" not in peft_config.to_dict():
            return
        heads = HEADS.get(TaskType(peft_config.task_type), ()) if peft_config.task_type else ()
        there = {name.rsplit(".", 1)[-1] for name, _ in self.get_base_model().named_modules()}
        wanted = [head for head in heads if head in there and head not in (peft_config.modules_to_save or ())]
        if wanted:
            peft_config.modules_to_save = [*(peft_config.modules_to_save or ()), *wanted]

    def _kinds(self) -> str:
        return ", ".join(sorted({config.METHOD for config in self.peft_config.values()}))

    def set_adapter(self, adapter_name: str | Sequence[str], inference_mode: bool = False) -> None:
        """Use this adapter, or several stacked, and train it unless `inference_mode`. Raises AdapterError."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        self.held.set_adapter(names, inference_mode=inference_mode)

    def set_requires_grad(self, adapter_names: str | Sequence[str], requires_grad: bool = True) -> None:
        """Train adapters, or don't, whichever is used."""
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        self.held.set_requires_grad(names, requires_grad)

    def delete_adapter(self, adapter_name: str | Sequence[str]) -> None:
        self.held.delete_adapter(adapter_name)

    @contextmanager
    def disable_adapter(self) -> Generator[None]:
        """The base alone, inside the `with`; merged adapters are taken out for as long, and put back."""
        with self.held.disabled():
            yield

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        **kwargs: Any,
    ) -> None:
        """A new adapter that combines others; see `tuning.weighted` for the ways. Raises AdapterError, ConfigError."""
        from tuning.weighted import combine

        combine(self.tuner_for("add_weighted_adapter"), adapters, weights, adapter_name, combination_type, **kwargs)

    # weights: `merge_adapter`, `unmerge_adapter`, `merge_and_unload` and others are the tuner's

    def unload(self) -> nn.Module:
        """The base model as it was."""
        return self.held.unload()

    def tuner_for(self, what: str) -> Tuner:
        if not isinstance(self.base_model, Tuner):
            raise AdapterError(f"{what} is for adapters that sit on layers; {self._kinds()} has no weights in them")
        return self.base_model

    # the model's own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)

    def _forward(
        self, *args: Any, adapter_names: Sequence[str] | None = None, labels: Any = None, **kwargs: Any
    ) -> Any:
        """The model's own forward. `adapter_names`: for each row of the batch which adapter it uses. Where a method knows tasks, `task_ids`
        (rows,) says which task each row is of.
        """
        if labels is not None:
            kwargs["labels"] = labels
        with self._of_tasks(kwargs), self._routed(adapter_names, args, kwargs, 1), self._invoking(args, kwargs, 1):
            return self._inner(*args, **kwargs)

    forward: Any = ForwardOf(_forward)  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """The base's own. Raises ConfigError where an adapter sits on the embedding or the head, whose weight would be another's."""
        base: Any = self.get_base_model()
        for module in (base.get_input_embeddings(), base.get_output_embeddings()):
            if isinstance(module, AdaptedLayer | SavedModule):
                raise ConfigError(
                    "an adapter sits on the embedding or on the head: resize the base's vocabulary before it is adapted"
                )
        return base.resize_token_embeddings(*args, **kwargs)

    def _invoking(self, args: Any, kwargs: Any, copies: int) -> AbstractContextManager[None]:
        ids = kwargs.get("input_ids", kwargs.get("inputs", args[0] if args else None))
        ids = ids if isinstance(ids, Tensor) and ids.ndim == 2 and not ids.is_floating_point() else None
        return invoking(self.held.routing, ids, copies, keep=self.training)

    @contextmanager
    def _of_tasks(self, kwargs: dict[str, Any]) -> Generator[None]:
        """Take each row's task from what the model is given; in training it is kept, for a backward pass that computes layers again."""
        routing = self.held.routing
        if any(method_named(config.METHOD).knows_tasks for config in self.peft_config.values()):
            routing.task_ids = kwargs.pop("task_ids", None)
        yield
        if not self.training:
            routing.task_ids = None

    @property
    def _inner(self) -> Any:
        """The model as it is called: with virtual tokens, or with adapted layers."""
        return self.__dict__.get("_held", self.base_model)

    def generate(self, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        base: Any = self.get_base_model()
        rows = copies(by_name(base.generate, args, kwargs), base)
        if not all(getattr(method_named(config.METHOD), "caches", True) for config in self.peft_config.values()):
            kwargs.setdefault("use_cache", False)
        with (
            self._of_tasks(kwargs),
            self._routed(adapter_names, args, kwargs, rows),
            self._invoking(args, kwargs, rows),
        ):
            return self._inner.generate(*args, **kwargs)

    def get_prompt(self, batch_size: int, task_ids: Tensor | None = None) -> Any:
        """Virtual tokens of the active adapter for so many rows: (rows, tokens, dimensions), or a cache of keys and values."""
        held = self.held
        if not isinstance(held, Prompts):
            raise AdapterError(f"{self._kinds()} has no virtual tokens")
        held.routing.task_ids = task_ids
        return held.get_prompt(batch_size)

    def _routed(self, names: Sequence[str] | None, args: Any, kwargs: Any, rows: int) -> AbstractContextManager[None]:
        """Each row of the batch, for which the model has so many `rows`, uses its own adapter."""
        if names is None:
            return nullcontext()
        batch = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if batch is not None and len(batch) != len(names):
            raise AdapterError(f"adapter_names has {len(names)} names, and the batch {len(batch)} rows")
        return self.tuner_for("adapter_names").by_rows([name for name in names for _ in range(rows)])

    def get_base_model(self) -> nn.Module:
        return self.held.model

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("base_model", "_modules"):
                raise
            if name in ONLY_ON_LAYERS and not isinstance(self.base_model, Tuner):
                self.tuner_for(name)
            return getattr(self.base_model, name)

    # figures

    def get_nb_trainable_parameters(self) -> tuple[int, int]:
        """(trainable, all); a 4-bit weight counts as what it stands for."""
        return count_parameters(self)

    def print_trainable_parameters(self) -> None:
        trainable, total = self.get_nb_trainable_parameters()
        share = 100 * trainable / total
        print(f"trainable params: {trainable:,d} || all params: {total:,d} || trainable%: {share:.4f}")

    def get_layer_status(self) -> list[LayerStatus]:
        return get_layer_status(self)

    def get_model_status(self) -> ModelStatus:
        return get_model_status(self)

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Whether an adapter can become a LoRA (`tuning.convert_to_lora`)."""
        if not isinstance(self.held, Tuner):
            return False
        layers = self.held.layers_of(adapter_name).values()
        return bool(layers) and all(converts(layer, adapter_name) for layer in layers)

    def prepare_model_for_gradient_checkpointing(self, model: nn.Module) -> nn.Module:
        """Let gradients through a frozen embedding, for a model that computes layers again (the reentrant kind)."""
        prepare_model_for_gradient_checkpointing(model)
        return model
