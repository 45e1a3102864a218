"""`get_peft_model`, PEFT's first function: a model with an adapter, as the class of its task."""

from __future__ import annotations

import warnings

from torch import nn

from tuning.config import PeftConfig
from tuning.mixed import PeftMixedModel
from tuning.tasks import PeftModel


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
        if peft_config.revision is not None and peft_config.revision != revision:
            warnings.warn(
                f"the config names revision {peft_config.revision} of the base: {revision} takes its place",
                stacklevel=2,
            )
        peft_config.revision = revision
    kind = PeftMixedModel if mixed else PeftModel.for_task(getattr(peft_config, "task_type", None))
    return kind(
        model,
        peft_config,
        adapter_name,
        autocast_adapter_dtype=autocast_adapter_dtype,
        low_cpu_mem_usage=low_cpu_mem_usage,
    )
