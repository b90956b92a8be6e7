"""The sampler against a loop that runs the whole forward for each token."""

import jax
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.models import config as config_lib, transformer
from jaxrl_entropy.ops import logprobs
from jaxrl_entropy.sampling.platform import Platform
from jaxrl_entropy.sampling.sampler import Request, Sampler

CONFIG = config_lib.preset(
  "tiny",
  hidden_size=32,
  intermediate_size=64,
  num_layers=2,
  head_dim=8,
  vocab_size=50,
)
MAX_LENGTH = 48
SMALL = Platform(page_size=8, chunk=8, prefill_tokens=16, steps=5, narrowest=1)


@pytest.fixture(scope="module")
def params():
  """Random weights, large enough for peaked distributions."""
  params = transformer.init(CONFIG, jax.random.key(0))
  return jax.tree.map(lambda x: x * 3 if x.ndim > 2 else x, params)


@pytest.fixture(scope="module")
def sampler():
  return make_sampler()


def make_sampler(mesh=None, **sizes):
  sizes = {"slots": 3, "max_prompt_length": 20} | sizes
  return Sampler(
    CONFIG,
    mesh or sharding.make_mesh(devices=jax.devices()[:1]),
    max_length=MAX_LENGTH,
    choices=SMALL,
    **sizes,
  )


def make_requests(**settings):
  """Prompts around the page size of 8, groups larger than the slots."""
  random = np.random.default_rng(0)
  shapes = [(1, 2, 12), (9, 4, 20), (20, 1, 28), (17, 2, 3), (8, 2, 9)]
  return [
    Request(
      random.integers(0, CONFIG.vocab_size, length),
      n=n,
      max_tokens=tokens,
      seed=seed,
      **settings,
    )
    for seed, (length, n, tokens) in enumerate(shapes)
  ]


@jax.jit
def _logits(params, tokens):
  return transformer.logits(params, CONFIG, tokens)


def naive_greedy(params, request):
  """Tokens by the whole forward pass, one at a time."""
  tokens = [int(token) for token in request.prompt]
  for _ in range(request.max_tokens):
    row = np.zeros((1, MAX_LENGTH), np.int32)
    row[0, : len(tokens)] = tokens
    tokens.append(int(_logits(params, row)[0, len(tokens) - 1].argmax()))
  return tokens[len(request.prompt) :]


def test_greedy_equals_the_whole_forward(params, sampler):
  requests = make_requests(temperature=0.0)
  for request, group in zip(
    requests, sampler.generate(params, requests), strict=True
  ):
    expected = naive_greedy(params, request)
    assert len(group) == request.n
    for completion in group:
      assert completion.tokens.tolist() == expected
      assert completion.finish == "length"
