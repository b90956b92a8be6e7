"""Samplers of others, on the weights of ours.

Each has `generate(load)`, which returns when every token is on the host, and
`check(config, params)`, which raises AssertionError unless it computes the same
function as our model. Making one raises ImportError where it is not installed.
"""

import dataclasses
import tempfile
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy.models import convert, transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.types import Params

_PROBE = np.arange(1, 33)[None]


class Load(Protocol):
  """What is sampled."""

  def rows(self) -> list[Request]:
    """One continuation each."""
    ...


class Transformers:
  """`transformers` generate on torch: one batch, padded on the left."""

  INSTALL = "pip install torch transformers"

  def __init__(self, config: TransformerConfig, params: Params):
    import torch
    from transformers import AutoModelForCausalLM

    self._torch = torch
    with tempfile.TemporaryDirectory() as folder:
      convert.save(folder, config, params)
      self._model = AutoModelForCausalLM.from_pretrained(folder).eval()
    self._model.generation_config.eos_token_id = None

  def check(self, config: TransformerConfig, params: Params) -> None:
    with self._torch.inference_mode():
      theirs = self._model(self._torch.tensor(_PROBE)).logits.numpy()
    _assert_same(config, params, theirs)

  def generate(self, load: Load) -> None:
    torch = self._torch
    rows = load.rows()
    width = max(len(row.prompt) for row in rows)
    tokens = np.zeros((len(rows), width), np.int64)
    mask = np.zeros_like(tokens)
    for i, row in enumerate(rows):
      tokens[i, width - len(row.prompt) :] = row.prompt
      mask[i, width - len(row.prompt) :] = 1
    limits = torch.tensor([row.max_tokens for row in rows])

    def ended(ids: Any, scores: Any, **_: Any) -> Any:
      del scores
      return ids.shape[1] - width >= limits

    with torch.inference_mode():
      self._model.generate(
        torch.tensor(tokens),
        attention_mask=torch.tensor(mask),
        do_sample=True,
        top_k=0,
        max_new_tokens=int(limits.max()),
        stopping_criteria=[ended],
        pad_token_id=0,
      )


class Tunix:
  """Tunix's sampler: one batch, padded on the left to a power of two."""

  INSTALL = "pip install google-tunix"

  def __init__(self, config: TransformerConfig, params: Params, length: int):
    """Args: length: of the longest prompt with its continuation."""
    from flax import nnx
    from tunix.generate import sampler
    from tunix.models.llama3 import model

    shape = model.ModelConfig(
      num_layers=config.num_layers,
      vocab_size=config.vocab_size,
      embed_dim=config.hidden_size,
      hidden_dim=config.intermediate_size,
      num_heads=config.num_heads,
      head_dim=config.head_dim,
      num_kv_heads=config.num_kv_heads,
      rope_theta=int(config.rope.theta),
      norm_eps=config.norm_eps,
      weight_tying=config.tie_embeddings,
    )
    make = nnx.eval_shape(lambda: model.Llama3(shape, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(make)
    state = nnx.map_state(
      lambda path, leaf: leaf.replace(_tunix_weight(path, leaf.shape, params)),
      state,
    )
    self._model = nnx.merge(graph, state)
    self._ids = _Ids()
    self._sampler = sampler.Sampler(
      self._model,
      self._ids,
      sampler.CacheConfig(
        length, config.num_layers, config.num_kv_heads, config.head_dim
      ),
    )

  def check(self, config: TransformerConfig, params: Params) -> None:
    positions = jnp.arange(_PROBE.size)[None]
    causal = jnp.tril(jnp.ones((1, _PROBE.size, _PROBE.size), bool))
    theirs, _ = self._model(jnp.asarray(_PROBE), positions, None, causal)
    # Its Llama has one base of the rotary embedding, whatever it is told.
    rope = dataclasses.replace(config.rope, theta=1e6)
    config = dataclasses.replace(config, rope=rope)
    _assert_same(config, params, np.asarray(theirs))

  def generate(self, load: Load) -> None:
    rows = load.rows()
    self._ids.rows = rows
    self._sampler(
      [str(index) for index in range(len(rows))],
      max_generation_steps=max(max(row.limits) for row in rows),
      max_prompt_length=max(len(row.prompt) for row in rows),
      eos_tokens=[-1],
      temperature=1.0,
      top_p=1.0,
    )


class _Ids:
  """A tokenizer whose texts are the numbers of the load's rows."""

  def __init__(self) -> None:
    self.rows: list[Request] = []

  def encode(self, text: str) -> list[int]:
    return np.asarray(self.rows[int(text)].prompt).tolist()

  def decode(self, ids: list[int]) -> str:
    del ids
    return ""

  def bos_id(self) -> int:
    return 0  # None is put in front.

  def eos_id(self) -> int:
    return -1

  def pad_id(self) -> int:
    return 0


def _tunix_weight(
  path: tuple[Any, ...], shape: tuple[int, ...], params: Params
) -> jax.Array:
  """Ours for a path such as `layers/3/attn/q_proj/w`."""
  names = [str(part) for part in path]
  if names[0] == "embedder":
    return params["embed"]["embedding"]
  if names[0] == "final_norm":
    return params["final_norm"]["scale"]
  layer = jax.tree.map(lambda x: x[int(names[1])], params["layers"])
  rooms = {
    "input_layernorm": "input_norm",
    "post_attention_layernorm": "post_attention_norm",
    "attn": "attention",
    "mlp": "mlp",
  }
  found = layer[rooms[names[2]]]
  leaf = found["scale"] if "scale" in found else found[names[3]]["kernel"]
  return leaf.reshape(shape)


def _assert_same(
  config: TransformerConfig, params: Params, theirs: np.ndarray
) -> None:
  ours = transformer.logits(params, config, jnp.asarray(_PROBE, jnp.int32))
  np.testing.assert_allclose(np.asarray(ours), theirs, atol=5e-3)
