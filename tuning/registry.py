"""The methods there are: one for each file in `tuning/methods/`, found by its name.

A method's file says `METHOD = X()`, X a class that derives from `LayerFamily` or `PromptFamily`, and holds the config's class, named so that the
file's name without underscores is the class's without `Config`, in lower case: `LNTuningConfig` in `ln_tuning.py`. Nothing else knows of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from tuning.config import LayerConfig, PeftConfig, PromptConfig
from tuning.errors import ConfigError
from tuning.peft_types import load_method, names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tuning.kinds import Frozen
    from tuning.layer_method import LayerMethod
    from tuning.layers import AdaptedLayer
    from tuning.placement import Placed


class LayerFamily(ABC):
    """A method that adapts layers: what a method's file derives its `METHOD` from. The hooks below do nothing unless it has its own.

    Checkpoints' tensors have keys as in a checkpoint; a layer's key is the start of its tensors'.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]  # what the names of its parameters begin with, as PEFT says it
    config: ClassVar[type[LayerConfig]]
    roles: ClassVar[frozenset[str]] = frozenset({"linear"})  # the kinds of layer it can do (`tuning.kinds`)
    on_quantised: ClassVar[bool] = True  # whether its layers' weights may be quantised
    merges: ClassVar[bool] = True  # whether what it computes can be put into a layer's weights
    ties: ClassVar[bool] = False  # whether it adapts layers that share a weight alike, unasked
    targets: ClassVar[
        Sequence[Sequence[str]]
    ] = ()  # layers that are meant where none is named: lists of names to try in turn
    targets_of: ClassVar[
        Mapping[str, Sequence[str] | str]
    ] = {}  # the same by a model's `model_type`, where PEFT means others
    knows_tasks: ClassVar[bool] = False  # whether a forward can be given `task_ids`, each row's task
    sees_calls: ClassVar[bool] = False  # whether `before_call` and `after_call` do something
    caches: ClassVar[bool] = True  # whether a model that generates may keep keys and values
    saved_as: ClassVar[Mapping[str, str]] = {}  # a parameter's name here -> in a checkpoint

    functions: ClassVar[Mapping[str, Any]] = {}  # PEFT's functions and properties of this method's tuner alone, by name

    @abstractmethod
    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        """The adapter of one layer; `shared` is what the hook of this name made."""

    def prepare(self, config: Any, model: nn.Module) -> None:  # noqa: B027
        """Fill in what a config leaves to the model."""

    def found(self, config: Any, model: nn.Module) -> Sequence[Frozen] | None:
        """What it sits on, where that is not said by its target modules as for all others. Raises ConfigError."""
        return None

    def shared(
        self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]
    ) -> Placed | None:
        """What all layers of an adapter have in common: its parameters and buffers are saved with it. `others`: what this made for the
        adapters of this method that are there. Raises ConfigError where they can't be together.
        """
        return None

    def shared_saved(self, config: Any) -> bool:
        """Whether a checkpoint has what is shared."""
        return True

    def beside(
        self, config: Any, model: nn.Module, made: Mapping[str, LayerMethod]
    ) -> Sequence[tuple[Frozen, LayerMethod]]:
        """What it adapts beside its targets, whose methods it is given by path; these take the place of a target's own."""
        return ()

    def before_call(self, model: nn.Module, used: Mapping[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """What the model is given, by name, in a call that uses adapters of this method. `used`: a name -> what its layers share."""
        return inputs

    def after_call(self, model: nn.Module, used: Mapping[str, Any], inputs: Mapping[str, Any], output: Any) -> Any:
        """What such a call gives. `inputs`: what the model was given."""
        return output

    def parts(self, config: Any, methods: Mapping[str, Any]) -> Mapping[str, tuple[PeftConfig, Mapping[str, Tensor]]]:
        """Adapters that it is made of, by name: each is saved beside it, in a folder of its name."""
        return {}

    def added(self, config: Any, methods: Mapping[Frozen, LayerMethod]) -> None:  # noqa: B027
        """What it does once an adapter sits on all its layers."""

    def penalty(self, config: Any, methods: Sequence[LayerMethod]) -> Tensor | None:
        """What an adapter adds to the loss that its model gives."""
        return None

    def regularisation(self, config: Any, methods: Sequence[LayerMethod]) -> Tensor | None:
        """What whoever trains an adapter is to add to the loss, and its model does not, as in PEFT (KaSA, MonteCLoRA)."""
        return None

    def end_of_step(self, config: Any, layers: Mapping[str, AdaptedLayer], name: str, step: int) -> None:  # noqa: B027
        """What it does after an optimiser's step."""

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """A checkpoint's tensors as the layers take them; the layers may be changed for them."""
        return tensors

    def before_save(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """An adapter's tensors as a checkpoint has them."""
        return tensors

    def learning(self, methods: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """What layers (by path) need to go on training, beside parameters and buffers."""
        return {}

    def go_on(self, config: Any, methods: Mapping[str, Any], learned: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Give layers back what `learning` gave."""

    def difference(
        self, config: Any, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]
    ) -> tuple[Mapping[str, Tensor], Any]:
        """An adapter's tensors less those that it began as, and the config for it. Raises ConfigError."""
        raise ConfigError(
            f"{self.name} has no form for an adapter less what it began as (path_initial_model_for_weight_conversion)"
        )


class PromptFamily(ABC):
    """A method that puts virtual tokens before the input: what a method's file derives its `METHOD` from."""

    name: ClassVar[str]
    config: ClassVar[type[PromptConfig]]
    knows_tasks: ClassVar[bool] = False  # whether a forward can be given `task_ids`, each row's task
    as_keys: ClassVar[bool] = False  # whether its tokens are keys and values of each layer's attention

    @abstractmethod
    def encoder(self, config: Any, words: nn.Module) -> nn.Module:
        """A module that, called with nothing, gives (virtual tokens, dimensions) to put before the embedded input, or with `as_keys`
        the keys and values (virtual tokens, layers · 2 · dimensions) of each layer's attention.

        `words` are the model's word embeddings; the config is one that `tuning.virtual.complete` has filled in.
        """

    def table(self, config: Any) -> nn.Module:
        """The module that a checkpoint is put into, where it differs from the encoder: a checkpoint has tokens, not what computed them."""
        from tuning.virtual import Table, table_size

        return Table(*table_size(config, as_keys=self.as_keys))

    def tokens(self, encoder: nn.Module, task_ids: Tensor | None) -> Tensor:
        """(rows, virtual tokens, …), or (1, virtual tokens, …) where all rows have the same. `task_ids`: the task of each row (rows,)."""
        return encoder()[None]

    def saved(self, encoder: nn.Module) -> Mapping[str, Tensor]:
        """A checkpoint's tensors."""
        from tuning.virtual import KEY

        return {KEY: encoder()}

    def read(self, encoder: Any, tensors: Mapping[str, Tensor]) -> None:
        """Put a checkpoint's tensors, which have the shapes of `saved`, into what `table` made."""
        from tuning.virtual import KEY

        encoder.embedding.weight.copy_(tensors[KEY])

    def around(self, config: Any, inputs: dict[str, Any], forward: Callable[[dict[str, Any]], Any]) -> Any:
        """The model's output for inputs, which `forward` gives the tokens and the model: for a method that has a loss of its own."""
        return forward(inputs)


Family = LayerFamily | PromptFamily


@cache
def methods() -> Mapping[str, Family]:
    """PEFT's name -> method, of all there are. Loads torch."""
    return {name: load_method(name) for name in names()}


def method_named(peft_type: str) -> Family:
    """Raises ConfigError."""
    found: Family = load_method(peft_type)
    return found
