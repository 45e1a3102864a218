"""What an adapter is: PEFT's configs, read from and written to `adapter_config.json`.

At this edge everything is PEFT's: mutable, its names, its defaults, its `**kwargs`. Loads no torch.
"""

from __future__ import annotations

import enum
import json
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, ClassVar

from tuning.errors import CheckpointError, ConfigError, NoConfig, nearest
from tuning.files import replacing
from tuning.peft_types import PeftType, load_method

FILE = "adapter_config.json"
WRITTEN_FOR = "0.21.2"  # the version of PEFT whose fields these are
__version__ = (
    WRITTEN_FOR  # PEFT's name for it in its module of this name, which its users set to write as another version
)


class TaskType(enum.StrEnum):
    SEQ_CLS = "SEQ_CLS"
    SEQ_2_SEQ_LM = "SEQ_2_SEQ_LM"
    CAUSAL_LM = "CAUSAL_LM"
    TOKEN_CLS = "TOKEN_CLS"
    QUESTION_ANS = "QUESTION_ANS"
    FEATURE_EXTRACTION = "FEATURE_EXTRACTION"


@dataclass(kw_only=True)
class PeftConfig:
    """What every adapter has. A method's own config says its `METHOD`: PEFT's name for it."""

    METHOD: ClassVar[str] = ""
    NOT_HERE: ClassVar[
        Sequence[str]
    ] = ()  # options of PEFT's that this engine lacks: kept, and refused where they are used
    is_prompt_learning: ClassVar[bool] = False
    is_adaption_prompt: ClassVar[bool] = False

    task_type: str | None = None
    peft_type: str | None = None
    auto_mapping: dict[str, Any] | None = None
    peft_version: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    inference_mode: bool = False

    def __post_init__(self) -> None:
        if self.task_type is not None and self.task_type not in list(TaskType):
            raise ConfigError(
                f"Invalid task type: '{self.task_type}'. Must be one of the following task types: {', '.join(TaskType)}."
            )
        self.peft_type = _type(self.METHOD or self.peft_type)
        self.peft_version = self.peft_version or _version()
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, (list, tuple)) and entry.name in ("target_modules", "exclude_modules"):
                setattr(self, entry.name, set(value))
        self.check()

    def check(self) -> None:
        """Raises ConfigError where options contradict each other. A method's config adds its own."""

    def check_here(self) -> None:
        """Raises ConfigError where an option is used that this engine lacks."""
        usual = {entry.name: _default(entry) for entry in fields(self)}
        if used := [name for name in self.NOT_HERE if getattr(self, name) not in (usual[name], None, False, {}, [])]:
            raise ConfigError(f"{type(self).__name__}: {', '.join(used)} can't be done here; use PEFT for it")

    def to_dict(self) -> dict[str, Any]:
        given = {entry.name for entry in fields(self) if entry.init}
        return {key: value for key, value in asdict(self).items() if key in given}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write `adapter_config.json` into a folder, whole or not at all. Raises OSError."""
        folder = Path(save_directory)
        if folder.is_file():
            raise AssertionError(f"{save_directory} is a file: name a folder to write {FILE} into")
        folder.mkdir(parents=True, exist_ok=True)
        content = {key: _plain(value) for key, value in self.to_dict().items() if key != "runtime_config"}
        if (mapping := kwargs.get("auto_mapping_dict")) is not None:
            content["auto_mapping"] = mapping
        with replacing(folder / FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any
    ) -> PeftConfig:
        """The config in an adapter's folder, of the class that its `peft_type` names. Raises CheckpointError."""
        from tuning.hub import resolved

        folder = resolved(pretrained_model_name_or_path, subfolder, **kwargs)
        return cls.from_peft_type(**cls.from_json_file(folder / FILE))

    @classmethod
    def from_json_file(cls, path_json_file: str | os.PathLike[str], **kwargs: Any) -> dict[str, Any]:
        path = Path(path_json_file)
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            there = ", ".join(sorted(entry.name for entry in path.parent.glob("*"))[:12]) or "nothing"
            raise CheckpointError(f"{path.parent} holds no {FILE} (there is: {there})") from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} can't be read: {error}") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds no JSON object")
        if content.pop("runtime_config", None) is not None:
            warnings.warn(f"{path} has a `runtime_config`, which is for one run: it is left out", stacklevel=2)
        return content

    @classmethod
    def from_peft_type(cls, **kwargs: Any) -> PeftConfig:
        """A config of the class that `peft_type` names; fields that this engine does not know are left out, and named."""
        kind: type[PeftConfig] = load_method(kwargs["peft_type"]).config if kwargs.get("peft_type") else cls
        known = {entry.name for entry in fields(kind) if entry.init}
        unknown = sorted(key for key in kwargs if key not in known)
        if unknown and not kwargs.get("peft_type"):
            raise NoConfig(
                f"no `peft_type` says whose config this is (there is: {', '.join(sorted(kwargs)) or 'nothing'})"
            )
        if unknown:
            warnings.warn(
                f"Unexpected keyword arguments {unknown} for class {kind.__name__}, these are ignored. The adapter was probably made "
                "with a newer PEFT than the one that this engine follows.",
                stacklevel=2,
            )
        return kind(**{key: value for key, value in kwargs.items() if key in known})


