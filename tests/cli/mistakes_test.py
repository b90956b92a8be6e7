"""Mistakes of users: one line, status 2, and no file is left behind.

All of these are found before a model or JAX's devices are needed.
"""

import pytest

from jaxrl_entropy.cli import main

CONFIG = """
from jaxrl_entropy.config import recipes

def get_config(recipe="grpo"):
  config = recipes.get_config(recipe)
  config.rollout.prompts_per_step = 4
  config.rollout.num_minibatches = 2
  return config
"""
FILES = {
  "mine.py": CONFIG,
  "broken.py": "def get_config(:\n",
  "raises.py": "def get_config():\n  raise RuntimeError('boom')\n",
  "empty.py": "x = 1\n",
  "nothing.py": "def get_config(arg=''):\n  pass\n",
  "imports.py": "import nothere_at_all\n",
  "data.jsonl": '{"question": "1 + 1?", "answer": "#### 2"}\n',
}


def _train(*overrides, config="mine.py"):
  fields = (f"--config.{override}" for override in overrides)
  return ("train", f"--config={config}", "--workdir=run", *fields)


MISTAKES = [
  (("trian",), "did you mean 'train'"),
  (("train",), "--config, --workdir"),
  (("train", "--config=mine.py"), "--workdir"),
  (("train", "--config=mine.py", "--workdir="), "--workdir is empty"),
  (("train", "--config=mine.py", "--workdir=gs://b/run"), "gs://b/run"),
  ((*_train(), "now"), "now"),
  ((*_train(), "--config.steps"), "needs a value"),
  (_train(config="nothere.py"), "no such file"),
  (_train(config="broken.py"), "broken.py: SyntaxError"),
  (_train(config="raises.py"), "boom"),
  (_train(config="empty.py"), "get_config"),
  (_train(config="nothing.py"), "get_config"),
  (_train(config="imports.py"), "nothere_at_all"),
  (_train(config="mine.py:grpoo"), "'grpo'"),
  (_train("stepz=3"), "did you mean 'steps'"),
  (_train("rolout.group_size=3"), "did you mean 'rollout'"),
  (_train("rollout.responses=4"), "rollout.group_size"),
  (_train("rollout=5"), "is a section: set config.rollout."),
  (_train("steps.x=1"), "a value, not a section"),
  (_train("steps=four"), "expected int"),
  (_train("steps=0"), ">= 1"),
  (_train("seed=-1"), ">= 0"),
  (_train("optimizer.learning_rate=-1"), ">= 0"),
  (_train("optimizer.learning_rate=nan"), "a finite number"),
  (_train("optimizer.name=adam"), "'adamw'"),
  (_train("optimizer.micro_batches=99"), "a mini-batch has 16 responses"),
  (_train("reward.timeout=0"), "> 0"),
  (_train("reward.overlong_buffer=9999"), "more than rollout.max_response"),
  (_train("reward.sandbox=docker"), "reward.sandbox"),
  (_train("recipe=grpoo"), "'grpo'"),
  (_train("rollout.group_filter=mix"), "'mixed'"),
  (_train("rollout.num_minibatches=64"), "4 groups"),
  (_train("rollout.pack=maybe"), "rollout.pack"),
  (
    _train("rollout.group_size=1", "rollout.group_filter=mixed"),
    "never both right and wrong",
  ),
  (_train("mesh.data=-1"), "only one axis can be -1"),
  (_train("eval.source_temperatures=gsm,hot"), "give pairs"),
  (_train("eval.final_temperatures=(0.3,0)"), "numbers above 0"),
  (_train("log.writers=tensorbord"), "'tensorboard'"),
  (("evaluate", "--output=out"), "--workdir"),
  (("evaluate", "--workdir=data", "--config=mine.py"), "--output"),
  (("analyze", "--workdir=nothere"), "nothere"),
  (("samples", "--workdir=nothere"), "nothere"),
  (("convert", "--target=out"), "--source"),
  (("convert", "--source=x", "--target=out", "--shard-gb=0"), "above 0"),
  (("convert", "--source=x", "--target=out", "--dtype=int4"), "--dtype"),
  (("data", "inspekt", "data.jsonl"), "inspect"),
  (("data", "inspect", "nothere.jsonl"), "nothere.jsonl"),
  (("data", "inspect", "data.jsonl", "--format=gsm"), "gsm8k"),
  (("data", "inspect", "data.jsonl", "--show=all"), "--show"),
  (("sweep", "--config=mine.py", "--workdir=out"), "sweep"),
]


@pytest.mark.parametrize(("argv", "words"), MISTAKES, ids=str)
def test_a_mistake_is_one_line_and_leaves_no_file(
  tmp_path, monkeypatch, capfd, argv, words
):
  monkeypatch.chdir(tmp_path)
  for name, text in FILES.items():
    (tmp_path / name).write_text(text)
  assert main.main(argv) == 2
  (line,) = capfd.readouterr().err.splitlines()
  assert line.startswith(f"jaxrl-entropy {argv[0]}: error: ")
  assert words in line
  found = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
  assert found == set(FILES)
