"""Where an adapter's parts lie: in dicts of the layer that it sits on, by adapter, as in PEFT: `layer.lora_A["default"]`.

A method of ours is a module of its own, `Placed`. Once it is placed on an owner (a layer; for what all layers share, the tuner), its
parameters, buffers and modules are the owner's, and it reads and writes them there. So each has one place and PEFT's name, for
`named_parameters`, `state_dict`, FSDP, `to` and whoever puts another tensor there.
"""

# pyright: reportPrivateUsage=false, reportIncompatibleVariableOverride=false, reportIncompatibleUnannotatedOverride=false
# Parameters are put where torch keeps them: nn.Module has no other way to have a mapping of one's own there.

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, MutableMapping
from functools import cache
from operator import attrgetter
from typing import Any, Generic, Self, TypeVar, overload

from torch import Tensor, nn

Value = TypeVar("Value")


class BufferDict(nn.Module, MutableMapping[str, Tensor]):
    """Buffers by name, as `nn.ParameterDict` has parameters. `persistent`: whether a state dict has them."""

    def __init__(self, buffers: dict[str, Tensor] | None = None, persistent: bool = False) -> None:
        super().__init__()
        self.persistent = persistent
        self.update(buffers or {})

    def __getitem__(self, key: str) -> Tensor:
        value = self._buffers[key]
        assert value is not None
        return value

    def __setitem__(self, key: str, buffer: Tensor) -> None:
        self.register_buffer(key, buffer, persistent=self.persistent)

    def __delitem__(self, key: str) -> None:
        del self._buffers[key]
        self._non_persistent_buffers_set.discard(key)

    def __len__(self) -> int:
        return len(self._buffers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._buffers)

    def __contains__(self, key: object) -> bool:
        return key in self._buffers

    def __hash__(self) -> int:  # a module's, which a mapping has none of
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class OfCall(dict[Any, Any]):
    """What is of one call of a model: it is neither copied nor pickled with it."""

    def __deepcopy__(self, memo: Any) -> OfCall:
        return OfCall()

    def __reduce__(self) -> tuple[type[OfCall], tuple[()]]:
        return OfCall, ()


class OfAdapter(Generic[Value]):
    """A plain value that an owner has by adapter too: `layer.scaling["default"]`."""

    def __set_name__(self, kind: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, placed: None, kind: type) -> OfAdapter[Value]: ...
    @overload
    def __get__(self, placed: Placed, kind: type) -> Value: ...
    def __get__(self, placed: Placed | None, kind: type) -> Value | OfAdapter[Value]:
        if placed is None:
            return self
        own = placed.__dict__
        values = own if own["owner"] is None else own["owner"].__dict__[self.name]
        key = self.name if own["owner"] is None else own["adapter"]
        if key not in values:
            raise AttributeError(f"{type(placed).__name__} has no {self.name}")
        return values[key]

    def __set__(self, placed: Placed, value: Value) -> None:
        if placed.__dict__["owner"] is None:
            placed.__dict__[self.name] = value
        else:
            placed.__dict__["owner"].__dict__.setdefault(self.name, {})[placed.adapter] = value


class _Parts(MutableMapping[str, Any]):
    """A placed module's parameters, buffers or modules: `name` stands for `owner.name[adapter]`.

    Of two methods with one name, LoRA's factors are modules and AdaLoRA's are parameters: the second's dict has another name then.
    """

    def __init__(self, owner: nn.Module, adapter: str, held: str) -> None:
        self.owner, self.adapter, self.held = owner, adapter, held
        self.names: dict[str, str | Placed] = {}  # a name -> the owner's dict; what is placed itself stands for itself

    def __getitem__(self, name: str) -> Any:
        home = self.names[name]
        if isinstance(home, Placed):
            return home
        there: Any = self.owner._modules[home]
        found = there.__dict__[self.held].get(self.adapter)
        return (
            getattr(there, self.adapter) if found is None else found
        )  # FSDP may have taken it out, and put a view there

    def __setitem__(self, name: str, value: Any) -> None:
        modules = self.owner._modules
        if isinstance(value, Placed):
            space = modules.setdefault(name, value.owner or value.space(self.owner))
            if value.owner is None:
                value.place(space, self.adapter)  # type: ignore[arg-type]
            self.names[name] = value
            return
        kind = _CONTAINERS[self.held]
        home = name if modules.get(name) is None or isinstance(modules[name], kind) else f"{name}{self.held}"
        if modules.get(home) is None:
            modules[home] = kind()
            modules[home].training = self.owner.training  # pyright: ignore[reportOptionalMemberAccess]
        there: Any = modules[home]
        there[self.adapter] = value
        self.names[name] = home

    def __delitem__(self, name: str) -> None:
        home = self.names.pop(name)
        modules: Any = self.owner._modules
        if isinstance(home, Placed):
            home.leave()
            home = name
        else:
            del modules[home][self.adapter]
        there = modules[home]
        if not there._modules and not there._parameters and not there._buffers:
            del modules[home]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names


