"""The command, with a model of random weights."""

import json

import numpy as np
import pytest

from jaxrl_entropy import cli
from jaxrl_entropy.generate import _Screen
from jaxrl_entropy.sampling.request import Completion
from jaxrl_entropy.sampling.sampler import Event

CONFIG = """
from jaxrl_entropy import defaults

def get_config():
  return defaults.get_config()
"""


@pytest.fixture
def config(tmp_path):
  path = tmp_path / "config.py"
  path.write_text(CONFIG)
  return str(path)


def test_json_has_one_object_an_answer(config, capsys):
  flags = ["--samples=2", "--max-tokens=5", "--temperature=1", "--json"]
  prompts = ["--prompt=3 4", "--prompt=5 6 7"]
  assert cli.main(["generate", f"--config={config}", *prompts, *flags]) == 0
  records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  keys = sorted((r["prompt"], r["sample"]) for r in records)
  assert keys == [("3 4", 0), ("3 4", 1), ("5 6 7", 0), ("5 6 7", 1)]
  for record in records:
    assert len(record["tokens"]) == len(record["logp"]) <= 5
    assert record["finish"] in ("stop", "length")


def test_equal_prompts_are_answered_apart(config, capsys):
  flags = ["--max-tokens=8", "--temperature=1", "--json"]
  prompts = ["--prompt=3 4", "--prompt=3 4"]
  assert cli.main(["generate", f"--config={config}", *prompts, *flags]) == 0
  records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert records[0]["logp"] != records[1]["logp"]


def test_nothing_to_answer_is_an_error(config, capsys):
  assert cli.main(["generate", f"--config={config}"]) == 2
  assert "--prompt" in capsys.readouterr().err


def test_no_model_is_an_error(capsys):
  assert cli.main(["generate", "--prompt=3 4"]) == 2
  assert "--run" in capsys.readouterr().err


class _Letters:
  """Two tokens to a character outside ASCII, as byte-level tokenizers have."""

  def decode(self, ids):
    return bytes(ids).decode(errors="replace")


def _event(key, text, ended=False):
  tokens = np.frombuffer(text, np.uint8).astype(np.int32)
  nothing = np.zeros(0, np.float32)
  done = Completion(tokens, nothing, nothing, nothing, "stop")
  return Event(*key, tokens, done if ended else None)


def test_the_screen_shows_answers_in_order_and_harmless(capsys):
  screen = _Screen(["first", "second"], 1, _Letters())
  e_acute = "é".encode()
  screen.show(_event((1, 0), b"later", ended=True))
  assert capsys.readouterr().out == ""
  screen.show(_event((0, 0), b"a\x1b[2J" + e_acute[:1]))
  assert capsys.readouterr().out == "\n> first\na\ufffd[2J"
  screen.show(_event((0, 0), e_acute[1:] + b"!", ended=True))
  assert capsys.readouterr().out == "é!\n\n> second\nlater\n"
