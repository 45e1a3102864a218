"""`as_peft`: this engine under PEFT's module names.

A finder answers imports of `peft` and of what lies below it. Each such module finds its names here: what PEFT has there and is here under
another name (`OWN`), all of `tuning`'s names, and what is PEFT's alone (`tuning.compat.absent`).
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import tuning
from tuning.compat import absent
from tuning.errors import ConfigError
from tuning.peft_types import files
from tuning.registry import LayerFamily, methods

VERSION = "0.22.0"  # what transformers 5.24 asks of a PEFT that it lets load adapters

OWN: Mapping[str, str] = {  # PEFT's name -> where it is here
    "PromptLearningConfig": "tuning.config:PromptConfig",
    "PeftError": "tuning.errors:TuningError",
    "NoMatchingPeftModuleError": "tuning.errors:TargetError",
    "PeftWarning": "tuning.errors:PeftWarning",
    "BaseTuner": "tuning.tuner:Tuner",
    "BaseTunerLayer": "tuning.layers:AdaptedLayer",
    "ModulesToSaveWrapper": "tuning.saved:SavedModule",
    "AuxiliaryTrainingWrapper": "tuning.saved:SavedModule",
    "TrainableTokensWrapper": "tuning.compat.layers:TrainableTokensWrapper",
    "LoraRuntimeConfig": "tuning.methods._lora_config:LoraRuntimeConfig",
    "create_loraplus_optimizer": "tuning.optimizers:create_loraplus_optimizer",
    "_resolve_adapter_source": "tuning.arrow:resolve_adapter_source",
    "ArrowLoraLinearLayer": "tuning.methods._arrow:Router",
    "CordaConfig": "tuning.methods._lora_options:CordaConfig",
    "preprocess_corda": "tuning.preparing:preprocess_corda",
    "BlockDiagonalLinear": "tuning.methods._bdlora:Blocks",
    "IncrementalPCA": "tuning.incremental_pca:IncrementalPCA",
    **{
        name: f"tuning.eva:{name}"
        for name in (
            *("prepare_model_inputs_fn_language_modeling", "prepare_layer_inputs_fn_language_modeling"),
            "forward_fn_dict",
        )
    },
    "create_lorafa_optimizer": "tuning.lora_fa:create_lorafa_optimizer",
    "create_riemannian_optimizer": "tuning.riemannian:create_riemannian_optimizer",
    "_collect_lora_pairs": "tuning.riemannian:lora_pairs",
    "_RiemannianPreconditioner": "tuning.riemannian:Preconditioner",
    "LoraFAOptimizer": "tuning.lora_fa:LoraFAOptimizer",
    "hotswap_adapter": "tuning.hotswap:hotswap_adapter",
    "prepare_model_for_compiled_hotswap": "tuning.hotswap:prepare_model_for_compiled_hotswap",
    "BufferDict": "tuning.placement:BufferDict",
    "PromptEmbedding": "tuning.virtual:Table",
    "PromptEncoder": "tuning.methods.prompt_encoder:PromptEncoder",
    "PrefixEncoder": "tuning.virtual:Table",
    "INCLUDE_LINEAR_LAYERS_SHORTHAND": "tuning.targets:ALL_LINEAR",
    "SAFETENSORS_WEIGHTS_NAME": "tuning.checkpoint:WEIGHTS",
    "CONFIG_NAME": "tuning.config:FILE",
    **{
        f"_{name}": f"tuning.compat.helpers:{name}"  # private in PEFT, and asked for all the same
        for name in (
            *("get_submodules", "get_no_split_modules", "find_minimal_target_modules"),
            *("maybe_include_all_linear_layers", "get_module_names_tied_with_embedding"),
        )
    },
    **{
        name: f"tuning.compat.helpers:{name}"
        for name in (
            *("WEIGHTS_NAME", "DUMMY_MODEL_CONFIG", "MIN_TARGET_MODULES_FOR_OPTIMIZATION", "check_if_peft_model"),
            *("PEFT_TYPE_TO_CONFIG_MAPPING", "PEFT_TYPE_TO_TUNER_MAPPING", "PEFT_TYPE_TO_PREFIX_MAPPING"),
            *("PEFT_TYPE_TO_MIXED_MODEL_MAPPING", "MODEL_TYPE_TO_PEFT_MODEL_MAPPING", "infer_device"),
            *("TRANSFORMERS_MODELS_TO_PREFIX_TUNING_POSTPROCESS_MAPPING", "cast_mixed_precision_params"),
            *("rescale_adapter_scale", "set_adapter"),
            *("delete_adapter", "set_requires_grad", "cast_adapter_dtype", "fsdp_auto_wrap_policy"),
            *("get_base_model_state_dict", "set_base_model_state_dict", "check_target_module_exists"),
            *("inspect_matched_modules", "build_peft_weight_mapping", "init_empty_weights", "skip_init_on_device"),
        )
    },
}

PATCHED: Mapping[str, str] = {  # names that are set from outside -> the module that reads them
    "peft.config.__version__": "tuning.config",
    "peft.config._get_commit_hash": "tuning.config",
}

MODULES = frozenset(  # below `peft`, beside the folders of methods
    (
        *("auto", "config", "functional", "helpers", "import_utils", "mapping", "mapping_func", "mixed_model"),
        *("optimizers", "optimizers.loraplus", "optimizers.lorafa", "optimizers.riemannian", "peft_model", "tuners"),
        *("tuners._buffer_dict", "tuners.tuners_utils", "tuners.lycoris_utils", "tuners.mixed", "utils"),
        *("utils.constants", "utils.hotswap", "utils.incremental_pca", "utils.integrations", "utils.loftq_utils"),
        *("utils.merge_utils", "utils.other", "utils.peft_types", "utils.quantization_utils", "utils.save_and_load"),
        *("utils.transformers_weight_conversion", "utils.warning", "utils.error"),
    )
)
PARTS = (  # of a method's folder
    *(".config", ".layer", ".model", ".utils", ".bnb", ".dora", ".variants", ".arrow", ".corda", ".eva", ".intruders"),
    *(".monteclora", ".te", ".velora", ".loraga", ".asa_callback"),
)
_TUNERS = re.compile(r"tuners\.(\w+)(\.\w+)*")
_AVAILABLE = re.compile(r"is_(\w+?)_available")
_TRANSFORMERS = re.compile(r"is_transformers_ge_v(\d+(?:_\d+)*)")
_TARGETS = re.compile(r"TRANSFORMERS_MODELS_TO_(\w+)_TARGET_MODULES_MAPPING")


def as_peft() -> None:
    """From here on, `import peft` and imports of what lies below it give this engine. Raises ConfigError where PEFT was imported
    before: what holds its classes would go on using them.
    """
    there = sys.modules.get("peft")
    if there is not None and not isinstance(there, _Module):
        raise ConfigError("peft was imported already: call tuning.as_peft() before whatever imports it")
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return sorted(set(tuning.__all__) | absent.NAMES)
        found = _found(self.__name__, name)
        if f"{self.__name__}.{name}" not in PATCHED:
            super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        """What some set to have PEFT do otherwise is set here."""
        if (home := PATCHED.get(f"{self.__name__}.{name}")) is None:
            super().__setattr__(name, value)
        else:
            there = import_module(home)
            self.__dict__.setdefault("before", {}).setdefault(name, getattr(there, name))
            setattr(there, name, value)

    def __delattr__(self, name: str) -> None:
        """What was set is again what it was."""
        if (home := PATCHED.get(f"{self.__name__}.{name}")) is None:
            super().__delattr__(name)
        else:
            setattr(import_module(home), name, self.__dict__["before"][name])


def _found(module: str, name: str) -> Any:
    """What a name of one of PEFT's modules is. Raises AttributeError."""
    below = module.removeprefix("peft").removeprefix(".")
    if (home := PATCHED.get(f"{module}.{name}")) is not None:
        return getattr(import_module(home), name)
    if is_module(f"{below}.{name}".removeprefix(".")):
        return import_module(f"{module}.{name}")
    if (tuner := _TUNERS.fullmatch(below)) and (kind := _of_method(tuner[1], name)) is not None:
        return kind
    if name in OWN:
        home, _, attribute = OWN[name].partition(":")
        return getattr(import_module(home), attribute)
    if name == "__version__":
        return VERSION
    if name in tuning.__all__:
        return getattr(tuning, name)
    if (model := _tuner(name)) is not None:
        return model
    if available := _AVAILABLE.fullmatch(name):
        return lambda: find_spec(LIBRARIES.get(available[1], available[1])) is not None
    if wanted := _TRANSFORMERS.fullmatch(name):
        return _version(importlib.metadata.version("transformers")) >= tuple(map(int, wanted[1].split("_")))
    if (mapping := _TARGETS.fullmatch(name)) and mapping[1] in methods():
        return dict(getattr(methods()[mapping[1]], "targets_of", {}))
    if name in absent.NAMES:
        return absent.absent(name)
    raise AttributeError(f"module '{module}' has no attribute {name!r}")