_CONTAINERS: dict[str, Any] = {"_modules": nn.ModuleDict, "_parameters": nn.ParameterDict, "_buffers": BufferDict}


class Placed(nn.Module):
    """A module whose parts lie with its `owner`, under the name of an `adapter`, once it is placed there."""

    owner: nn.Module | None
    adapter: str
    still: Collection[str] = ()  # its parts that are never trained, by their paths
    on_layers = True  # whether what all layers share is a part of each layer too, under its name
    space: Callable[[nn.Module], nn.Module] = staticmethod(
        lambda owner: nn.Module()
    )  # what holds it, where it is a part of another

    def __init__(self) -> None:
        self.__dict__.update(owner=None, adapter="")
        super().__init__()

    @property
    def training(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleUnannotatedOverride]
        owner = self.__dict__["owner"]
        return self.__dict__["own_training"] if owner is None else owner.training

    @training.setter
    def training(self, value: bool) -> None:
        self.__dict__["own_training"] = value

    def place(self, owner: nn.Module, adapter: str) -> None:
        """Move all parts, and what is `OfAdapter`, to an owner."""
        values = {name: self.__dict__.pop(name) for name in _of_adapter(type(self)) if name in self.__dict__}
        volatile = self._non_persistent_buffers_set
        self.__dict__.update(owner=owner, adapter=adapter)
        for name, value in values.items():
            owner.__dict__.setdefault(name, {})[adapter] = value
        for held in _CONTAINERS:
            own, parts = self.__dict__[held], _Parts(owner, adapter, held)
            self.__dict__[held] = parts
            for name, part in own.items():
                if held == "_buffers" and name not in owner._modules:
                    owner._modules[name] = BufferDict(persistent=name not in volatile)
                parts[name] = part

    def names(self) -> list[str]:
        """Of the owner's dicts that hold parts of this one."""
        return [name for held in _CONTAINERS for name in self.__dict__[held]]

    def held_in(self) -> Iterator[tuple[dict[str, Any], str]]:
        """The dicts that hold this module's own parameters, and under which key; without those that are never trained."""
        parts = self.__dict__["_parameters"]
        for name in [name for name in parts if name not in self.still]:
            if isinstance(parts, _Parts):
                yield self.owner._modules[parts.names[name]]._parameters, self.adapter  # pyright: ignore
            else:
                yield parts, name

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        super().requires_grad_(requires_grad)
        for name in self.still:
            attrgetter(name)(self).requires_grad_(False)
        return self

    def leave(self) -> None:
        """Take all parts away from the owner: they are nowhere then."""
        owner = self.owner
        assert owner is not None
        for held in _CONTAINERS:
            for name in list(self.__dict__[held]):
                del self.__dict__[held][name]
        for name in _of_adapter(type(self)):
            values = owner.__dict__.get(name, {})
            values.pop(self.adapter, None)
            if not values:
                owner.__dict__.pop(name, None)


@cache
def _of_adapter(kind: type) -> tuple[str, ...]:
    return tuple(name for base in kind.__mro__ for name, value in vars(base).items() if isinstance(value, OfAdapter))


class Delegating(nn.Module):
    """A module that has no attributes of its own beside its submodules: all others are those of `delegate`."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self.of = [of]  # in a list, so that it is no submodule

    def delegate(self) -> Any:
        """Whose attributes these are."""
        return self.of[0]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or name == "of":
                raise
            return getattr(self.delegate(), name)
