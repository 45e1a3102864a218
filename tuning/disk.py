"""A model's adapters on disk, by PEFT's names: saved, loaded, uploaded. What `PeftModel` has of it."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tuning import card, checkpoint, hub
from tuning.config import PeftConfig
from tuning.errors import AdapterError, CheckpointError, ConfigError, PeftWarning
from tuning.offload import check_not_offloaded
from tuning.state import get_peft_model_state_dict, renamed, set_peft_model_state_dict

OF_DISPATCH = ("device_map", "max_memory", "offload_folder", "offload_dir", "offload_index")


class OnDisk:
    """Methods of `PeftModel`."""

    def save_pretrained(
        self: Any,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        selected_adapters: Sequence[str] | None = None,
        save_embedding_layers: str | bool = "auto",
        is_main_process: bool = True,
        path_initial_model_for_weight_conversion: str | os.PathLike[str] | None = None,
        max_shard_size: int = checkpoint.SHARD,
        state_dict: Mapping[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write adapters, each whole or not at all: `default` into the folder, others into folders of their names below it.

        `state_dict`: take the tensors from it. `path_initial_model_for_weight_conversion`: the folder of the adapter as it began, where
        that was a part of the base (PiSSA, OLoRA); what is written is then the difference, a plain LoRA of twice the rank.
        """
        refuse_unknown("save_pretrained", kwargs, ("push_to_hub", "token"))
        if kwargs.get("push_to_hub"):
            raise ConfigError("save_pretrained writes a folder only: call push_to_hub, which saves and uploads")
        folder = Path(save_directory)
        if folder.is_file():
            raise CheckpointError(f"{save_directory} is a file: name a folder to save adapters in")
        names = list(self.peft_config) if selected_adapters is None else list(selected_adapters)
        if unknown := [name for name in names if name not in self.peft_config]:
            raise AdapterError(f"selected_adapters names {unknown[0]!r}, and there are {list(self.peft_config)}")
        for name in names:
            tensors: Mapping[str, Tensor] = get_peft_model_state_dict(
                self,
                state_dict=None if state_dict is None else dict(state_dict),
                adapter_name=name,
                save_embedding_layers=save_embedding_layers,
            )
            config = self._config_to_save(name)
            if path_initial_model_for_weight_conversion is not None:
                start = checkpoint.read(Path(path_initial_model_for_weight_conversion))
                tensors, config = self.tuner_for("path_initial_model_for_weight_conversion").difference(
                    name, tensors, start, config
                )
            if not is_main_process:
                continue
            into = folder / ("" if name == "default" else name)
            parts = {into / own: part for own, part in checkpoint.parts(self.held, name).items()}
            for where, (own_config, own_tensors) in {into: (config, tensors), **parts}.items():
                write = checkpoint.writing(where, own_tensors, shard=max_shard_size)
                with write if safe_serialization else checkpoint.writing_pickled(where, own_tensors):
                    own_config.save_pretrained(where)
        if is_main_process:
            self.create_or_update_model_card(folder)

    def _config_to_save(self: Any, name: str) -> PeftConfig:
        config = copy.copy(self.peft_config[name])
        config.inference_mode = True
        if config.task_type is None:
            base = type(self.get_base_model())
            config.auto_mapping = {"base_model_class": base.__name__, "parent_library": base.__module__}
        return config

    def create_or_update_model_card(self: Any, output_dir: str | os.PathLike[str]) -> None:
        """Write README.md, or what is an adapter's into the one there is."""
        card.write(self, Path(output_dir))

    def push_to_hub(self: Any, repo_id: str, **kwargs: Any) -> str:
        """Save, and upload to the hub; returns its address. Connects."""
        import tempfile

        refuse_unknown("push_to_hub", kwargs, hub.OF_UPLOAD)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.push(Path(folder), repo_id, **kwargs)

    @classmethod
    def from_pretrained(
        cls: Any,
        model: nn.Module,
        model_id: str | os.PathLike[str],
        adapter_name: str = "default",
        is_trainable: bool = False,
        config: PeftConfig | None = None,
        autocast_adapter_dtype: bool = True,
        ephemeral_gpu_offload: bool = False,
        low_cpu_mem_usage: bool = False,
        key_mapping: Mapping[str, str] | None = None,
        ignore_mismatched_sizes: bool = False,
        subfolder: str | None = None,
        torch_device: str | None = None,
        strict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """A model with the adapter in a folder. Raises CheckpointError, TargetError. `strict`: also where only a part of it fits.

        `key_mapping`: patterns of keys without PEFT's prefix, and what stands for them. `torch_device`: where the file is read to; the
        adapter is on its layers' device. Options that lay a model over devices are refused: do that before.
        """
        check_options("from_pretrained", kwargs)
        if config is not None and not isinstance(config, PeftConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"config has to be a PeftConfig, and is a {type(config).__name__}")
        check_not_offloaded(model)
        folder = hub.resolved(model_id, subfolder, **kwargs)
        config = config or PeftConfig.from_pretrained(folder)
        config.inference_mode = not is_trainable
        if config.task_type is None and cls.TASK is not None:
            config.task_type = str(cls.TASK)
        if key_mapping is None and not config.is_prompt_learning:
            key_mapping = getattr(model, "_checkpoint_conversion_mapping", None)
        tensors = renamed(checkpoint.read(folder, device=torch_device), key_mapping)  # before the model is changed
        made = cls.for_task(config.task_type)(
            model,
            config,
            adapter_name,
            autocast_adapter_dtype=autocast_adapter_dtype,
            low_cpu_mem_usage=low_cpu_mem_usage or config.is_prompt_learning,
        )
        try:
            loaded = made._put(folder, tensors, adapter_name, ignore_mismatched=ignore_mismatched_sizes)
            if strict:
                check_whole(folder, loaded)
        except BaseException:
            made.unload()
            raise
        return made if is_trainable else made.eval()

    def load_adapter(
        self: Any,
        model_id: str | os.PathLike[str],
        adapter_name: str,
        is_trainable: bool = False,
        torch_device: str | None = None,
        autocast_adapter_dtype: bool = True,
        ephemeral_gpu_offload: bool = False,
        low_cpu_mem_usage: bool = False,
        key_mapping: Mapping[str, str] | None = None,
        ignore_mismatched_sizes: bool = False,
        subfolder: str | None = None,
        strict: bool = False,
        **kwargs: Any,
    ) -> checkpoint.Loaded:
        """Put one more adapter, from a folder, on the model. Raises CheckpointError, TargetError, AdapterError."""
        check_options("load_adapter", kwargs)
        folder = hub.resolved(model_id, subfolder, **kwargs)
        there = adapter_name in self.peft_config
        tensors = renamed(checkpoint.read(folder, device=torch_device), key_mapping)
        if not there:
            config = PeftConfig.from_pretrained(folder)
            config.inference_mode = not is_trainable
            empty = low_cpu_mem_usage or config.is_prompt_learning
            self.add_adapter(adapter_name, config, empty, autocast_adapter_dtype)
        try:
            loaded = self._put(folder, tensors, adapter_name, ignore_mismatched=ignore_mismatched_sizes)
            if strict:
                check_whole(folder, loaded)
        except BaseException:
            if not there:
                self.delete_adapter(adapter_name)
            raise
        if is_trainable or not there:
            self.set_requires_grad(adapter_name, is_trainable)
        if not is_trainable:
            self.eval()
        return loaded

    def _put(
        self: Any, folder: Path, tensors: Mapping[str, Tensor], name: str, *, ignore_mismatched: bool
    ) -> checkpoint.Loaded:
        """Read an adapter's weights; what is missing or left over is warned of, for the caller may know why."""
        loaded = set_peft_model_state_dict(self, dict(tensors), name, ignore_mismatched_sizes=ignore_mismatched)
        said = {
            "Found missing adapter keys while loading the checkpoint": loaded.missing_keys,
            "nothing here is named": loaded.unexpected_keys,
        }
        for what, found in said.items():
            if found:
                more = f" and {len(found) - 3} more" if len(found) > 3 else ""
                warnings.warn(f"{folder}: {what}: {', '.join(found[:3])}{more}", PeftWarning, stacklevel=4)
        return loaded


def check_whole(folder: Path, loaded: checkpoint.Loaded) -> None:
    """Raises CheckpointError where an adapter has too little or too much for the model that it is loaded into."""
    missing, left = (len(keys) for keys in loaded)
    if missing or left:
        raise CheckpointError(
            f"{folder} fits the model in part only: {missing} tensors are missing, and {left} are for nothing that is here"
        )


def check_options(what: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError where an option of loading is none of ours, or one that is refused."""
    whole = {"device_map": options.get("device_map") in ("auto", {"": "cpu"}) and not torch.accelerator.is_available()}
    if asked := [name for name in OF_DISPATCH if options.get(name) is not None and not whole.get(name)]:
        raise ConfigError(
            f"{what}: {', '.join(asked)} lays a model over devices: do that with the base, before it has adapters"
        )
    refuse_unknown(
        what, options, (*hub.OF_THE_HUB, "local_files_only", "use_safetensors", "repo_type", "user_agent", *OF_DISPATCH)
    )


def refuse_unknown(what: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises ConfigError where an option is none of those that are known."""
    if unknown := [name for name in options if name not in known]:
        raise ConfigError(f"{what} has no option {', '.join(map(repr, unknown))}")
