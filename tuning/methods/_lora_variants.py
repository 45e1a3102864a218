"""Which of LoRA's variants a config asks for."""

from __future__ import annotations

from tuning.kinds import Frozen
from tuning.methods._arrow import Arrow
from tuning.methods._bdlora import BdLora
from tuning.methods._dora import Dora
from tuning.methods._kasa import Kasa
from tuning.methods._lora_config import LoraConfig
from tuning.methods._lora_variant import Alora, Factors, Plain, Variant
from tuning.methods._monteclora import Monteclora
from tuning.methods._velora import Velora


def variant_of(lora: Factors, config: LoraConfig, frozen: Frozen) -> Variant:
    if config.use_dora:
        return Dora(lora, frozen)
    if config.kasa_config is not None:
        return Kasa(lora, frozen)
    if config.use_bdlora is not None:
        return BdLora(lora, config.use_bdlora, frozen)
    if config.velora_config is not None:
        return Velora(lora, config.velora_config, frozen)
    if config.monteclora_config is not None:
        return Monteclora(lora, config.monteclora_config, frozen)
    if config.arrow_config is not None:
        return Arrow(lora, config.arrow_config)
    return Plain() if config.alora_invocation_tokens is None else Alora()
