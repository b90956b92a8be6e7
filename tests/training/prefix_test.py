"""A run with a soft prefix: what moves, what is sampled, what is refused."""

import json

import jax
import numpy as np
import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models import prefix
from jaxrl_entropy.training import loop
from jaxrl_entropy.training.policy import (
  build_policy,
  load_policy,
  run_model,
  run_of,
  teacher_path,
)
from tests.training import tiny_config

LENGTH = 3


def _config():
  """The policy and a frozen reference with a prefix, and a critic."""
  config = tiny_config.get_config("grpo")
  config.steps = 1
  config.sft.steps = 0
  config.eval.every = 0
  config.probe.every = 0
  config.model.prefix_length = LENGTH
  config.rollout.max_prompt_length += LENGTH
  config.optimizer.learning_rate = 1e-2
  config.loss.name = "reference_kl"
  config.loss.args.coefficient = 0.1
  config.advantage.name = "gae"
  return config


def test_the_prefix_alone_is_trained_and_the_sampler_has_it(tmp_path):
  config = _config()
  before = build_policy(config)
  assert loop.train(config, tmp_path) == 0
  after = load_policy(config, tmp_path)
  own = [dict(p.params["embed"]) for p in (before, after)]
  first, last = (np.asarray(embed.pop(prefix.NAME)) for embed in own)
  assert first.shape == (LENGTH, before.model.hidden_size)
  assert (first != last).any(axis=1).all()
  jax.tree.map(
    np.testing.assert_array_equal,
    before.params | {"embed": own[0]},
    after.params | {"embed": own[1]},
  )

  ids = after.tokenizer.render("1 2")
  start = after.model.vocab_size
  assert ids[:LENGTH] == [*range(start, start + LENGTH)]
  assert after.tokenizer.decode(ids) == "1 2"

  lines = (tmp_path / loop.METRICS).read_text().splitlines()
  record, later = (json.loads(line) for line in lines)
  # The sampler and the trainer give a token the same log-prob.
  assert abs(record["sampler/mismatch_kl"]) < 1e-5
  assert abs(later["sampler/mismatch_kl"]) < 1e-5
  assert record["critic/grad_norm"] > 0
  assert later["model/parameters"] == LENGTH * before.model.hidden_size

  with pytest.raises(UserError, match="which no other run can start from"):
    run_model(run_of(tmp_path), "float32", after.mesh)


def test_a_teacher_does_not_know_the_prefix():
  config = _config()
  config.teacher.weights = "somewhere"
  with pytest.raises(UserError, match="which does not know the prefix"):
    teacher_path(config)
