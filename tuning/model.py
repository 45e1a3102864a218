"""A model with adapters, by PEFT's names: `get_peft_model`, `PeftModel`.

What adapts layers is in `tuner.py`, what puts virtual tokens before the input in `prompts.py`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tuning import checkpoint, hub
from tuning.config import LayerConfig, PeftConfig, PromptConfig, TaskType
from tuning.errors import AdapterError, ConfigError
from tuning.layers import NO_ADAPTER
from tuning.prompts import Prompts, name_as_peft
from tuning.quantised import check_library
from tuning.state import get_peft_model_state_dict, set_peft_model_state_dict
from tuning.status import ModelStatus, layer_status, model_status
from tuning.tuner import Tuner

HEADS = {  # what classifies is new, so it is trained whole: PEFT's names for it
    TaskType.SEQ_CLS: ("classifier", "score"),
    TaskType.TOKEN_CLS: ("classifier", "score"),
    TaskType.QUESTION_ANS: ("qa_outputs",),
}


class PeftModel(nn.Module):
    """A base model and its adapters. Everything that is not ours is the base model's own."""

    TASK: ClassVar[TaskType | None] = None  # what a config that names no task is for

    def __init__(
        self,
        model: nn.Module,
        peft_config: PeftConfig,
        adapter_name: str = "default",
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
    ) -> None:
        super().__init__()
        check_library(model)
        self.base_model = Prompts(model) if peft_config.is_prompt_learning else Tuner(model)
        self.add_adapter(adapter_name, peft_config, low_cpu_mem_usage, autocast_adapter_dtype)
        if isinstance(self.base_model, Tuner):
            self.base_model.freeze(adapter_name)
        else:
            name_as_peft(self)
        self.set_adapter(adapter_name, inference_mode=peft_config.inference_mode)

    # adapters

    @property
    def peft_config(self) -> dict[str, Any]:
        return self.base_model.peft_config

    @property
    def active_adapters(self) -> list[str]:
        return list(self.base_model.active_adapters)

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
        if "." in adapter_name or not adapter_name or adapter_name == NO_ADAPTER:
            raise AdapterError(f"an adapter can't be named {adapter_name!r}: no dots, not empty, not {NO_ADAPTER}")
        if peft_config.base_model_name_or_path is None:
            peft_config.base_model_name_or_path = getattr(self.get_base_model(), "name_or_path", None)
        if peft_config.task_type is None and self.TASK is not None:
            peft_config.task_type = str(self.TASK)
        if isinstance(peft_config, (LayerConfig, PromptConfig)):
            self._train_head(peft_config)
        if not peft_config.METHOD:
            raise ConfigError(
                f"{type(peft_config).__name__} names no method: its peft_type is {peft_config.peft_type!r}"
            )
        if isinstance(self.base_model, Prompts):
            if not isinstance(peft_config, PromptConfig):
                raise ConfigError(
                    f"{peft_config.METHOD} adapts layers, and this model has {self._kinds()}: make a model of its own"
                )
            self.base_model.add(adapter_name, peft_config, initialise=not low_cpu_mem_usage)
            return
        if not isinstance(peft_config, LayerConfig):
            raise ConfigError(
                f"{peft_config.METHOD} puts tokens before the input, and this model has {self._kinds()}: make a model of its own"
            )
        self.base_model.add(adapter_name, peft_config, autocast=autocast_adapter_dtype)

    def _train_head(self, peft_config: LayerConfig | PromptConfig) -> None:
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
        self.base_model.activate(names, trainable=not inference_mode)

    def set_requires_grad(self, adapter_names: str | Sequence[str], requires_grad: bool = True) -> None:
        """Train adapters, or don't, whichever is used."""
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            self.base_model.train_adapter(name, requires_grad)

    def delete_adapter(self, adapter_name: str) -> None:
        self.base_model.check_known([adapter_name])
        self.base_model.delete(adapter_name)

    @contextmanager
    def disable_adapter(self) -> Generator[None]:
        """The base alone, inside the `with`; merged adapters are taken out for as long, and put back."""
        with self.base_model.disabled():
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

    # weights

    def merge_adapter(
        self, adapter_names: Sequence[str] | None = None, safe_merge: bool = False, keep_base: bool = False
    ) -> None:
        """Put adapters (the active ones) into the base's weights. `keep_base` holds a copy of these: unmerging is then exact."""
        self.tuner_for("merge_adapter").merge(adapter_names, safe=safe_merge, keep=keep_base)

    def unmerge_adapter(self) -> None:
        self.tuner_for("unmerge_adapter").unmerge()

    def merge_and_unload(
        self, progressbar: bool = False, safe_merge: bool = False, adapter_names: Sequence[str] | None = None
    ) -> nn.Module:
        """The base model with the active adapters in its weights, and nothing of ours around it."""
        tuner = self.tuner_for("merge_and_unload")
        tuner.merge(adapter_names, safe=safe_merge)
        return tuner.unloaded(current=True)

    def unload(self) -> nn.Module:
        """The base model as it was."""
        if isinstance(self.base_model, Prompts):
            return self.base_model.unloaded()
        self.base_model.unmerge()
        return self.base_model.unloaded(current=False)

    def tuner_for(self, what: str) -> Tuner:
        if not isinstance(self.base_model, Tuner):
            raise AdapterError(f"{what} is for adapters that sit on layers; {self._kinds()} has no weights in them")
        return self.base_model

    # the model's own

    def forward(self, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """The model's own forward; `adapter_names` says for each row of the batch which adapter it uses."""
        with self._routed(adapter_names, args, kwargs):
            return self.base_model(*args, **kwargs)

    def generate(self, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        beams = kwargs.get("num_beams") or 1
        repeated = [name for name in adapter_names or () for _ in range(beams)]
        with self._routed(repeated or None, args, kwargs, check=beams == 1):
            model: Any = self.base_model
            return model.generate(*args, **kwargs)

    @contextmanager
    def _routed(self, names: Sequence[str] | None, args: Any, kwargs: Any, *, check: bool = True) -> Generator[None]:
        if names is None:
            yield
            return
        batch = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if check and batch is not None and len(batch) != len(names):
            raise AdapterError(f"adapter_names has {len(names)} names, and the batch {len(batch)} rows")
        with self.tuner_for("adapter_names").by_rows(names):
            yield

    def get_base_model(self) -> nn.Module:
        return self.base_model.model

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("base_model", "_modules"):
                raise
            return getattr(self.base_model, name)

    # figures

    def get_nb_trainable_parameters(self) -> tuple[int, int]:
        """(trainable, all); a 4-bit weight counts as what it stands for."""
        trainable = total = 0
        for parameter in self.parameters():
            count = parameter.numel()
            state = getattr(parameter, "quant_state", None)
            if state is not None:
                count = int(torch.Size(state.shape).numel())
            total += count
            trainable += count if parameter.requires_grad else 0
        return trainable, total

    def print_trainable_parameters(self) -> None:
        trainable, total = self.get_nb_trainable_parameters()
        print(
            f"trainable params: {trainable:,d} || all params: {total:,d} || trainable%: {100 * trainable / total:.4f}"
        )

    def get_layer_status(self) -> list[Any]:
        return layer_status(self)

    def get_model_status(self) -> ModelStatus:
        return model_status(self)

    # on disk

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        selected_adapters: Sequence[str] | None = None,
        save_embedding_layers: str | bool = "auto",
        is_main_process: bool = True,
        max_shard_size: int = checkpoint.SHARD,
        **kwargs: Any,
    ) -> None:
        """Write adapters, each whole or not at all: `default` into the folder, others into folders of their names below it."""
        if not safe_serialization:
            raise ConfigError("safe_serialization=False would write a pickled file; safetensors is what there is")
        names = list(self.peft_config) if selected_adapters is None else list(selected_adapters)
        self.base_model.check_known(names)
        if not is_main_process:
            return
        for name in names:
            folder = Path(save_directory) / ("" if name == "default" else name)
            tensors = get_peft_model_state_dict(self, adapter_name=name, save_embedding_layers=save_embedding_layers)
            with checkpoint.writing(folder, tensors, shard=max_shard_size):
                config = self.peft_config[name]
                training, config.inference_mode = config.inference_mode, True
                try:
                    config.save_pretrained(folder)
                finally:
                    config.inference_mode = training

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Save, and upload to the hub; returns its address. Connects."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.push(Path(folder), repo_id, **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        model: nn.Module,
        model_id: str | os.PathLike[str],
        adapter_name: str = "default",
        is_trainable: bool = False,
        config: PeftConfig | None = None,
        autocast_adapter_dtype: bool = True,
        ephemeral_gpu_offload: bool = False,
        low_cpu_mem_usage: bool = False,
        ignore_mismatched_sizes: bool = False,
        subfolder: str | None = None,
        **kwargs: Any,
    ) -> PeftModel:
        """A model with the adapter in a folder. Raises CheckpointError, TargetError."""
        folder = hub.resolved(model_id, subfolder, **kwargs)
        config = config or PeftConfig.from_pretrained(folder)
        config.inference_mode = not is_trainable
        if config.task_type is None and cls.TASK is not None:
            config.task_type = str(cls.TASK)
        made = get_peft_model(
            model, config, adapter_name, autocast_adapter_dtype=autocast_adapter_dtype, low_cpu_mem_usage=True
        )
        made._load(folder, adapter_name, ignore_mismatched=ignore_mismatched_sizes)
        return made if is_trainable else made.eval()

    def load_adapter(
        self,
        model_id: str | os.PathLike[str],
        adapter_name: str,
        is_trainable: bool = False,
        torch_device: str | None = None,
        autocast_adapter_dtype: bool = True,
        ephemeral_gpu_offload: bool = False,
        low_cpu_mem_usage: bool = False,
        ignore_mismatched_sizes: bool = False,
        subfolder: str | None = None,
        **kwargs: Any,
    ) -> checkpoint.Loaded:
        """Put one more adapter, from a folder, on the model. Raises CheckpointError, TargetError, AdapterError."""
        folder = hub.resolved(model_id, subfolder, **kwargs)
        config = PeftConfig.from_pretrained(folder)
        config.inference_mode = not is_trainable
        there = adapter_name in self.peft_config
        if not there:
            self.add_adapter(adapter_name, config, True, autocast_adapter_dtype)
        try:
            loaded = self._load(folder, adapter_name, ignore_mismatched=ignore_mismatched_sizes)
        except Exception:
            if not there:
                self.delete_adapter(adapter_name)
            raise
        self.set_requires_grad(adapter_name, is_trainable)
        return loaded

    def _load(self, folder: Path, name: str, *, ignore_mismatched: bool) -> checkpoint.Loaded:
        """Read an adapter's weights; what is missing or left over is warned of, for the caller may know why."""
        tensors = checkpoint.read(folder)
        loaded = set_peft_model_state_dict(self, tensors, name, ignore_mismatched_sizes=ignore_mismatched)
        for what, found in (("lacks", loaded.missing_keys), ("has, and nothing here is named", loaded.unexpected_keys)):
            if found:
                more = f" and {len(found) - 3} more" if len(found) > 3 else ""
                warnings.warn(f"{folder} {what} {', '.join(found[:3])}{more}", stacklevel=3)
        return loaded


def get_peft_model(
    model: nn.Module,
    peft_config: PeftConfig,
    adapter_name: str = "default",
    mixed: bool = False,
    autocast_adapter_dtype: bool = True,
    revision: str | None = None,
    low_cpu_mem_usage: bool = False,
) -> PeftModel:
    """The model, adapted in place, as the class of its task; only the adapter is trained. Raises TargetError, ConfigError.

    `mixed` is accepted for PEFT's sake: adapters of different methods on one model always go together here.
    """
    if revision is not None:
        peft_config.revision = revision
    if isinstance(model, PeftModel):
        raise AdapterError("this model has adapters already: use its add_adapter")
    from tuning.tasks import model_for

    kind = model_for(peft_config.task_type)
    return kind(model, peft_config, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage)
