"""PEFT's classes for tasks: `PeftModelForCausalLM` and its like, and `AutoPeftModelFor…`, which load the base that an adapter names.

What differs from task to task is in `PeftModel` and `Prompts`, by the config's `task_type`: these classes only say which it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from tuning import hub
from tuning.config import PeftConfig, TaskType
from tuning.errors import CheckpointError, ConfigError
from tuning.model import PeftModel


class PeftModelForCausalLM(PeftModel):
    TASK = TaskType.CAUSAL_LM


class PeftModelForSeq2SeqLM(PeftModel):
    TASK = TaskType.SEQ_2_SEQ_LM


class PeftModelForSequenceClassification(PeftModel):
    TASK = TaskType.SEQ_CLS


class PeftModelForTokenClassification(PeftModel):
    TASK = TaskType.TOKEN_CLS


class PeftModelForQuestionAnswering(PeftModel):
    TASK = TaskType.QUESTION_ANS


class PeftModelForFeatureExtraction(PeftModel):
    TASK = TaskType.FEATURE_EXTRACTION


class _Auto:
    """`from_pretrained(folder)`: the base that the folder's config names, with the folder's adapter."""

    BASE: ClassVar[str] = ""  # transformers' class
    PEFT: ClassVar[type[PeftModel]] = PeftModel

    def __init__(self) -> None:
        name = type(self).__name__
        raise ConfigError(f"{name} is not made as such: call {name}.from_pretrained(folder)")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        adapter_name: str = "default",
        is_trainable: bool = False,
        config: PeftConfig | None = None,
        subfolder: str | None = None,
        autocast_adapter_dtype: bool = True,
        **kwargs: Any,
    ) -> PeftModel:
        """What is left of the options goes to the base's `from_pretrained`, which connects only where the hub was asked for.

        Raises CheckpointError where the adapter or its base is not there, ConfigError where it was made for another task.
        """
        of_the_hub = {key: kwargs.pop(key) for key in (*hub.OF_THE_HUB, "local_files_only") if key in kwargs}
        folder = hub.resolved(pretrained_model_name_or_path, subfolder, **of_the_hub)
        config = config or PeftConfig.from_pretrained(folder)
        task = config.task_type or cls.PEFT.TASK
        kind = cls.BASE
        if not kind:
            kind = str((config.auto_mapping or {}).get("base_model_class", ""))
            if not kind:
                raise ConfigError(
                    f"the adapter in {folder} does not say its base's class: take an AutoPeftModelFor… class"
                )
        elif task != cls.PEFT.TASK:
            made_for = PeftModel.for_task(task).__name__.removeprefix("Peft")
            raise ConfigError(f"the adapter in {folder} is for {task}, not {cls.PEFT.TASK}: take AutoPeft{made_for}")
        base = _base(kind, config, folder, of_the_hub, kwargs)
        return cls.PEFT.from_pretrained(
            base, folder, adapter_name, is_trainable, config=config, autocast_adapter_dtype=autocast_adapter_dtype
        )


def _base(kind: str, config: PeftConfig, folder: Path, of_the_hub: dict[str, Any], options: dict[str, Any]) -> Any:
    import transformers

    name = config.base_model_name_or_path
    if not name:
        raise CheckpointError(f"the adapter in {folder} names no base: load one, and call PeftModel.from_pretrained")
    connecting = {key: value for key, value in of_the_hub.items() if key in ("token", "cache_dir", "force_download")}
    connecting["local_files_only"] = not hub.allowed(**of_the_hub)
    if config.revision is not None:
        connecting["revision"] = config.revision
    try:
        base: Any = getattr(transformers, kind).from_pretrained(name, **connecting, **options)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{name}, the base that the adapter in {folder} names, can't be loaded: {error}. If it is on the hub, allow the "
            "connection: local_files_only=False"
        ) from error
    if (folder / "tokenizer_config.json").is_file():  # tokens that were added for the adapter
        added = len(transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True))
        if added > base.get_input_embeddings().weight.shape[0]:
            base.resize_token_embeddings(added)
    return base


class AutoPeftModel(_Auto):
    """The base's class is the one that the adapter's config names: `auto_mapping`, as PEFT writes it."""

    BASE, PEFT = "", PeftModel


class AutoPeftModelForCausalLM(_Auto):
    BASE, PEFT = "AutoModelForCausalLM", PeftModelForCausalLM


class AutoPeftModelForSeq2SeqLM(_Auto):
    BASE, PEFT = "AutoModelForSeq2SeqLM", PeftModelForSeq2SeqLM


class AutoPeftModelForSequenceClassification(_Auto):
    BASE, PEFT = "AutoModelForSequenceClassification", PeftModelForSequenceClassification


class AutoPeftModelForTokenClassification(_Auto):
    BASE, PEFT = "AutoModelForTokenClassification", PeftModelForTokenClassification


class AutoPeftModelForQuestionAnswering(_Auto):
    BASE, PEFT = "AutoModelForQuestionAnswering", PeftModelForQuestionAnswering


class AutoPeftModelForFeatureExtraction(_Auto):
    BASE, PEFT = "AutoModel", PeftModelForFeatureExtraction
