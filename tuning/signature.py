"""`forward` with the signature of the model's own."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from tuning.registry import method_named


class ForwardOf:
    """A `forward` for whoever inspects it: transformers' Trainer drops columns that it does not name."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, model: Any, kind: type) -> Any:
        if model is None:
            return self.function
        found = partial(self.function, model)
        own = inspect.signature(model.get_base_model().forward)
        names = inspect.Parameter("adapter_names", inspect.Parameter.KEYWORD_ONLY, default=None)
        added = [names]
        if any(method_named(config.METHOD).knows_tasks for config in model.peft_config.values()):
            added.append(inspect.Parameter("task_ids", inspect.Parameter.KEYWORD_ONLY, default=None))
        parameters = [entry for entry in own.parameters.values() if entry.name not in [entry.name for entry in added]]
        rest = [entry for entry in parameters if entry.kind is inspect.Parameter.VAR_KEYWORD]
        parameters = [*(entry for entry in parameters if entry not in rest), *added, *rest]
        found.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
        return found
