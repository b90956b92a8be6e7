"""What a user gets wrong is one line and status 2, before anything is left."""

from pathlib import Path

import pytest

from jaxrl_entropy.cli import main
from jaxrl_entropy.rewards.sandbox import launch

CONFIG = "tests/training/tiny_config.py:grpo"
ROOT = Path(__file__).parents[2]


def train(capsys, monkeypatch, workdir, *flags, config=CONFIG):
  monkeypatch.chdir(ROOT)
  status = main.main(
    ["train", f"--config={config}", f"--workdir={workdir}", *flags]
  )
  return status, capsys.readouterr().err


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--config.loss.nam=grpo", "did you mean 'name'"),
    ("--config.steps=many", "expected int"),
    ("--config.steps=0", "config.steps is 0"),
    ("--config.rollout.num_minibatches=0", "rollout.num_minibatches is 0"),
    ("--config.optimizer.micro_batches=0", "micro_batches is 0"),
    ("--config.model.compute_dtype=bfloat", "did you mean 'bfloat16'"),
    ("--config.rollout.weight_dtype=int4", "did you mean 'int8'"),
    ("--config.rollout.recompute_old_logp=samplr", "expected bool"),
    ("--config.rollout.slots=-1", "rollout.slots is -1"),
    ("--config.rollout.partial_tokens=-3", "rollout.partial_tokens is -3"),
    ("--config.rollout.max_staleness=-1", "max_staleness is -1"),
    ("--config.rollout.async_rollouts=1", "now config.rollout.max_staleness"),
    ("--config.rollout.devices=1", "leave some"),
    ("--config.rollout.tensor=2", "tensor is 2 without rollout.devices"),
    ("--config.rollout.temperature=0", "temperature is 0.0: it must be > 0"),
    ("--config.rollout.tis_cap=0", "tis_cap is 0.0"),
    ("--config.rollout.top_p=1.5", "top_p is 1.5: it must be > 0 and <= 1"),
    ("--config.rollout.kv_tokens=16", "raise kv_tokens to at least"),
    ("--config.loss.name=grop", "did you mean 'grpo'"),
    ("--config.loss.args.clip_low=abc", "clip_low"),
    ("--config.loss.controllers.low=3", "loss.controllers.low is 3"),
    ("--config.rollout.max_prompt_length=3", "max_prompt_length is 3"),
    ("--config.rollout.max_response_length=600", "made for 512"),
    ("--config.rollout.max_response_length=4", "demonstration"),
    ("--config.model.tokenizer=/nowhere", "/nowhere"),
    ("--config.task.name=countdwn", "did you mean 'countdown'"),
  ],
)
def test_a_bad_setting_is_one_line(
  capsys, monkeypatch, tmp_path, flag, message
):
  status, errors = train(capsys, monkeypatch, tmp_path / "run", flag)
  assert status == 2
  assert message in errors
  assert "Traceback" not in errors
  assert errors.strip().count("\n") == 0


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(:\n", "SyntaxError"),
    ("def get_config():\n  return None\n", "returned None"),
    ("x = y\n", "NameError"),
    (
      "from jaxrl_entropy.config import defaults\n"
      "def get_config():\n"
      "  config = defaults.get_config()\n"
      "  config.steps = 1.5\n"
      "  return config\n",
      "steps expects int",
    ),
  ],
)
def test_a_broken_config_file_is_named(
  capsys, monkeypatch, tmp_path, text, message
):
  path = tmp_path / "broken.py"
  path.write_text(text)
  status, errors = train(
    capsys, monkeypatch, tmp_path / "run", config=str(path)
  )
  assert status == 2
  assert "broken.py" in errors
  assert message in errors


def test_a_vocabulary_that_does_not_fit_is_refused(
  capsys, monkeypatch, tmp_path
):
  folder = tmp_path / "run"
  flags = ("--config.model.preset=nano", "--config.model.tokenizer=")
  status, errors = train(
    capsys, monkeypatch, folder, *flags, f"--config.model.tokenizer={ROOT}"
  )
  assert status == 2
  assert "tokenizer" in errors


@pytest.mark.parametrize("flag", ["loss.name=grop", "rollout.kv_tokens=16"])
def test_a_refused_config_does_not_claim_the_folder(
  capsys, monkeypatch, tmp_path, flag
):
  status, _ = train(capsys, monkeypatch, tmp_path, f"--config.{flag}")
  assert status == 2
  assert not (tmp_path / "config.json").exists()


def test_a_folder_that_cannot_be_written_is_named(
  capsys, monkeypatch, tmp_path
):
  (tmp_path / "file").write_text("")
  status, errors = train(capsys, monkeypatch, tmp_path / "file" / "run")
  assert status == 2
  assert "cannot be written" in errors


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
