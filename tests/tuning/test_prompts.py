"""Virtual tokens: what the cases in test_against_peft.py do not see, of generation, tasks, initialisation and files."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    BertConfig,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

import tuning
from tests.tuning.oracle import BASES, HIDDEN, VOCABULARY, both, check_same, shaken, tiny_llama, tokens
from tuning.errors import AdapterError, CheckpointError, ConfigError
from tuning.training.objective import parts

SOFT, PREFIX = "PromptTuningConfig", "PrefixTuningConfig"
ENCODED = [
    ("PromptEncoderConfig", {}),
    ("PromptEncoderConfig", {"encoder_hidden_size": 8, "encoder_reparameterization_type": "LSTM"}),
    ("PromptEncoderConfig", {"encoder_reparameterization_type": "LSTM", "encoder_num_layers": 1}),
    ("PrefixTuningConfig", {"prefix_projection": True}),
    ("PrefixTuningConfig", {"prefix_projection": True, "encoder_hidden_size": 8}),
]


def made(config: str = SOFT, task: str = "CAUSAL_LM", base: Any = None, **options: Any) -> Any:
    options = {"num_virtual_tokens": 3, **options}
    model = tuning.get_peft_model(base or tiny_llama(), getattr(tuning, config)(task_type=task, **options))
    shaken(model)
    return model.eval()


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-9)


@torch.no_grad()
def greedy(model: Any, ids: Tensor, new: int) -> Tensor:
    """Without a cache: PEFT's own goes wrong with transformers 5.24, where `past_key_values` is `cache`."""
    for _ in range(new):
        ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids


@pytest.mark.parametrize("config", [SOFT, PREFIX])
@pytest.mark.parametrize("base", BASES)
def test_generation_is_pefts(base: str, config: str, tmp_path: Path) -> None:
    theirs, ours = both(base, config, tmp_path, num_virtual_tokens=3)
    x, options = tokens(2, 5), {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = greedy(theirs, x, 6)
    mask = torch.ones_like(x)
    assert ours.generate(x, attention_mask=mask, max_new_tokens=6, **options).equal(expected)
    assert ours.generate(input_ids=x, attention_mask=mask, max_length=11, **options).equal(expected)
    embedded = ours.get_input_embeddings()(x)
    assert ours.generate(inputs_embeds=embedded, max_new_tokens=6, **options).equal(expected[:, 5:])
    beams = ours.generate(x, attention_mask=mask, max_new_tokens=6, num_beams=2, num_return_sequences=2, **options)
    assert beams.shape == (4, 11)


@pytest.mark.parametrize("config", [SOFT, PREFIX])
def test_a_row_is_generated_as_if_it_were_alone(config: str) -> None:
    model, short, long = made(config), torch.tensor([[5, 6, 7]]), torch.tensor([[9, 8, 7, 6, 5]])
    options: Any = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 5}
    padded = torch.cat([torch.tensor([[0, 0, 5, 6, 7]]), long])
    rows = model.generate(padded, **options)  # the mask comes from the padding
    assert rows[0, 5:].equal(model.generate(short, **options)[0, 3:])
    assert rows[1].equal(model.generate(long, **options)[0])


@pytest.mark.parametrize("config", [SOFT, PREFIX])
def test_masks_and_positions_are_pefts(config: str, tmp_path: Path) -> None:
    theirs, ours = both("llama", config, tmp_path, num_virtual_tokens=3)
    x = tokens()
    mask = (torch.arange(7) < torch.tensor([[7], [5], [4]])).long()
    given = {"input_ids": x, "attention_mask": mask, "labels": x.masked_fill(mask == 0, -100)}
    assert close(ours(**given).loss, theirs(**given).loss)
    positions = torch.arange(7).expand(3, 7) + 2
    assert close(
        ours(x, mask, position_ids=positions).logits, theirs(x, attention_mask=mask, position_ids=positions).logits
    )


