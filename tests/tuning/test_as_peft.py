"""`tuning.as_peft()`: libraries that ask for PEFT get this engine. Each script runs in a process of its own, where PEFT was not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = """
import tuning
tuning.as_peft()
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch, transformers

def tiny():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2,
    )
    return transformers.LlamaForCausalLM(config).eval()

X = torch.randint(1, 64, (2, 6), generator=torch.Generator().manual_seed(3))
folder = Path(sys.argv[1])
"""

TRAINER = """
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Trainer, TrainingArguments

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, place):
        return {"input_ids": X[place % 2], "labels": X[place % 2], "attention_mask": torch.ones_like(X[0]), "more": 1}

def trainer(model, **options):
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], per_device_train_batch_size=2, disable_tqdm=True,
        save_strategy="steps", save_steps=1, logging_steps=1, **options,
    )
    return Trainer(model=model, args=arguments, train_dataset=Rows(), eval_dataset=Rows())

def adapted():
    return get_peft_model(tiny(), LoraConfig(task_type="CAUSAL_LM", r=4))

assert trainer(adapted(), max_steps=1).train().training_loss > 0  # columns that the base takes are not dropped
saved = {path.name for path in (folder / "checkpoint-1").iterdir()}
assert "adapter_model.safetensors" in saved and "model.safetensors" not in saved, saved
again = trainer(
    adapted(), max_steps=3, learning_rate=1e-2, eval_strategy="steps", eval_steps=1, load_best_model_at_end=True,
    metric_for_best_model="eval_loss", greater_is_better=True,
)
again.train(resume_from_checkpoint=True)
assert again.state.global_step == 3
best = PeftModel.from_pretrained(tiny(), again.state.best_model_checkpoint)
assert torch.equal(best(X).logits, again.model.eval()(X).logits)
assert any(parameter.requires_grad for parameter in again.model.parameters())  # loading the best one ends no training
"""

COPIES = """
import copy, io, peft, pickle
model = adapted().eval()
assert isinstance(model, peft.PeftModelForCausalLM) and isinstance(model, PeftModel)
assert type(model).__module__ == "tuning.tasks"
for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
    assert type(again) is type(model) and torch.equal(again(X).logits, model(X).logits)
held = io.BytesIO()
torch.save(model, held)
held.seek(0)
assert torch.equal(torch.load(held, weights_only=False)(X).logits, model(X).logits)
"""

QUANTISED = """
import bitsandbytes
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, Trainer, TrainingArguments

tiny().save_pretrained(folder / "base")
base = transformers.AutoModelForCausalLM.from_pretrained(
    folder / "base", quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
)
model = get_peft_model(prepare_model_for_kbit_training(base), LoraConfig(task_type="CAUSAL_LM", r=4))
rows = [{"input_ids": row, "labels": row} for row in X]
arguments = TrainingArguments(output_dir=str(folder), use_cpu=True, report_to=[], max_steps=1, disable_tqdm=True, save_strategy="no")
assert Trainer(model=model, args=arguments, train_dataset=rows).train().training_loss > 0
"""

LOADED = """
import peft
from peft import LoraConfig, PeftModel, get_peft_model

model = get_peft_model(tiny(), LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False))
model.save_pretrained(folder)
base = tiny()
base.load_adapter(str(folder), adapter_name="x")
assert "model.layers.0.self_attn.q_proj.lora_A.x.weight" in base.state_dict()
assert torch.allclose(base(X).logits, model.eval()(X).logits, atol=1e-5)
base.disable_adapters()
assert torch.equal(base(X).logits, tiny()(X).logits)
base.enable_adapters()
base.add_adapter(LoraConfig(r=2, target_modules=["q_proj"]), "y")
base.set_adapter("y")
assert base.active_adapters() == ["y"]
base.delete_adapter("y")
base.set_adapter("x")
base.save_pretrained(folder / "again")
assert (folder / "again" / "adapter_model.safetensors").is_file()
"""

SFT = """
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, pipeline
from trl import SFTConfig, SFTTrainer

words = Tokenizer(models.WordLevel({"[unk]": 0, "a": 1, "b": 2, "[eos]": 3, "[pad]": 4}, unk_token="[unk]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[unk]", eos_token="[eos]", pad_token="[pad]")
trainer = SFTTrainer(
    model=tiny(), processing_class=tokenizer, peft_config=LoraConfig(r=4, target_modules=["q_proj"]),
    train_dataset=Dataset.from_dict({"text": ["a b a b", "b a b"] * 4}),
    args=SFTConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], max_steps=2, save_strategy="steps", save_steps=2, max_length=16,
        disable_tqdm=True,
    ),
)
assert type(trainer.model).__module__ == "tuning.model"
trainer.train()
saved = {path.name for path in (folder / "checkpoint-2").iterdir()}
assert "adapter_model.safetensors" in saved and "model.safetensors" not in saved, saved
text = pipeline("text-generation", model=trainer.model, tokenizer=tokenizer)("a b", max_new_tokens=3)
assert text[0]["generated_text"].startswith("a b")
"""

NAMES = """
import accelerate, peft
from peft.tuners import lora
from peft.tuners.lora.layer import Linear, LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper, get_peft_model_state_dict
from peft.utils.other import fsdp_auto_wrap_policy
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
import importlib.metadata

model = peft.get_peft_model(tiny(), peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]))
layer = model.base_model.model.model.layers[0].self_attn.q_proj
assert isinstance(model.base_model, peft.LoraModel) and isinstance(layer, LoraLayer) and isinstance(layer, lora.Linear)
assert not isinstance(layer, lora.Embedding) and isinstance(layer, BaseTunerLayer)
assert isinstance(model.base_model.model.lm_head, ModulesToSaveWrapper)
assert PEFT_TYPE_TO_PREFIX_MAPPING[peft.PeftType.LORA] == "lora_"
assert importlib.metadata.version("peft") == peft.__version__
fsdp_auto_wrap_policy(model)
prepared = accelerate.Accelerator(cpu=True).prepare(model)
prepared(X, labels=X).loss.backward()
try:
    peft.KappaTuneSelector(tiny())
except tuning.ConfigError as error:
    assert "KappaTuneSelector" in str(error)
else:
    raise AssertionError("what is not here was taken")
try:
    from peft.nowhere import anything
except ImportError:
    pass
else:
    raise AssertionError("a module that PEFT lacks was found")
"""


@pytest.mark.parametrize(
    "script", [TRAINER, QUANTISED, LOADED, SFT, NAMES], ids=["Trainer", "QLoRA", "load_adapter", "SFTTrainer", "names"]
)
def test_a_library_that_asks_for_peft_gets_this_engine(script: str, tmp_path: Path) -> None:
    done = run(START + script, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def test_trainer_saves_the_adapter_alone_where_peft_itself_is_imported(tmp_path: Path) -> None:
    start = START.replace("tuning.as_peft()", "import peft")
    script = TRAINER.replace("from peft import LoraConfig, PeftModel", "from tuning import LoraConfig, PeftModel")
    done = run(start + script + COPIES, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def test_it_has_to_come_first(tmp_path: Path) -> None:
    done = run("import peft, tuning\ntuning.as_peft()", tmp_path)
    assert done.returncode != 0 and "call tuning.as_peft() before" in done.stderr


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, cwd=ROOT, check=False
    )
