"""Parameter-efficient fine-tuning of `transformers` models, by PEFT's names: `import tuning as peft`.

Importing this package loads no torch: a name is resolved when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "tuning.config": ("PeftConfig", "TaskType"),
    "tuning.errors": (
        *("TuningError", "TargetError", "ConfigError", "AdapterError", "CheckpointError"),
        *("LibraryMissing", "TrainingError", "PeftWarning"),
    ),
    "tuning.mapping": ("get_peft_model",),
    "tuning.mixed": ("PeftMixedModel",),
    "tuning.state": ("get_peft_model_state_dict", "set_peft_model_state_dict"),
    "tuning.status": ("get_layer_status", "get_model_status"),
    "tuning.injected": (*("get_peft_config", "inject_adapter_in_model", "load_peft_weights"),),
    "tuning.tasks": (
        "PeftModel",
        *("PeftModelForCausalLM", "PeftModelForSequenceClassification", "PeftModelForSeq2SeqLM"),
        *("PeftModelForTokenClassification", "PeftModelForQuestionAnswering", "PeftModelForFeatureExtraction"),
        *(
            "AutoPeftModel",
            "AutoPeftModelForCausalLM",
            "AutoPeftModelForSequenceClassification",
            "AutoPeftModelForSeq2SeqLM",
        ),
        *("AutoPeftModelForTokenClassification", "AutoPeftModelForQuestionAnswering"),
        "AutoPeftModelForFeatureExtraction",
    ),
    "tuning.compat.modules": ("as_peft",),
    "tuning.quantised": ("prepare_model_for_kbit_training",),
    "tuning.peft_types": ("PeftType",),
    "tuning.methods._lora_config": ("LoraRuntimeConfig",),
    "tuning.methods._lora_options": (
        "ArrowConfig",
        "BdLoraConfig",
        "EvaConfig",
        "KasaConfig",
        "LoraGAConfig",
        "MontecloraConfig",
        "VeloraConfig",
    ),
    "tuning.arrow": ("create_arrow_model",),
    "tuning.conversion": ("convert_to_lora", "save_as_lora"),
    "tuning.eva": ("get_eva_state_dict", "initialize_lora_eva_weights"),
    "tuning.methods._loftq": ("LoftQConfig",),
    "tuning.loftq": ("replace_lora_weights_loftq",),
    "tuning.preparing": ("preprocess_loraga",),
    "tuning.methods.prompt_tuning": ("PromptTuningInit",),
    "tuning.methods.multitask_prompt_tuning": ("MultitaskPromptTuningInit",),
    "tuning.methods.cpt": ("CPTEmbedding",),
    "tuning.methods.cartridge": ("CartridgeEncoder",),
    "tuning.cartridges": (
        *("compose_cartridge_adapters", "initialize_kv_prefix_from_past_key_values", "initialize_kv_prefix_from_text"),
        "prompt_embeddings_from_past_key_values",
    ),
    "tuning.methods.prompt_encoder": ("PromptEncoderReparameterizationType",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    from tuning.peft_types import module_of

    module = _MODULES.get(name) or module_of(name)
    if module is None:
        raise AttributeError(f"module 'tuning' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _configs() -> list[str]:
    """The methods' configs, by what their files say."""
    import re

    from tuning.peft_types import FOLDER, module_of

    found = (re.findall(r"^class (\w+Config)\(", path.read_text("utf-8"), re.MULTILINE) for path in FOLDER.glob("*.py"))
    return [name for names in found for name in names if module_of(name) is not None]


__all__ = sorted([*_MODULES, *_configs()])  # pyright: ignore[reportUnsupportedDunderAll]