@pytest.mark.parametrize("added", [True, False])
def test_a_prefix_is_seen_under_a_mask_by_token(added: bool) -> None:
    """Rows laid out as trees, say: here two documents, each as it is alone."""
    model, x = made(PREFIX), tokens(1, 7)
    shaken(model)
    seen = torch.ones(7, 7).tril().bool()
    seen[4:, :4] = False
    mask = torch.zeros(7, 7, dtype=torch.float64).masked_fill(~seen, -1e30) if added else seen
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2]])
    together = model(x, attention_mask=mask[None, None], position_ids=positions).logits
    assert close(together, torch.cat([model(x[:, :4]).logits, model(x[:, 4:]).logits], dim=1))


def test_a_mask_by_token_is_refused_where_tokens_come_before() -> None:
    with pytest.raises(ConfigError, match=r"masks and labels are \(rows, tokens\)"):
        made(SOFT)(tokens(1, 7), attention_mask=torch.ones(1, 1, 7, 7))


@pytest.mark.parametrize("enabled", [True, False])
def test_a_model_with_a_prefix_is_taken_apart(enabled: bool) -> None:
    model, x = made(PREFIX), tokens()
    shaken(model)
    apart = parts(model)
    assert apart is not None
    with nullcontext() if enabled else model.disable_adapter():
        assert close(apart.head(apart.backbone(input_ids=x)[0]), model(x).logits)
    assert parts(made(SOFT)) is None


def test_a_cache_that_holds_tokens_holds_the_virtual_ones() -> None:
    for config in (SOFT, PREFIX):
        model, x = made(config), tokens(2, 5)
        first = model(x[:, :4], use_cache=True)
        held = getattr(first, "cache", None) or first.past_key_values
        assert held.get_seq_length() == 7
        assert close(model(x[:, 4:], past_key_values=held).logits[:, -1], model(x).logits[:, -1])
        with pytest.raises(AdapterError, match="leave out the one that holds tokens"):
            model.generate(x, past_key_values=held)


@pytest.mark.parametrize(("config", "options"), ENCODED)
def test_computed_tokens_are_pefts(config: str, options: dict[str, Any], tmp_path: Path) -> None:
    base, options = "llama", {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(BASES[base](), getattr(peft, config)(**options)).double().eval()
    ours = tuning.get_peft_model(BASES[base](), getattr(tuning, config)(**options)).double().eval()
    shaken(theirs)
    encoder = "prompt_encoder.default."
    own = {key: value for key, value in theirs.state_dict().items() if key.startswith(encoder)}
    assert ours.load_state_dict(own, strict=False).unexpected_keys == []
    check_same(theirs, ours)

    ours.save_pretrained(tmp_path)
    x = tokens()
    again = peft.PeftModel.from_pretrained(BASES[base](), tmp_path).double().eval()
    table = tuning.PeftModel.from_pretrained(BASES[base](), tmp_path, is_trainable=True).double().eval()
    assert close(table(input_ids=x).logits, again(input_ids=x).logits)
    assert torch.allclose(table(input_ids=x).logits, ours(input_ids=x).logits, rtol=0, atol=1e-5)  # read as float32
    assert [name for name, value in table.named_parameters() if value.requires_grad] == [
        "prompt_encoder.default.embedding.weight"
    ]
    before = ours(input_ids=x).logits
    tuning.set_peft_model_state_dict(ours, tuning.load_peft_weights(tmp_path))
    assert close(ours(input_ids=x).logits, before)


def tiny_tokenizer(folder: Path) -> Path:
    words = Tokenizer(models.WordLevel({"[unk]": 0, "sort": 7, "these": 9, "names": 11}, unk_token="[unk]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[unk]").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("number", [2, 5])
def test_tokens_start_from_a_text(number: int, tmp_path: Path) -> None:
    options: Any = {
        "task_type": "CAUSAL_LM", "num_virtual_tokens": number, "prompt_tuning_init": tuning.PromptTuningInit.TEXT,
        "prompt_tuning_init_text": "sort these names", "tokenizer_name_or_path": str(tiny_tokenizer(tmp_path / "words")),
    }  # fmt: skip
    model = tuning.get_peft_model(tiny_llama(), tuning.PromptTuningConfig(**options))
    ids = torch.tensor([7, 9, 11, 7, 9][:number])
    assert model.prompt_encoder["default"]().equal(model.get_input_embeddings()(ids).float())
    theirs = peft.get_peft_model(tiny_llama(), peft.PromptTuningConfig(**options))
    assert theirs.prompt_encoder["default"].embedding.weight.equal(model.prompt_encoder["default"]())

    model.save_pretrained(tmp_path / "adapter")
    (tmp_path / "words").rename(tmp_path / "elsewhere")  # an adapter that is loaded needs no tokenizer
    tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path / "adapter", is_trainable=True)
    with pytest.raises(ConfigError, match=r"there is no tokenizer in .*local_files_only"):
        tuning.get_peft_model(tiny_llama(), tuning.PromptTuningConfig(**options))


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="tokenizer_name_or_path can't be None"):
        tuning.PromptTuningConfig(prompt_tuning_init="TEXT")
    with pytest.raises(ConfigError, match="the nearest are"):
        tuning.PromptTuningConfig(prompt_tuning_init="RANDM")
    with pytest.raises(ConfigError, match="encoder_reparameterization_type"):
        tuning.PromptEncoderConfig(encoder_reparameterization_type="GRU")
    with pytest.raises(ConfigError, match="needs num_virtual_tokens"):
        tuning.get_peft_model(tiny_llama(), tuning.PrefixTuningConfig(task_type="CAUSAL_LM"))
    with pytest.raises(ConfigError, match="needs task_type"):
        tuning.get_peft_model(tiny_llama(), tuning.PrefixTuningConfig(num_virtual_tokens=2))


