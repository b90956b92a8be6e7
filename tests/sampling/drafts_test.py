"""Drafts change how many steps a completion takes, and nothing else."""

import dataclasses
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.models import config as config_lib, transformer
from jaxrl_entropy.sampling import drafts, program_inputs
from jaxrl_entropy.sampling.draft_cost import DraftCost
from jaxrl_entropy.sampling.sampler import Request, Sampler
from jaxrl_entropy.sampling.tuning import Tuning

# So few tokens that most texts repeat themselves.
CONFIG = config_lib.preset(
  "tiny",
  hidden_size=32,
  intermediate_size=64,
  num_layers=2,
  head_dim=8,
  vocab_size=4,
)
ALWAYS = Tuning(
  page_size=8,
  chunk=8,
  prefill_tokens=16,
  steps=9,
  min_bucket=1,
  draft_cost=1.0,
)
NEVER = dataclasses.replace(ALWAYS, draft_cost=100.0)


@pytest.fixture(scope="module")
def params():
  params = transformer.init(CONFIG, jax.random.key(0))
  return jax.tree.map(lambda x: x * 4 if x.ndim > 2 else x, params)


def make_sampler(tuning=ALWAYS, **settings):
  return Sampler(
    CONFIG,
    sharding.make_mesh(devices=jax.devices()[:1]),
    max_length=64,
    tuning=tuning,
    **({"slots": 3, "draft_tokens": 4} | settings),
  )


def propose(texts, count=4):
  width = max(map(len, texts)) + count + 1
  history = np.full((len(texts), width), 9, np.int32)
  for row, text in enumerate(texts):
    history[row, : len(text)] = text
  lengths = jnp.array([len(text) for text in texts])
  tokens, exists = drafts.propose(jnp.asarray(history), lengths, count)
  return [
    t.tolist() if e else None for t, e in zip(tokens, exists, strict=True)
  ]


def test_a_draft_follows_the_longest_then_the_latest_match():
  assert propose(
    [
      [1, 2, 3, 4, 5, 6, 1, 2],
      [1, 2, 3, 7, 7, 1, 2, 4, 7, 7, 1, 2],
      [5, 1, 2, 3, 0, 0, 0, 7, 1, 2, 4, 0, 5, 1, 2],
      [1, 2, 3, 4],
      [1, 1, 2],
      [1],
    ]
  ) == [[3, 4, 5, 6], [4, 7, 7, 1], [3, 0, 0, 0], None, None, None]


def test_a_draft_continues_a_loop_beyond_the_text():
  assert propose([[8, 1, 2, 3, 1, 2, 3], [5, 5, 5]]) == [
    [1, 2, 3, 1],
    [5, 5, 5, 5],
  ]


def test_values_after_the_end_of_a_text_do_not_matter():
  history = jnp.array([[1, 2, 3, 1, 2, 1, 2, 1, 2, 1]])
  tokens, exists = drafts.propose(history, jnp.array([5]), 3)
  assert (tokens[0].tolist(), bool(exists[0])) == ([3, 1, 2], True)


@pytest.mark.parametrize(
  "settings",
  [
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 0.5, "top_p": 0.9},
    {"stop_ids": (3,)},
  ],
  ids=str,
)
def test_completions_are_those_without_drafts(params, settings):
  random = np.random.default_rng(0)
  requests = [
    Request(
      random.integers(0, 4, length),
      n=n,
      max_tokens=tokens,
      seed=seed,
      **settings,
    )
    for seed, (length, n, tokens) in enumerate(
      [(1, 2, 40), (9, 12, 10), (20, 6, 44), (17, 2, 1)]
    )
  ]
  drafting = make_sampler()
  expected = make_sampler(draft_tokens=0).generate(params, requests)
  for plain, drafted in zip(
    itertools.chain(*expected),
    itertools.chain(*drafting.generate(params, requests)),
    strict=True,
  ):
    assert plain.tokens.tolist() == drafted.tokens.tolist()
    assert plain.finish == drafted.finish
    np.testing.assert_allclose(plain.logp, drafted.logp, atol=1e-4)
    np.testing.assert_allclose(plain.entropy, drafted.entropy, atol=1e-4)
  stats = drafting.draft_stats
  assert stats.accepted > 2
  assert 0 < stats.acceptance <= 1
  assert 0 < stats.draft_steps <= stats.steps


