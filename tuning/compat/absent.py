"""What PEFT 0.21 has and this engine lacks. Such a name can be imported, so that a script that only mentions it runs; using it is
refused by name.
"""

from __future__ import annotations

from typing import Any, NoReturn

from tuning.errors import ConfigError

NAMES = frozenset(
    (
        "bloom_model_postprocess_past_key_value",
        "find_kappa_target_modules",
        *("shift_tokens_right", "reduce_intruder_dimension"),
        *("KappaTuneSelector", "MontecloraTrainerMixin", "MontecloraSampler", "TeLinear", "GPTQLoraLinear"),
        *("DoraCaching", "DoraConv1dVariant", "DoraConv2dVariant", "DoraEmbeddingVariant", "DoraLinearVariant"),
        "disable_input_dtype_casting",
        *(
            "_compress_activations",
            "_normalize_projection",
            "_reconstruct_activations",
            "_reshape_to_grouped_subtokens",
        ),
        *("decompose_weight_matrix", "reconstruct_weight_matrix", "_LoraParameterProxy"),
        *(
            "_filter_state_dict_by_key_prefixes",
            "_get_tuner_state_dict_key_prefixes",
            "ALoraLinearVariant",
            "KasaLinearVariant",
            "calculate_alora_offsets",
            "VeloraFunction",
        ),
        *("get_alora_offsets_for_forward", "get_alora_offsets_for_generate", "ForwardOnlyQuantizationBackend"),
        *("Bnb4bitBackend", "Bnb8bitBackend", "TorchaoBackend"),
    )
)


class _Absent(type):
    """Of classes that stand for what is not here: making one is refused, and nothing is an instance of one."""

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise ConfigError(f"{cls.__name__} is PEFT's, and this engine has no such thing: use PEFT for it")


def absent(name: str) -> Any:
    """What stands for a name that is not here."""
    return _Absent(name, (), {"__doc__": "PEFT's, and not here."})
