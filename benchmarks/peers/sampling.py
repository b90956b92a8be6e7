"""Samplers of others, on the weights of ours.

Each has `generate(load)`, which returns when every token is on the host, and
`check(config, params)`, which raises AssertionError unless it computes the same
function as our model. Making one raises ImportError where it is not installed.
"""

import dataclasses
import functools
import os
import tempfile
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import export, gguf_file
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.types import Params

_PROBE = np.arange(1, 33)[None]
# Of logits up to 40, where sums run in another order; .0076 was seen.
_ROUNDING = 0.01


class Load(Protocol):
  """Prompts and response lengths to sample."""

  def rows(self) -> list[Request]:
    """Returns one continuation per row."""
    ...


class Transformers:
  """`transformers` generate on torch: one batch, padded on the left."""

  INSTALL = "pip install torch transformers"

  def __init__(
    self, config: TransformerConfig, params: Params, static: bool = False
  ):
    """Args: static: a cache of fixed size, for which a GPU's step compiles."""
    import torch
    from transformers import AutoModelForCausalLM

    self._torch = torch
    self._device = common.torch_device()
    self._cache = {"cache_implementation": "static"} if static else {}
    with tempfile.TemporaryDirectory() as folder:
      export.save(folder, config, params)
      model = AutoModelForCausalLM.from_pretrained(folder, dtype=config.dtype)
    self._model = model.to(self._device).eval()
    self._model.generation_config.eos_token_id = None

  def check(self, config: TransformerConfig, params: Params) -> None:
    with self._torch.inference_mode():
      probe = self._torch.tensor(_PROBE, device=self._device)
      theirs = self._model(probe).logits.float().cpu().numpy()
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
    on_device = functools.partial(torch.tensor, device=self._device)
    limits = on_device([row.max_tokens for row in rows])

    def ended(ids: Any, scores: Any, **_: Any) -> Any:
      del scores
      return ids.shape[1] - width >= limits

    with torch.inference_mode():
      self._model.generate(
        on_device(tokens),
        attention_mask=on_device(mask),
        do_sample=True,
        top_k=0,
        max_new_tokens=int(limits.max()),
        stopping_criteria=[ended],
        pad_token_id=0,
        **self._cache,
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
    _assert_same(config, params, np.asarray(theirs), atol=_ROUNDING)

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


class LlamaCpp:
  """llama.cpp in float32, cache too: all rows in one batch, drawn one by one.

  It reads the packaged file itself, which has the weights of ours.
  """

  INSTALL = "pip install llama-cpp-python"

  def __init__(self, config: TransformerConfig, rows: int, length: int):
    """Args: rows: the most there are; length: of prompt and continuation."""
    import llama_cpp

    self._api = llama_cpp
    self._vocabulary = config.vocab_size
    self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(self._quiet, None)
    llama_cpp.llama_backend_init()
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
      wanted = llama_cpp.llama_model_quantize_default_params()
      wanted.ftype = llama_cpp.LLAMA_FTYPE_ALL_F32
      wanted.allow_requantize = True
      source = str(gguf_file.smollm2_path()).encode()
      target = file.name.encode()
      if llama_cpp.llama_model_quantize(source, target, wanted):
        raise RuntimeError(f"llama.cpp did not write {file.name} in float32")
      choices = llama_cpp.llama_model_default_params()
      choices.use_mmap = False
      self._model = llama_cpp.llama_model_load_from_file(target, choices)
    context = llama_cpp.llama_context_default_params()
    context.n_ctx = context.n_batch = rows * length
    context.n_seq_max = rows
    context.n_threads = context.n_threads_batch = len(os.sched_getaffinity(0))
    context.type_k = context.type_v = llama_cpp.GGML_TYPE_F32
    # Its flash attention is not float32: logits differ by up to .8.
    context.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    self._context = llama_cpp.llama_init_from_model(self._model, context)
    self._batch = llama_cpp.llama_batch_init(rows * length, 0, 1)
    self._draw = llama_cpp.llama_sampler_init_dist(0)

  def check(self, config: TransformerConfig, params: Params) -> None:
    self._forget()
    places = self._decode({0: (0, _PROBE[0])}, every=True)
    theirs = [
      np.ctypeslib.as_array(
        self._api.llama_get_logits_ith(self._context, place),
        (self._vocabulary,),
      ).copy()
      for place in range(places[0] + 1)
    ]
    _assert_same(config, params, np.stack(theirs)[None], atol=_ROUNDING)

  def generate(self, load: Load) -> None:
    rows = load.rows()
    self._forget()
    fed = {i: (0, np.asarray(row.prompt)) for i, row in enumerate(rows)}
    made = dict.fromkeys(fed, 0)
    while fed:
      places, last, fed = self._decode(fed), fed, {}
      for i, place in places.items():
        token = self._api.llama_sampler_sample(self._draw, self._context, place)
        made[i] += 1
        if made[i] < rows[i].limits[0]:
          start, tokens = last[i]
          fed[i] = start + len(tokens), np.array([token])

  def _forget(self) -> None:
    memory = self._api.llama_get_memory(self._context)
    self._api.llama_memory_clear(memory, False)

  def _decode(
    self, fed: dict[int, tuple[int, np.ndarray]], every: bool = False
  ) -> dict[int, int]:
    """Feeds each row its tokens from a position on.

    Returns:
      Where in the batch each row's last token stands.
    """
    batch, size, places = self._batch, 0, {}
    for row, (start, tokens) in fed.items():
      for offset, token in enumerate(tokens.tolist()):
        batch.token[size] = token
        batch.pos[size] = start + offset
        batch.n_seq_id[size] = 1
        batch.seq_id[size][0] = row
        batch.logits[size] = every or offset == len(tokens) - 1
        places[row] = size
        size += 1
    batch.n_tokens = size
    if self._api.llama_decode(self._context, batch):
      raise RuntimeError("llama.cpp: no room for these tokens")
    return places


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
  config: TransformerConfig,
  params: Params,
  theirs: np.ndarray,
  atol: float = 5e-3,
) -> None:
  ours = transformer.logits(params, config, jnp.asarray(_PROBE, jnp.int32))
  if config.dtype != "float32":
    atol = 0.1  # Half precision rounds the residual stream of every layer.
  np.testing.assert_allclose(np.asarray(ours), theirs, atol=atol)
