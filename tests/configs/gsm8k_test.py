"""The GSM8K config on a shrunk model with the shape of Qwen2.5's vocabulary."""

import json

import jax
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from configs import gsm8k_qwen2_5_0_5b as config_file
from jaxrl_entropy.config import finalize
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import export
from jaxrl_entropy.training import loop

TOKENS, ROWS = 151_665, 151_936  # ids of the tokenizer, rows of the embedding
TEMPLATE = (
  "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
  "<|im_start|>"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A folder of the published form: many ids, few weights."""
  path = tmp_path_factory.mktemp("model")
  words = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
  words |= {str(n): 3 + n for n in range(TOKENS - 3)}
  raw = Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>"))
  raw.pre_tokenizer = pre_tokenizers.Whitespace()
  tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=raw,
    eos_token="<|im_end|>",
    pad_token="<|endoftext|>",
    additional_special_tokens=["<|im_start|>"],
  )
  tokenizer.chat_template = TEMPLATE
  tokenizer.save_pretrained(path)
  model = preset("pico", vocab_size=ROWS, max_length=512)
  export.save(
    path, model, transformer.init(model, jax.random.key(0)), token_ids={}
  )
  (path / "generation_config.json").write_text(
    json.dumps({"eos_token_id": [2, 0]})
  )
  return path


@pytest.mark.parametrize("method", config_file.METHODS)
def test_every_method_is_whole(method):
  config = config_file.get_config(method)
  finalize(config)
  assert config.loss.name == method
  assert config.rollout.train_groups == 64


def test_the_estimate_is_that_of_the_model():
  config = preset("qwen2.5-0.5b")
  shapes = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  cache = 2 * config.num_layers * config.num_kv_heads * config.head_dim * 2
  text = config_file.__doc__
  assert f"{count / 1e9:.3f} billion parameters" in text
  assert f"{cache:,} bytes" in text
  assert f"{16 * count / 1e9:.1f}\n" in text
  assert f"{393_216 * cache / 1e9:.1f}\n" in text


def test_it_trains_on_rows_of_the_published_form(folder, tmp_path):
  rows = [
    {
      "question": f"{n} and {n} ?",
      "answer": f"<<{n}+{n}={2 * n}>>\n#### {2 * n}",
    }
    for n in range(12)
  ]
  path = tmp_path / "gsm8k.jsonl"
  path.write_text("\n".join(map(json.dumps, rows)))
  config = config_file.get_config("kl_cov")
  config.steps = 1
  config.model.weights = str(folder)
  config.task.args.update(path=str(path), test_path=str(path))
  config.prompt.suffix = ""
  config.reward.workers = 1
  config.rollout.update(
    prompts_per_step=4,
    group_size=2,
    slots=8,
    kv_tokens=0,
    max_prompt_length=96,
    max_response_length=8,
  )
  config.optimizer.micro_batches = 2
  config.eval.update(every=0, problems=4)
  assert loop.train(config, tmp_path / "run") == 0
  records = [
    json.loads(line)
    for line in (tmp_path / "run" / loop.METRICS).read_text().splitlines()
  ]
  assert records[0]["reward/errors"] == 0
  # Ids that the tokenizer lacks take no part in the entropy.
  assert records[0]["entropy/token_mean"] < 11.9296  # ln 151,665