@pytest.mark.parametrize("config", [SOFT, PREFIX])
def test_the_base_is_there_without_the_adapter(config: str) -> None:
    base, model, x = tiny_llama(), made(config), tokens(2, 5)
    expected = base(x).logits
    assert model(x).logits.shape[1] == (8 if config == SOFT else 5)
    options: Any = {"max_new_tokens": 3, "do_sample": False, "attention_mask": torch.ones_like(x), "pad_token_id": 0}
    with model.disable_adapter():
        assert model(x).logits.equal(expected)
        assert model.generate(x, **options).equal(base.generate(x, **options))
    assert not model(x).logits[:, -5:].equal(expected)
    assert model.unload()(x).logits.equal(expected)


def test_adapters_are_switched_by_name(tmp_path: Path) -> None:
    model, x = made(), tokens(2, 5)
    first = model(x).logits
    model.add_adapter("other", tuning.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    assert model(x).logits.equal(first)
    model.set_adapter("other")
    second = model(x).logits
    assert second.shape[1] == 5
    model.save_pretrained(tmp_path)
    again: Any = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert again(x).logits.equal(first)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    again.load_adapter(tmp_path / "other", "third", is_trainable=True)
    again.set_adapter("third")
    assert again(x).logits.equal(second)
    with pytest.raises(AdapterError, match="one is used at a time"):
        model.set_adapter(["default", "other"])
    with pytest.raises(AdapterError, match="merge_adapter is for adapters that sit on layers"):
        model.merge_adapter()
    model.delete_adapter("other")
    assert model.active_adapter == "default"
    assert model(x).logits.equal(first)


def test_a_state_dict_has_pefts_names_and_goes_back() -> None:
    theirs = peft.get_peft_model(tiny_llama(), peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    model, other = made(PREFIX), made(PREFIX, init_weights="zero")
    assert sorted(model.state_dict()) == sorted(theirs.state_dict().keys() - {"word_embeddings.weight"})
    other.load_state_dict(model.state_dict())
    assert other(tokens()).logits.equal(model(tokens()).logits)


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path) -> None:
    made(num_virtual_tokens=4).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"'prompt_embeddings' is \(4, 32\) in the checkpoint and \(3, 32\) here"):
        tuning.set_peft_model_state_dict(made(), tuning.load_peft_weights(tmp_path))
    with pytest.raises(CheckpointError, match="has no 'prompt_embeddings'"):
        tuning.set_peft_model_state_dict(made(), {"base_model.model.x": torch.ones(1)})


