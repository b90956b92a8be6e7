"""A run of seconds: the smallest decoder, all rooms in use."""

import zlib

import jax.numpy as jnp

from jaxrl_entropy import losses
from jaxrl_entropy.config import defaults
from jaxrl_entropy.data.tasks.countdown import Countdown
from jaxrl_entropy.rewards import catalog
from jaxrl_entropy.types import Mean

catalog.INLINE["coin"] = "tests.training.tiny_config:flip"


class Coin(Countdown):
  """Countdown prompts, answered right by half of all responses.

  A policy that has hardly trained gets mixed groups, so that updates move it.
  """

  name = verifier = "coin"


def flip(problem, response):
  return float(zlib.crc32(f"{problem.id} {response}".encode()) % 2)


def factual():
  """A loss that reports the facts of responses that it is given."""

  @losses.part("metric")
  def report():
    def update(loss, batch, key):
      del key
      found = {
        "facts/groups": Mean(jnp.float32(batch.group.max() + 1), 1.0),
        "facts/correct": losses.token_metric(batch.correct, batch.mask),
        "facts/accuracy": losses.token_metric(batch.group_accuracy, batch.mask),
        "facts/old_entropy": losses.token_metric(batch.old_entropy, batch.mask),
        "facts/embedding": losses.token_metric(
          jnp.square(batch.embedding).mean(1)[batch.response], batch.mask
        ),
      }
      return loss.replace(metrics=loss.metrics | found)

    return update

  return losses.objective(losses.ppo_clip(), report(), aggregate="token_mean")


def get_config(method="grpo"):
  config = defaults.get_config()
  config.name = "tiny"
  config.steps = 5
  config.model.preset = "nano"
  config.model.tokenizer = "symbols"
  config.model.compute_dtype = "float32"
  config.model.remat = "none"
  config.task.name = "tests.training.tiny_config:Coin"
  config.reward.workers = 1
  config.sft.update(steps=4, batch_size=16, learning_rate=4e-3)
  config.sft.wrong_share = 0.3
  config.optimizer.learning_rate = 3e-4
  config.critic.learning_rate = 3e-4
  config.implicit_reward.learning_rate = 3e-4
  config.rollout.group_filter = "mixed"
  config.rollout.prompts_per_step = 6
  config.rollout.train_groups = 4
  config.rollout.group_size = 4
  config.rollout.max_prompt_length = 8
  config.rollout.max_response_length = 10
  config.rollout.num_minibatches = 2
  config.eval.every = 2
  config.eval.problems = 8
  config.eval.samples = 2
  config.eval.final_temperatures = (0.5,)
  config.probe.update(every=1, states=16)
  config.checkpoint.every = 2
  config.recipe = method
  if method in ("clip_cov", "kl_cov"):
    config.loss.args.fraction = 0.1
  return config