LIBRARIES = {"bnb": "bitsandbytes", "bnb_4bit": "bitsandbytes", "te": "transformer_engine"}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


@cache
def _folders() -> Mapping[str, Any]:
    """A folder of `peft.tuners` -> the method that is there: a method's file has its name, but for P-tuning's."""
    return {
        {"prompt_encoder": "p_tuning"}.get(stem := type_home(family), stem): family for family in methods().values()
    }


def type_home(family: Any) -> str:
    return files()[family.config.__name__.removesuffix("Config").lower()].rpartition(".")[2]


def _of_method(folder: str, name: str) -> Any:
    """A class of a method's folder: its layers, its tuner, its config."""
    family = _folders().get(folder)
    if family is None:
        return None
    if isinstance(family, LayerFamily):
        from tuning.compat.layers import BASES, layer_class

        if name in BASES or (name.endswith("Layer") and not name.startswith("Base")):
            return layer_class(family.prefix, name)
        if name.endswith("Model"):
            return _tuner(name)
    return getattr(import_module(family.config.__module__), name, None) if name[:1] != "_" else None


def _tuner(name: str) -> Any:
    if not name.endswith("Model"):
        return None
    from tuning import tuners

    return getattr(tuners, name, None)


def is_module(below: str) -> bool:
    """Whether PEFT has such a module below `peft`."""
    tuner = _TUNERS.fullmatch(below)
    return below in MODULES or (
        tuner is not None and tuner[1] in _folders() and (tuner[2] is None or tuner[2] in PARTS)
    )


class _Finder(MetaPathFinder, Loader):
    """Finds `peft` and its modules, and its version."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "peft" and not (fullname.startswith("peft.") and is_module(fullname.removeprefix("peft."))):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass

    def find_distributions(self, context: Any = None) -> Iterable[importlib.metadata.Distribution]:
        return [_Distribution()] if context is not None and context.name == "peft" else []


class _Distribution(importlib.metadata.Distribution):
    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: peft\nVersion: {VERSION}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"{path}: what stands for peft has no files")
