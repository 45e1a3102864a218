"""LoRA's variants and starts beside HF peft, where a file says too little: what training does, and what a start takes of the base."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.tuners.lora.config import CordaConfig as TheirCordaConfig
from peft.tuners.lora.corda import preprocess_corda as theirs_of_corda
from peft.tuners.lora.loraga import preprocess_loraga as theirs_of_loraga

import tuning
from tests.tuning.oracle import both, check_tensors, shaken, tiny_llama, tokens
from tuning.methods._lora_options import CordaConfig as OurCordaConfig
from tuning.preparing import preprocess_corda

LAYERS = ["q_proj", "down_proj"]
KASA = {"kasa_config": {"beta": 0.1, "gamma": 0.2}, "target_modules": LAYERS, "r": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "kasa": KASA,
    "bdlora": {"use_bdlora": {"target_modules_bd_a": ["down_proj"], "target_modules_bd_b": ["q_proj"], "nblocks": 2}},
    "velora": {"velora_config": {"num_groups": 5}},
    "mica": {"init_lora_weights": "mica"},
    "monteclora": {"monteclora_config": {"num_samples": 3}},
}


def loss(model: Any) -> Any:
    return model(input_ids=tokens(), labels=tokens()).loss


@pytest.mark.parametrize("kind", ["batch_average", "batch_average_once", "random"])
def test_velora_trains_as_pefts(kind: str, tmp_path: Path) -> None:
    options = {"velora_config": {"num_groups": 5, "scale": 0.5, "init_type": kind}, "target_modules": LAYERS}
    models = [model.train() for model in both("llama", "LoraConfig", tmp_path, **options)]
    for _ in range(2):
        for model in models:
            model.zero_grad()
            loss(model).backward()
    found = [{name: value.grad for name, value in model.named_parameters() if value.requires_grad} for model in models]
    check_tensors(found[1], found[0])
    directions = [{key: value for key, value in model.state_dict().items() if "velora" in key} for model in models]
    assert directions[0]
    check_tensors(directions[1], directions[0])


@pytest.mark.parametrize("entropy", [False, True])
def test_monteclora_learns_as_pefts(entropy: bool, tmp_path: Path) -> None:
    settings = {"num_samples": 3, "use_entropy": entropy, "sample_scaler": 0.5, "buffer_size": 2}
    models = both("llama", "LoraConfig", tmp_path, monteclora_config=settings, target_modules=LAYERS)
    theirs, ours = (model.train() for model in models)
    added = [model.base_model._get_monteclora_loss() for model in (ours, theirs)]
    assert torch.isclose(added[0].double(), added[1].double(), rtol=1e-6)
    draws = []
    for model in (ours, theirs):
        sampler = model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj").lora_monteclora_sampler[
            "default"
        ]
        with torch.no_grad():
            drawn = [sampler() for _ in range(400)]
        noise = [each if model is ours else torch.einsum("nij,n->ij", *each) for each in drawn]
        draws.append((torch.stack(noise).std(), torch.stack(noise).mean()))
    assert torch.isclose(draws[0][0].double(), draws[1][0].double(), rtol=0.1)
    assert abs(draws[0][1]) < 0.05 * draws[0][0]
    loss(ours).backward()
    assert all(value.grad is not None for value in ours.parameters() if value.requires_grad)
    assert torch.allclose(
        ours.eval()(input_ids=tokens()).logits, theirs.eval()(input_ids=tokens()).logits, rtol=0, atol=1e-9
    )


def test_kasa_is_pefts_and_leaves_the_base(tmp_path: Path) -> None:
    theirs, ours = both("llama", "LoraConfig", tmp_path, **KASA)
    x = tokens()
    assert torch.allclose(ours(input_ids=x).logits, theirs(input_ids=x).logits, rtol=0, atol=1e-4)
    with ours.disable_adapter():
        assert torch.equal(ours(input_ids=x).logits, tiny_llama()(input_ids=x).logits)
    added = ours.base_model.regularisation()
    assert torch.isclose(added.double(), theirs.base_model._get_kasa_loss().double(), rtol=1e-5)
    assert torch.isclose(loss(ours), loss(theirs), rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_merges_is_saved_and_comes_back(variant: str, tmp_path: Path) -> None:
    config = tuning.LoraConfig(**{"target_modules": LAYERS, **copy.deepcopy(VARIANTS[variant])})
    model = tuning.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False)
    shaken(model)
    before = model.eval()(input_ids=tokens()).logits
    assert not torch.allclose(before, tiny_llama()(input_ids=tokens()).logits, atol=1e-3)
    model.save_pretrained(tmp_path)
    for low in (False, True):
        again = tuning.PeftModel.from_pretrained(
            tiny_llama(), tmp_path, autocast_adapter_dtype=False, low_cpu_mem_usage=low
        )
        assert torch.equal(again.eval()(input_ids=tokens()).logits, before)
    model.merge_adapter()
    assert torch.allclose(model(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)
    model.unmerge_adapter()
    assert torch.allclose(model(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)


def test_micas_b_is_the_bases_and_never_trained(tmp_path: Path) -> None:
    for targets in (LAYERS, ["embed_tokens"]):
        options = {"init_lora_weights": "mica", "target_modules": targets, "r": 4}
        theirs = peft.get_peft_model(tiny_llama().float(), peft.LoraConfig(**options))
        model = tuning.get_peft_model(tiny_llama().float(), tuning.LoraConfig(**options))
        model.add_adapter("other", tuning.LoraConfig(target_modules=targets))
        model.set_adapter("other")
        model.set_adapter("default")
        trained = {name for name, value in model.named_parameters() if value.requires_grad}
        assert trained == {name for name, value in theirs.named_parameters() if value.requires_grad}
        for name, value in theirs.named_parameters():
            if ".default" in name:
                assert torch.allclose(model.get_parameter(name), value, rtol=0, atol=1e-6), name
        shaken(theirs)
        theirs.save_pretrained(tmp_path)
        ours = tuning.PeftModel.from_pretrained(tiny_llama().float(), tmp_path)
        x = tokens()
        assert torch.allclose(ours.eval()(input_ids=x).logits, theirs.eval()(input_ids=x).logits, rtol=0, atol=1e-5)


def check_same_start(ours: Any, theirs: Any, atol: float) -> None:
    """The same outputs, and the same factors but for the signs that a decomposition chose."""
    x = tokens()
    assert torch.allclose(ours.eval()(input_ids=x).logits, theirs.eval()(input_ids=x).logits, rtol=0, atol=atol)
    for path, module in theirs.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            mine = ours.get_submodule(path)
            products = [
                layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
                for layer in (mine, module)
            ]
            assert torch.allclose(*products, rtol=0, atol=atol), path


@pytest.mark.parametrize("how", ["ipm", "kpm"])
def test_corda_starts_as_pefts(how: str, tmp_path: Path) -> None:
    models = []
    for engine in (tuning, peft):
        base = tiny_llama().float()
        corda: Any = OurCordaConfig if engine is tuning else TheirCordaConfig
        settings = corda(corda_method=how, cache_file=str(tmp_path / engine.__name__ / "cache"))
        config = engine.LoraConfig(r=4, target_modules=LAYERS, init_lora_weights="corda", corda_config=settings)
        prepare: Any = preprocess_corda if engine is tuning else theirs_of_corda
        prepare(base, config, run_model=lambda base=base: base(input_ids=tokens(1)))
        models.append(engine.get_peft_model(base, config))
    check_same_start(*models, 1e-4)
    ours = models[0]
    plain = tiny_llama().float()(input_ids=tokens()).logits
    assert torch.allclose(ours(input_ids=tokens()).logits, plain, rtol=0, atol=1e-4)
    again, config = tiny_llama().float(), copy.deepcopy(ours.peft_config["default"])
    preprocess_corda(again, config)  # from the file
    check_same_start(tuning.get_peft_model(again, config), models[1], 1e-4)


@pytest.mark.parametrize("scale", ["stable", "weight_svd", "gd_scale", "unit"])
@pytest.mark.parametrize("direction", ["ArBr", "A2rBr", "ArB2r", "random"])
def test_lora_ga_starts_as_pefts(direction: str, scale: str) -> None:
    models = []
    for engine in (tuning, peft):
        base = tiny_llama().float()
        settings = engine.LoraGAConfig(direction=direction, scale=scale)
        config = engine.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="lora_ga", lora_ga_config=settings)
        prepare: Any = tuning.preprocess_loraga if engine is tuning else theirs_of_loraga
        prepare(base, config, train_step=lambda base=base: loss(base).backward())
        torch.manual_seed(3)
        models.append(engine.get_peft_model(base, config))
    check_same_start(*models, 1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_lora_weights": "corda", "target_modules": ["q_proj"]}, "call preprocess_corda before"),
        ({"use_dora": True, "velora_config": {}}, "use_dora, velora_config each change"),
        ({"lora_bias": True, "velora_config": {}}, "is not for velora_config"),
        ({"kasa_config": {"gama": 1}}, "kasa_config has gama; a KasaConfig has beta, gamma"),
        ({"velora_config": {}, "target_modules": ["embed_tokens"]}, "goes with linear layers"),
        ({"use_bdlora": {"nblocks": 3, "target_modules_bd_a": ["q_proj"]}, "target_modules": ["q_proj"]}, "not divisible by nblocks, which is 3"),
        ({"use_bdlora": {}, "target_modules": ["q_proj"]}, "neither target_modules_bd_a nor"),
        ({"kasa_config": {}, "r": 40, "target_modules": ["q_proj"]}, "r has to be below both"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with warnings.catch_warnings(), pytest.raises(tuning.ConfigError, match=message):
        warnings.simplefilter("ignore")
        tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(**options))


@pytest.mark.parametrize("prepare", [preprocess_corda, tuning.preprocess_loraga])
def test_layers_that_have_no_such_start_are_refused_before_the_pass(prepare: Any) -> None:
    config = tuning.LoraConfig(
        target_modules=["embed_tokens"], corda_config=OurCordaConfig(), init_lora_weights="corda", lora_ga_config=tuning.LoraGAConfig()
    )  # fmt: skip
    with pytest.raises(tuning.ConfigError, match="none of target_modules is linear"):
        prepare(tiny_llama(), config, lambda: None)


def test_rows_of_a_batch_each_have_their_own_activated_adapter() -> None:
    config = tuning.LoraConfig(alora_invocation_tokens=[5], target_modules=LAYERS, task_type="CAUSAL_LM")
    model = tuning.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False)
    model.add_adapter("other", tuning.LoraConfig(target_modules=LAYERS), autocast_adapter_dtype=False)
    shaken(model)
    x = tokens()
    x[:, 3] = 5
    mixed = model.eval()(input_ids=x, adapter_names=["other", "default", "__base__"]).logits
    assert torch.allclose(mixed[1:2], model(input_ids=x[1:2]).logits, rtol=0, atol=1e-9)
    assert not torch.allclose(mixed[1:2], tiny_llama()(input_ids=x[1:2]).logits, atol=1e-3)
