"""Rewards and traces that cannot be right: one line, status 2, nothing left."""

from pathlib import Path

import pytest

from jaxrl_entropy.cli import main
from jaxrl_entropy.rewards.sandbox import launch

CONFIG = "tests/training/tiny_config.py:grpo"
ROOT = Path(__file__).parents[2]


def train(capsys, monkeypatch, workdir, *flags):
  monkeypatch.chdir(ROOT)
  status = main.main(
    ["train", f"--config={CONFIG}", f"--workdir={workdir}", *flags]
  )
  return status, capsys.readouterr().err


@pytest.mark.skipif(
  all(map(launch.failure, launch.LEVELS[:2])), reason="no safe sandbox here"
)
@pytest.mark.parametrize(
  ("name", "evaluate_every", "message"),
  [
    ("wrong_arity", 0, "TypeError: wrong_arity() takes 1 positional argument"),
    ("raises", 1, "KeyError: 'gold'"),
    ("returns_text", 0, "the reward is 'good', not a number"),
  ],
)
def test_rewards_that_cannot_be_right_stop_the_first_step(
  capsys, monkeypatch, tmp_path, name, evaluate_every, message
):
  task = "tests.training.broken_rewards:task"
  status, errors = train(
    *(capsys, monkeypatch, tmp_path / "run"),
    *(f"--config.task.name={task}", f"--config.task.args.name={name}"),
    *("--config.sft.steps=0", f"--config.eval.every={evaluate_every}"),
  )
  assert status == 2
  assert message in errors
  assert "responses could be judged" in errors
  assert errors.strip().count("\n") == 0


@pytest.mark.parametrize(
  ("text", "fields", "message"),
  [
    (None, (), "there is no such file"),
    ('{"problem": "1 1", "answer": "2"}\n', (), "a bare answer"),
    (
      "".join(
        f'{{"prompt": "{n} 1 =", "response": "{n}"}}\n' for n in range(1, 9)
      ),
      ("max_length=1", "task.args.test_size=0"),
      "raise sft.max_length",
    ),
  ],
)
def test_traces_that_cannot_be_learned_from_leave_no_folder(
  capsys, monkeypatch, tmp_path, text, fields, message
):
  path = tmp_path / "traces.jsonl"
  if text is not None:
    path.write_text(text)
  monkeypatch.chdir(ROOT)
  settings = ("steps=2", "task.name=traces", f"task.args.path={path}", *fields)
  status = main.main(
    [
      *("sft", f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}"),
      *(f"--config.sft.{setting}" for setting in settings),
    ]
  )
  errors = capsys.readouterr().err
  assert status == 2
  assert message in errors
  assert errors.count("\n") == 1
  assert {file.name for file in tmp_path.iterdir()} <= {path.name}
