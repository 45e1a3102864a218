"""An adapter that is uploaded to a hub and fetched from it, against a hub of this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tuning.fake_hub import fake_hub

SCRIPT = """
import os, pathlib, torch, tuning
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from tests.tuning.oracle import VOCABULARY, shaken, tiny_llama, tokens
from tuning import hub

model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(task_type="CAUSAL_LM"), autocast_adapter_dtype=False).eval()
shaken(model)
model.push_to_hub("me/french", private=True, commit_message="French", commit_description="of the second run")
try:
    tuning.PeftModel.from_pretrained(tiny_llama(), "me/french")
except tuning.CheckpointError as error:
    assert "allow the connection" in str(error)
else:
    raise AssertionError("connected unasked")
again = tuning.PeftModel.from_pretrained(tiny_llama(), "me/french", local_files_only=False, autocast_adapter_dtype=False)
with torch.no_grad():
    assert torch.equal(again(input_ids=tokens()).logits, model(input_ids=tokens()).logits)

folder = pathlib.Path(os.environ["HF_HOME"])
base = tiny_llama()
base.save_pretrained(folder / "base")
base.name_or_path = str(folder / "base")
base.resize_token_embeddings(VOCABULARY + 3)
tuning.get_peft_model(base, tuning.LoraConfig(task_type="CAUSAL_LM")).save_pretrained(folder / "adapter", save_embedding_layers=True)
words = {f"w{number}": number for number in range(VOCABULARY + 3)}
PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words))).save_pretrained(folder / "adapter")
hub.push(folder / "adapter", "me/words")
again = tuning.AutoPeftModelForCausalLM.from_pretrained("me/words", local_files_only=False)
assert again.get_input_embeddings().weight.shape[0] == VOCABULARY + 3
"""


def test_an_adapter_goes_to_the_hub_and_back(tmp_path: Path) -> None:
    with fake_hub() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_fake", "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    assert set(hub.files["me/french"]) == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert hub.private == {"me/french": True, "me/words": False}
    assert [commit["summary"] for commit in hub.commits] == ["French", "Upload adapter"]
    assert hub.commits[0]["description"] == "of the second run"
