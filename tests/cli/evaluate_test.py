"""Tests of the evaluate command before it loads JAX."""

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


def test_an_evaluation_is_not_overwritten(run, tmp_path):
  (tmp_path / evaluate.SAMPLES).touch()
  with pytest.raises(UserError, match="holds an evaluation"):
    evaluate.main([f"--workdir={run}", f"--output={tmp_path}"])
