"""The evaluate command: whose config, and mistakes in its flags."""

import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import evaluate
from jaxrl_entropy.errors import UserError
from tests.training.runs import CONFIG


@pytest.fixture
def run(tmp_path):
  """The folder of a run, as far as its config goes."""
  config = config_lib.load(f"{CONFIG}:grpo", [("model.preset", "tiny")])
  config_lib.save(config, tmp_path / "run")
  return str(tmp_path / "run")


def test_a_run_alone_is_judged_as_it_was_trained(run):
  config = evaluate._config(None, run, [("eval.top_p", "0.5")])
  assert config.task.name == "tests.training.tiny_config:Coin"
  assert config.eval.top_p == 0.5


def test_a_config_asks_the_model_of_a_run(run):
  config = evaluate._config("configs/evaluation.py:gsm8k", run, [])
  assert config.model.preset == "tiny"
  assert config.task.args.verifier == "math_equal"


@pytest.mark.parametrize(
  ("flags", "reason"),
  [
    ([], "give --run or --config"),
    (["--config=configs/quickstart.py", "--best"], "give --run"),
  ],
)
def test_mistakes_are_named(flags, reason, tmp_path):
  with pytest.raises(UserError, match=reason):
    evaluate.main([*flags, f"--output={tmp_path}"])


def test_an_evaluation_is_not_overwritten(run, tmp_path):
  (tmp_path / evaluate.SAMPLES).touch()
  with pytest.raises(UserError, match="holds an evaluation"):
    evaluate.main([f"--run={run}", f"--output={tmp_path}"])
