"""Peer functions on KL, entropy, log-probs and values, in our terms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses, types
from jaxrl_entropy.ops.kl import kl
from jaxrl_entropy.ops.logprobs import TokenStats, token_stats
from jaxrl_entropy.training import controllers
from tests.golden.harness import Adapter

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]

CORE = "verl/trainer/ppo/core_algos.py::"
TORCH = "verl/utils/torch_functional.py::"
TRL = "trl/trainer/utils.py::"


def aggregation(config: Config) -> losses.Aggregate:
  name = config.get("loss_agg_mode", "token-mean").replace("-", "_")
  return getattr(losses, name)()


def value_loss(config: Config, inputs: Arrays) -> dict[str, Any]:
  mask = inputs["response_mask"].astype(bool)
  objective = losses.objective(
    losses.add_value_loss(config.get("cliprange_value", 0.5)),
    aggregate=aggregation(config),
  )
  zeros = np.zeros(mask.shape, np.float32)

  def loss(values: jax.Array) -> Any:
    batch = types.token_batch(
      *map(jnp.asarray, (zeros, zeros, zeros, mask)),
      values=values,
      old_values=jnp.asarray(inputs["values"]),
      returns=jnp.asarray(inputs["returns"]),
    )
    return objective(batch, jax.random.key(0))

  (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(
    jnp.asarray(inputs["vpreds"])
  )
  return {
    "loss": value,
    "vf_clipfrac": metrics["value/clip_share"].compute(),
    "grad_vpreds": gradient,
  }


def kl_penalty(config: Config, inputs: Arrays) -> dict[str, Any]:
  def total(logp: jax.Array) -> tuple[jax.Array, jax.Array]:
    values = kl(logp, jnp.asarray(inputs["ref_logprob"]), config["kl_penalty"])
    return values.sum(), values

  gradient, values = jax.grad(total, has_aux=True)(
    jnp.asarray(inputs["logprob"])
  )
  return {"kl": values, "grad_logprob": gradient}


def adaptive_kl(config: Config, inputs: Arrays) -> dict[str, Any]:
  controller = controllers.resolve(
    {
      "coefficient": {
        "name": "adaptive_kl",
        "target": config["target_kl"],
        "start": config["init_kl_coef"],
        "horizon": config["horizon"],
        "samples": config["n_steps"],
      }
    }
  )
  state, values = controller.init(), []
  for measured in inputs["current_kl"]:
    state = controller.update(state, {"kl/reference": measured})
    values.append(controller.coefficients(state, jnp.int32(0))["coefficient"])
  return {"values": np.array(values)}


def token_statistics(logits: jax.Array, labels: jax.Array) -> TokenStats:
  """A hidden state of 1 and a head that is the logits, token by token."""

  def one(z: jax.Array, y: jax.Array) -> TokenStats:
    return token_stats(jnp.ones((1, 1)), z[None], y[None])

  shape = logits.shape[:-1]
  flat = jax.vmap(one)(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
  return jax.tree.map(lambda x: x.reshape(shape), flat)


def distribution(field: str, name: str) -> Adapter:
  """Log-probs or entropies, and the gradient of their sum."""

  def adapter(config: Config, inputs: Arrays) -> dict[str, Any]:
    del config
    logits = jnp.asarray(inputs["logits"])
    labels = inputs.get("labels", np.zeros(logits.shape[:-1], np.int32))
    labels = jnp.asarray(labels, jnp.int32)

    def total(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
      values = getattr(token_statistics(logits, labels), field)
      return values.sum(), values

    gradient, values = jax.grad(total, has_aux=True)(logits)
    return {name: values, f"{name}_chunked": values, "grad_logits": gradient}

  return adapter


def entropy_loss(config: Config, inputs: Arrays) -> dict[str, Any]:
  logits = jnp.asarray(inputs["logits"])
  mask = jnp.asarray(inputs["response_mask"].astype(bool))
  zeros = jnp.zeros(mask.shape)
  stats = token_statistics(logits, zeros.astype(jnp.int32))
  batch = types.token_batch(zeros, zeros, zeros, mask, entropy=stats.entropy)
  objective = losses.objective(
    losses.add_entropy(1.0), aggregate=aggregation(config)
  )
  return {"loss": -objective(batch, jax.random.key(0))[0]}


ADAPTERS: dict[str, Adapter] = {
  CORE + "kl_penalty": kl_penalty,
  CORE + "compute_value_loss": value_loss,
  CORE + "compute_entropy_loss": entropy_loss,
  CORE + "AdaptiveKLController": adaptive_kl,
  TORCH + "entropy_from_logits": distribution("entropy", "entropy"),
  TORCH + "logprobs_from_logits": distribution("logp", "logprobs"),
  TRL + "entropy_from_logits": distribution("entropy", "entropy"),
  TRL + "selective_log_softmax": distribution("logp", "logps"),
}
