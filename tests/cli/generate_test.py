"""The command, with a model of random weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from jaxrl_entropy.cli import main
from jaxrl_entropy.cli.generate import _read_prompts
from jaxrl_entropy.cli.generation import Screen
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import export
from jaxrl_entropy.sampling.request import Completion
from jaxrl_entropy.sampling.sampler import Event

CONFIG = """
from jaxrl_entropy.config import defaults

def get_config():
  config = defaults.get_config()
  config.task.name = "countdown"
  config.model.update(
    preset="tiny",
    tokenizer="symbols",
    compute_dtype="float32",
    remat="none",
  )
  config.rollout.update(max_prompt_length=16, max_response_length=16)
  return config
"""


@pytest.fixture
def config(tmp_path):
  path = tmp_path / "config.py"
  path.write_text(CONFIG)
  return str(path)


def test_json_has_one_object_an_answer(config, capsys):
  flags = ["--samples=2", "--max-tokens=5", "--temperature=1", "--json"]
  prompts = ["--prompt=3 4", "--prompt=5 6 7"]
  assert main.main(["generate", f"--config={config}", *prompts, *flags]) == 0
  records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  keys = sorted((r["index"], r["prompt"], r["sample"]) for r in records)
  assert keys == [
    (0, "3 4", 0),
    (0, "3 4", 1),
    (1, "5 6 7", 0),
    (1, "5 6 7", 1),
  ]
  for record in records:
    assert len(record["tokens"]) == len(record["logp"]) <= 5
    assert record["finish"] in ("stop", "length")


def test_equal_prompts_are_answered_apart(config, capsys):
  flags = ["--max-tokens=8", "--temperature=1", "--json"]
  prompts = ["--prompt=3 4", "--prompt=3 4"]
  assert main.main(["generate", f"--config={config}", *prompts, *flags]) == 0
  records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert records[0]["logp"] != records[1]["logp"]


def test_every_end_that_the_model_names_stops(tmp_path, capsys):
  model = preset("pico", vocab_size=6)
  zeros = jax.tree.map(
    jnp.zeros_like, transformer.init(model, jax.random.key(0))
  )
  # Equal logits: greedy sampling writes id 0, which is not the tokenizer's end.
  export.save(tmp_path / "model", model, zeros)
  words = {"hi": 0, "<eos>": 1}
  PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<eos>")),
    eos_token="<eos>",
  ).save_pretrained(tmp_path / "model")
  ends = json.dumps({"eos_token_id": [1, 0]})
  (tmp_path / "model" / "generation_config.json").write_text(ends)
  (tmp_path / "config.py").write_text(
    CONFIG.replace("return", "config =")
    + f"  config.model.weights = {str(tmp_path / 'model')!r}\n"
    "  config.model.tokenizer = 'auto'\n  return config\n"
  )
  flags = ["--prompt=hi", "--max-tokens=8", "--json"]
  assert main.main(["generate", f"--config={tmp_path}/config.py", *flags]) == 0
  record = json.loads(capsys.readouterr().out)
  assert (record["tokens"], record["finish"]) == ([0], "stop")


def test_nothing_to_answer_is_an_error(config, capsys):
  assert main.main(["generate", f"--config={config}"]) == 2
  assert "--prompt" in capsys.readouterr().err


def test_no_model_is_an_error(capsys):
  assert main.main(["generate", "--prompt=3 4"]) == 2
  assert "--workdir" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--samples=0", "--samples is 0"),
    ("--best", "give --workdir"),
    ("--top-p=2", "top_p=2.0 must be in (0, 1]"),
    ("--stop=", "stop_strings"),
    ("--max-tokens=600", "= 602, above the sampler's max_length of 512"),
    ("--prompts=/nowhere", "--prompts /nowhere: No such file"),
  ],
)
def test_a_bad_flag_is_one_line(config, capsys, flag, message):
  asked = ["generate", f"--config={config}", "--prompt=3 4", flag]
  assert main.main(asked) == 2
  errors = capsys.readouterr().err
  assert message in errors
  assert errors.strip().count("\n") == 0


def test_prompts_that_are_not_text_are_named(config, capsys, tmp_path):
  file = tmp_path / "prompts.txt"
  file.write_bytes(b"3 4\xff\n")
  assert main.main(["generate", f"--config={config}", f"--prompts={file}"]) == 2
  assert f"--prompts {file}" in capsys.readouterr().err


class _Letters:
  """Two tokens to a character outside ASCII, as byte-level tokenizers have."""

  def decode(self, ids):
    return bytes(ids).decode(errors="replace")


def _event(key, text, ended=False):
  tokens = np.frombuffer(text, np.uint8).astype(np.int32)
  nothing = np.zeros(0, np.float32)
  done = Completion(tokens, *[nothing] * 5, "stop")
  return Event(*key, tokens, done if ended else None)


def test_the_screen_shows_answers_in_order_and_harmless(capsys):
  screen = Screen(["first", "second"], 1, _Letters())
  e_acute = "é".encode()
  screen.show(_event((1, 0), b"later", ended=True))
  assert capsys.readouterr().out == ""
  screen.show(_event((0, 0), b"a\x1b[2J" + e_acute[:1]))
  assert capsys.readouterr().out == "\n> first\na\ufffd[2J"
  screen.show(_event((0, 0), e_acute[1:] + b"!", ended=True))
  assert capsys.readouterr().out == "é!\n\n> second\nlater\n"


def test_an_answer_that_begins_with_half_a_character_has_one_title(capsys):
  screen = Screen(["first", "second"], 1, _Letters())
  euro = "€".encode()
  for byte in euro[:-1]:
    screen.show(_event((0, 0), bytes([byte])))
  screen.show(_event((0, 0), euro[-1:], ended=True))
  assert capsys.readouterr().out == "\n> first\n€\n"


def test_prompts_end_at_the_ends_of_lines_alone(tmp_path):
  file = tmp_path / "prompts.txt"
  file.write_bytes("\ufeffone\u2028more\r\n\n two\x0cmore\n".encode())
  assert _read_prompts(str(file)) == ["one\u2028more", " two\x0cmore"]