def test_a_prefix_wants_a_cache() -> None:
    base = tiny_llama()
    base.gradient_checkpointing_enable()
    with pytest.raises(ConfigError, match="gradient_checkpointing_disable"):
        made(PREFIX, base=base)
    model = made(PREFIX)
    model.gradient_checkpointing_enable()
    model(tokens())  # nothing is computed again without training
    with pytest.raises(ConfigError, match="does not work with gradient checkpointing"):
        model.train()(tokens())
    with pytest.raises(ConfigError, match="BertForTokenClassification takes none"):
        made(PREFIX, "TOKEN_CLS", BertForTokenClassification(BERT))


def test_embeddings_go_with_gradient_checkpointing() -> None:
    plain, again = made().train(), made().train()
    again.load_state_dict(plain.state_dict())
    again.gradient_checkpointing_enable()
    for model in (plain, again):
        model(input_ids=tokens(), labels=tokens()).loss.backward()
    gradients = [model.prompt_encoder["default"].embedding.weight.grad for model in (plain, again)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-7)


BERT = BertConfig(
    vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)


def test_a_classifier_is_trained_with_the_tokens(tmp_path: Path) -> None:
    def base() -> Any:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            pad_token_id=0, num_labels=3,
        )  # fmt: skip
        return LlamaForSequenceClassification(config).double().eval()

    theirs = peft.get_peft_model(base(), peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)).eval()
    shaken(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    ours: Any = tuning.PeftModel.from_pretrained(base(), tmp_path / "theirs", is_trainable=True).eval()
    assert isinstance(ours, tuning.PeftModelForSequenceClassification)
    given = {"input_ids": tokens(), "attention_mask": torch.ones_like(tokens()), "labels": torch.tensor([0, 1, 2])}
    losses = [model(**given).loss for model in (theirs, ours)]
    assert close(*losses)
    for loss in losses:
        loss.backward()
    grads = [
        {name: value.grad for name, value in model.state_dict(keep_vars=True).items() if value.requires_grad}
        for model in (theirs, ours)
    ]
    assert sorted(grads[0]) == sorted(grads[1])
    assert all(close(grads[0][name].double(), grads[1][name].double()) for name in grads[0])
    ours.save_pretrained(tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(base(), tmp_path / "ours").eval()
    assert close(again(**given).logits, ours(**given).logits)


def test_a_label_for_each_token_leaves_the_virtual_ones_out() -> None:
    model = made(SOFT, "TOKEN_CLS", BertForTokenClassification(BERT))
    x, types = tokens(2, 5), torch.zeros(2, 5, dtype=torch.long)
    out = model(input_ids=x, token_type_ids=types, labels=torch.ones_like(x))
    expected = torch.nn.functional.cross_entropy(out.logits[:, 3:].reshape(-1, 2), torch.ones(10, dtype=torch.long))
    assert torch.allclose(out.loss, expected)


@pytest.mark.parametrize("config", [SOFT, PREFIX])
def test_an_encoder_and_decoder_are_pefts(config: str, tmp_path: Path) -> None:
    def base() -> Any:
        torch.manual_seed(0)
        return T5ForConditionalGeneration(
            T5Config(
                vocab_size=VOCABULARY, d_model=HIDDEN, d_kv=8, d_ff=64, num_layers=3, num_heads=4, dropout_rate=0.0,
                decoder_start_token_id=0, pad_token_id=0, eos_token_id=None,
            )
        ).double().eval()  # fmt: skip

    theirs = peft.get_peft_model(base(), getattr(peft, config)(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3)).eval()
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours: Any = tuning.PeftModel.from_pretrained(base(), tmp_path, is_trainable=True).eval()
    x, mask = tokens(), torch.ones_like(tokens())
    given = {"input_ids": x, "attention_mask": mask, "labels": tokens(3, 4)}
    assert close(ours(**given).loss, theirs(**given).loss)
    start = torch.zeros(3, 1, dtype=torch.long)
    for _ in range(5):
        out = theirs(input_ids=x, attention_mask=mask, decoder_input_ids=start)
        start = torch.cat([start, out.logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    options: Any = {"max_new_tokens": 5, "do_sample": False, "attention_mask": mask}
    assert ours.generate(input_ids=x, **options).equal(start)
    assert ours.generate(input_ids=x, num_beams=2, **options).shape == start.shape
