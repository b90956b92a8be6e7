"""A run with low-rank adapters: what moves, and what is exported."""

import json

import jax
import numpy as np

from jaxrl_entropy.cli import main
from jaxrl_entropy.models import lora
from jaxrl_entropy.models.io import checkpoints
from jaxrl_entropy.training import loop
from jaxrl_entropy.training.policy import build_policy, load_policy
from tests.training import tiny_config


def _config():
  """The policy, a frozen reference and a reward model, all with adapters."""
  config = tiny_config.get_config()
  config.steps = 2
  config.sft.steps = 0
  config.eval.every = 0
  config.probe.every = 0
  config.model.lora_rank = 2
  config.model.lora_targets = ("q_proj", "down_proj")
  config.optimizer.learning_rate = 1e-2
  config.loss.name = "reference_kl"
  config.loss.args.coefficient = 0.1
  config.advantage.name = "prime"
  return config


def test_adapters_alone_are_trained_and_exported_merged(tmp_path):
  config = _config()
  assert loop.train(config, tmp_path / "run") == 0
  adapters, base = lora.split(build_policy(config).params)
  trained = load_policy(config, tmp_path / "run").params
  moved, kept = lora.split(trained)
  jax.tree.map(np.testing.assert_array_equal, kept, base)
  assert jax.tree.structure(moved) == jax.tree.structure(adapters)
  assert all(
    (new != old).any()
    for new, old in zip(
      jax.tree.leaves(moved), jax.tree.leaves(adapters), strict=True
    )
  )

  lines = (tmp_path / "run" / loop.METRICS).read_text().splitlines()
  first, last = (json.loads(line) for line in lines[:2])
  assert first["implicit_reward/grad_norm"] > 0
  assert first["kl/reference"] < last["kl/reference"]

  flags = [f"--workdir={tmp_path / 'run'}", f"--target={tmp_path / 'out'}"]
  assert main.main(["convert", *flags]) == 0
  jax.tree.map(
    np.testing.assert_array_equal,
    checkpoints.load(tmp_path / "out")[1],
    lora.merged(trained),
  )