@dataclass(kw_only=True)
class LayerConfig(PeftConfig):
    """What every method that adapts layers has: which ones."""

    target_modules: Collection[str] | str | None = None
    exclude_modules: Collection[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    modules_to_save: list[str] | None = None

    def check(self) -> None:
        if isinstance(self.target_modules, str) and self.layers_to_transform is not None:
            raise ConfigError(
                "`layers_to_transform` goes with a list of target_modules: a pattern says itself which layers it means"
            )
        if isinstance(self.target_modules, str) and self.layers_pattern is not None:
            raise ConfigError(
                "`layers_pattern` goes with a list of target_modules: a pattern says itself which layers it means"
            )
        if self.layers_pattern and self.layers_to_transform is None:
            raise ConfigError("`layers_pattern` says where the numbers of `layers_to_transform` stand: give these too")


@dataclass(kw_only=True)
class PromptConfig(PeftConfig):
    """What every method that puts virtual tokens before the input has. Left open, the numbers are the model's own."""

    is_prompt_learning: ClassVar[bool] = True

    num_virtual_tokens: int | None = None
    token_dim: int | None = None
    num_transformer_submodules: int | None = None
    num_attention_heads: int | None = None
    num_layers: int | None = None
    modules_to_save: list[str] | None = None

    def check(self) -> None:
        if self.num_virtual_tokens is not None and self.num_virtual_tokens < 1:
            raise ConfigError(f"num_virtual_tokens is {self.num_virtual_tokens}; it has to be 1 or more")


def _get_commit_hash(package: str) -> str | None:
    """The commit that an installed package was built from, where pip noted it (PEP 610)."""
    noted = distribution(package).read_text("direct_url.json")
    return json.loads(noted).get("vcs_info", {}).get("commit_id") if noted else None


def _version() -> str:
    """What a config says it was written by; of a development version also the commit, as PEFT."""
    if ".dev" not in __version__:
        return __version__
    try:
        commit = _get_commit_hash("peft")
    except Exception as error:  # whatever is wrong with the installed package, a config can be made
        warnings.warn(
            f"the version is {__version__}, and its commit can't be found: {error}",
            stacklevel=4,
        )
        commit = None
    return f"{__version__}@{commit or 'UNKNOWN'}"


def _default(entry: Field[Any]) -> Any:
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def _type(name: str | None) -> Any:
    """A method's name as PEFT's enum has it; what is in no such enum stays as it is."""
    return PeftType(name) if name in list(PeftType) else name


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raises ConfigError where an option is not one of those it can be."""
    if value not in allowed:
        hint = nearest(str(value), [str(option) for option in allowed])
        raise ConfigError(f"{name} is {value!r}; it can be {', '.join(map(repr, allowed))}{hint}")


def positive(**values: float) -> None:
    """Raises ConfigError where a number that has to be above 0 is not."""
    for name, value in values.items():
        if value <= 0:
            raise ConfigError(f"{name} is {value}; it has to be above 0")


def fraction(**values: float) -> None:
    """Raises ConfigError where a number is not in [0, 1)."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ConfigError(f"{name} is {value}; it has to be from 0 to below 1")


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value