def test_drafted_tokens_follow_the_models_distribution(params):
  """Frequencies of three tokens after a prompt that repeats itself."""
  prompt, samples = (1, 2, 0, 1, 2, 0, 1, 2), 4000
  tuning = dataclasses.replace(ALWAYS, min_bucket=200, draft_bucket=200)
  sampler = make_sampler(tuning, slots=200)
  (group,) = sampler.generate(
    params, [Request(prompt, n=samples, max_tokens=3, seed=5)]
  )
  assert sampler.draft_stats.accepted > 100
  texts = np.array(list(itertools.product(range(4), repeat=3)))
  rows = np.concatenate([np.tile(prompt, (64, 1)), texts], axis=1)
  logits = transformer.logits(params, CONFIG, jnp.asarray(rows, jnp.int32))
  logp = np.asarray(jax.nn.log_softmax(logits))[:, len(prompt) - 1 : -1]
  p = np.exp(np.take_along_axis(logp, texts[..., None], 2).sum((1, 2)))
  code = np.array([c.tokens @ (16, 4, 1) for c in group])
  counts = np.bincount(code, minlength=64)
  large = p * samples > 5
  observed = np.append(counts[large], counts[~large].sum())
  expected = np.append(p[large], p[~large].sum()) * samples
  chi_square = ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
  freedom = len(expected) - 1
  # Four standard deviations above the mean of the chi-square distribution.
  assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def test_drafts_below_break_even_are_not_verified(params):
  sampler = make_sampler(NEVER)
  sampler.generate(params, [Request((1, 2, 1, 2, 1, 2), max_tokens=40)])
  assert sampler.draft_stats.steps == 40
  assert sampler.draft_stats.draft_steps == 0
  assert np.isnan(sampler.draft_stats.acceptance)


def test_metrics_are_those_since_the_last_call(params):
  sampler = make_sampler()
  request = Request((1, 2, 1, 2, 1, 2), max_tokens=40)
  sampler.generate(params, [request])
  stats = sampler.draft_stats
  expected = {
    "sampler/draft_share": stats.draft_steps / stats.steps,
    "sampler/draft_acceptance": stats.acceptance,
  }
  assert sampler.metrics() == expected
  assert sampler.metrics() == {}
  sampler.generate(params, [request])
  assert sampler.metrics() == expected


def test_large_buckets_do_not_draft(params):
  sampler = make_sampler(dataclasses.replace(ALWAYS, draft_bucket=2))
  sampler.generate(
    params, [Request((1, 2, 1, 2, 1, 2), n=3, max_tokens=(9, 9, 40))]
  )
  assert 0 < sampler.draft_stats.steps < 40


def test_a_step_copies_no_pages():
  """The loops around the steps update the cache in place."""
  sampler = make_sampler()
  engine, sizes = sampler._engine, sampler._sizes
  shapes = jax.eval_shape(lambda: transformer.init(CONFIG, jax.random.key(0)))
  slots = program_inputs.slot_rows([[]], sizes.slots, sizes, [1], 1.5)
  lowered = engine.decode_with_drafts.lower(*engine.shapes(shapes, slots))
  shape = (sizes.pages, CONFIG.num_kv_heads, sizes.page_size, CONFIG.head_dim)
  pages = f"f32[{','.join(map(str, shape))}]"
  # As users compile it: the tests' emitters write out the scatter.
  compiled = lowered.compile({"xla_cpu_use_fusion_emitters": True})
  found = re.findall(re.escape(pages) + r"\S* ([a-z-]+)\(", compiled.as_text())
  assert "scatter" in found
  assert "copy" not in found


def test_negative_drafts_are_refused():
  with pytest.raises(ValueError, match="draft_tokens is -1"):
    make_sampler(draft_tokens=-1)


def test_the_cost_of_a_step_with_drafts_is_measured():
  cost = DraftCost()
  assert cost.ratio(8) == np.inf
  cost.record(8, seconds=1.0, steps=10, draft_steps=0)
  assert cost.ratio(8) == 2.0
  cost.record(8, seconds=2.2, steps=10, draft_steps=8)
  assert cost.ratio(8) == pytest.approx((2.2 - 0.2) / 8 / 0.1)
  assert cost.ratio(16) == np.inf


def test_an_old_measurement_is_tried_again():
  cost = DraftCost()
  cost.record(1, seconds=1.0, steps=10, draft_steps=0)
  cost.record(1, seconds=90.0, steps=10, draft_steps=10)
  assert cost.ratio(1) == pytest.approx(90)
  for _ in range(64):
    cost.record(1, seconds=1.0, steps=10, draft_steps=0)
  assert cost.ratio(1) == 2.0
