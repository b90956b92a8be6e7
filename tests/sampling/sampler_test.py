"""The sampler against a loop that runs the whole forward for each token."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.models import config as config_lib, transformer
from jaxrl_entropy.ops import logprobs
from jaxrl_entropy.planning import hlo
from jaxrl_entropy.sampling.logits import BLOCK
from jaxrl_entropy.sampling.request import Uniform
from jaxrl_entropy.sampling.sampler import Request, Sampler
from jaxrl_entropy.sampling.tuning import Tuning
from tests import devices

CONFIG = config_lib.preset(
  "tiny",
  hidden_size=32,
  intermediate_size=64,
  num_layers=2,
  head_dim=8,
  vocab_size=50,
)
MAX_LENGTH = 48
SMALL = Tuning(page_size=8, chunk=8, prefill_tokens=16, steps=5, min_bucket=1)


@pytest.fixture(scope="module")
def params():
  """Random weights, large enough for peaked distributions."""
  params = transformer.init(CONFIG, jax.random.key(0))
  return jax.tree.map(lambda x: x * 3 if x.ndim > 2 else x, params)


@pytest.fixture(scope="module")
def sampler():
  return make_sampler()


def make_sampler(mesh=None, config=CONFIG, **sizes):
  defaults = {
    "slots": 3,
    "max_prompt_length": 20,
    "max_length": MAX_LENGTH,
    "tuning": SMALL,
  }
  return Sampler(
    config,
    mesh or sharding.make_mesh(devices=jax.devices()[:1]),
    **(defaults | sizes),
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


def test_new_weights_leave_nothing_of_the_old(params, sampler):
  request = make_requests(temperature=0.0)[1]
  sampler.generate(params, [request])
  changed = jax.tree.map(lambda x: x[..., ::-1], params)
  (group,) = sampler.generate(changed, [request])
  expected = naive_greedy(changed, request)
  assert expected != naive_greedy(params, request)
  assert [c.tokens.tolist() for c in group] == [expected] * request.n


@pytest.mark.parametrize(
  ("tokenizer_size", "filters"),
  [(0, {}), (23, {}), (0, {"top_p": 0.7}), (23, {"top_k": 3})],
)
def test_log_probs_equal_the_trainers(params, tokenizer_size, filters):
  """Filters change the distribution that tokens are drawn from, and no more."""
  config = dataclasses.replace(CONFIG, tokenizer_size=tokenizer_size)
  request = make_requests(temperature=0.7, **filters)[1]
  (group,) = make_sampler(config=config).generate(params, [request])
  for completion in group:
    tokens = np.concatenate([request.prompt, completion.tokens])[None]
    positions = np.arange(tokens.shape[1], dtype=np.int32)[None]
    hidden = transformer.hidden_states(
      params, CONFIG, tokens, positions, np.ones_like(tokens)
    )
    start = len(request.prompt) - 1
    head = transformer.lm_head(params, CONFIG)

    def stats(
      temperature, hidden=hidden, start=start, head=head, at=completion
    ):
      return logprobs.token_stats(
        hidden[0, start:-1],
        head,
        at.tokens,
        temperature=temperature,
        vocabulary=config.real_vocab_size,
      )

    sampled, raw = stats(0.7), stats(1.0)
    np.testing.assert_allclose(
      completion.tempered_logp, sampled.logp, atol=1e-4
    )
    kept_mass = np.exp(completion.tempered_logp - completion.logp)
    if filters:
      assert (kept_mass < 1 + 1e-4).all()
      assert kept_mass.min() < 0.95
    else:
      np.testing.assert_allclose(kept_mass, 1, atol=1e-4)
    np.testing.assert_allclose(completion.raw_logp, raw.logp, atol=1e-4)
    np.testing.assert_allclose(completion.entropy, sampled.entropy, atol=1e-4)
    assert (completion.tokens < config.real_vocab_size).all()


def test_an_answer_does_not_depend_on_its_neighbours(params, sampler):
  requests = make_requests(temperature=1.0)
  together = sampler.generate(params, requests)
  reverse = sampler.generate(params, requests[::-1])[::-1]
  alone = [sampler.generate(params, [request])[0] for request in requests]
  for groups in zip(together, reverse, alone, strict=True):
    for a, b, c in zip(*groups, strict=True):
      assert a.tokens.tolist() == b.tokens.tolist() == c.tokens.tolist()
  first, second = together[1][:2]
  assert first.tokens.tolist() != second.tokens.tolist()


def test_programs_compile_once_per_bucket(params):
  sampler = make_sampler()
  assert sampler.compilations == 0
  for seed in range(3):
    for length in (3, 12, 20):
      request = Request(np.arange(length), n=seed + 2, max_tokens=8, seed=seed)
      sampler.generate(params, [request])
  # Page copies, prefill of one row or two, decoding in one slot or three.
  buckets = SMALL.prefill_buckets(8) + SMALL.batch_buckets(3)
  assert sampler.compilations == 1 + len(buckets)


def test_a_tight_cache_gives_the_same_answers(params, sampler):
  """Sequences that lose their pages resume where they were."""
  requests = make_requests(temperature=1.0)
  tight = make_sampler(kv_tokens=6 * SMALL.page_size)
  for expected, group in zip(
    sampler.generate(params, requests),
    tight.generate(params, requests),
    strict=True,
  ):
    for a, b in zip(expected, group, strict=True):
      assert a.tokens.tolist() == b.tokens.tolist()
      np.testing.assert_allclose(a.logp, b.logp, atol=1e-4)


def test_what_can_never_fit_is_refused_with_the_sum(params):
  tight = make_sampler(kv_tokens=3 * SMALL.page_size)
  with pytest.raises(ValueError, match=r"9 prompt tokens \+ 20 max_tokens"):
    tight.generate(params, make_requests())


@pytest.mark.parametrize(
  ("request_", "complaint"),
  [
    (Request(range(21)), "max_prompt_length is 20"),
    (Request(range(20), max_tokens=29), "= 49, above"),
    (Request((1,), stop_ids=tuple(range(9))), "9 stop_ids"),
    (Request((1,), stop_strings=("x",)), "decode_text"),
    (Request((1, 50)), r"request 0 has the token id 50 in its prompt"),
    (Request((1, -2)), "ids from 0 to 49"),
    (Request((1,), stop_ids=(3, 70)), "70 in its stop_ids"),
  ],
)
def test_impossible_requests_are_refused(params, sampler, request_, complaint):
  with pytest.raises(ValueError, match=complaint):
    sampler.generate(params, [request_])


@pytest.mark.parametrize(
  ("field", "value", "complaint"),
  [
    ("slots", 0, "slots is 0: it must be at least 1"),
    ("max_prompt_length", 0, "max_prompt_length is 0"),
    ("kv_tokens", -8, "kv_tokens is -8"),
    ("max_length", 513, "max_length is 513, and the model was made for 512"),
    ("weight_dtype", "int4", "did you mean 'int8'"),
  ],
)
def test_impossible_samplers_are_refused(field, value, complaint):
  with pytest.raises(ValueError, match=complaint):
    make_sampler(**{field: value})


def test_nothing_is_answered_with_nothing(params, sampler):
  assert sampler.generate(params, []) == []


def test_progress_is_told_before_each_step_and_may_end_it(params, sampler):
  requests, told = make_requests()[:2], []
  total = sum(request.n for request in requests)

  def stop_at_the_third(*counts):
    told.append(counts)
    if len(told) == 3:
      raise InterruptedError

  with pytest.raises(InterruptedError):
    sampler.generate(params, requests, stop_at_the_third)
  assert told[0] == (0, total)
  assert told == sorted(told)
  assert told[-1][0] < total


def test_stop_ids_end_a_continuation_and_belong_to_it(params, sampler):
  request = Request((1, 2, 3), max_tokens=20, seed=5)
  ((free,),) = sampler.generate(params, [request])
  stop = int(free.tokens[7])
  ((short,),) = sampler.generate(
    params, [dataclasses.replace(request, stop_ids=(49, stop))]
  )
  end = free.tokens.tolist().index(stop) + 1
  assert short.tokens.tolist() == free.tokens[:end].tolist()
  np.testing.assert_array_equal(short.logp, free.logp[:end])
  assert (short.finish, free.finish) == ("stop", "length")


def test_stop_strings_end_at_the_token_that_completes_them(params):
  sampler = make_sampler(decode_text=lambda ids: " ".join(map(str, ids)))
  request = Request((1, 2, 3), max_tokens=20, seed=5)
  ((free,),) = sampler.generate(params, [request])
  string = f"{free.tokens[6]} {free.tokens[7]}"
  ((short,),) = sampler.generate(
    params, [dataclasses.replace(request, stop_strings=(string,))]
  )
  assert short.tokens.tolist() == free.tokens[: len(short.tokens)].tolist()
  assert len(short.tokens) == len(short.logp) <= 8
  assert string in " ".join(map(str, short.tokens))
  assert string not in " ".join(map(str, short.tokens[:-1]))
  assert short.finish == "stop"


def test_partial_continuations_go_on_as_if_never_cut(params, sampler):
  request = Request(np.arange(9), n=3, max_tokens=20, stop_ids=(7,), seed=1)
  (whole,) = sampler.generate(params, [request])
  cut = dataclasses.replace(request, max_tokens=6)
  (begun,) = sampler.generate(params, [cut])
  marked = [dataclasses.replace(part, logp=part.logp - 1) for part in begun]
  (resumed,) = sampler.generate(
    params, [dataclasses.replace(request, partial=tuple(marked))]
  )
  for part, end, reference in zip(marked, resumed, whole, strict=True):
    done = len(part.tokens)
    assert end.tokens.tolist() == reference.tokens.tolist()
    assert end.finish == reference.finish
    # The log-probs of the behavior policy are kept, not recomputed.
    np.testing.assert_array_equal(end.logp[:done], part.logp)
    np.testing.assert_allclose(
      end.logp[done:], reference.logp[done:], atol=1e-4
    )


def test_streamed_tokens_are_the_completions(params, sampler):
  requests = make_requests()
  streamed, completions = {}, {}
  for event in sampler.stream(params, requests):
    key = event.request, event.sample
    streamed.setdefault(key, []).extend(event.tokens.tolist())
    if event.completion is not None:
      completions[key] = event.completion.tokens.tolist()
  assert streamed == completions
  assert len(completions) == sum(request.n for request in requests)


def test_a_group_comes_with_the_last_of_its_completions(params, sampler):
  requests = make_requests()
  finished, groups = [set() for _ in requests], {}
  for event in sampler.stream(params, requests):
    if event.completion is not None:
      finished[event.request].add(event.sample)
    complete = len(finished[event.request]) == requests[event.request].n
    assert (event.group is not None) == (
      complete and event.completion is not None
    )
    if event.group is not None:
      groups[event.request] = event.group
      assert event.group[event.sample] is event.completion
  expected = sampler.generate(params, requests)
  for index, group in enumerate(expected):
    for a, b in zip(groups[index], group, strict=True):
      assert a.tokens.tolist() == b.tokens.tolist()


def test_a_sampler_has_defaults(params):
  sampler = Sampler(CONFIG)
  (group,) = sampler.generate(params, [Request((1, 2), n=2)], version=3)
  assert [len(completion.tokens) for completion in group] == [16, 16]
  assert all((completion.versions == 3).all() for completion in group)


def test_the_weights_are_copied_before_a_stream_is_read(params, sampler):
  """An optimizer that donates its parameters does not disturb a rollout."""
  requests = make_requests()[:2]
  expected = sampler.generate(params, requests)
  mine = jax.tree.map(jnp.copy, params)
  events = sampler.stream(mine, requests)
  jax.tree.map(lambda x: x.delete(), mine)
  for event in events:
    if event.completion is not None:
      reference = expected[event.request][event.sample]
      assert event.completion.tokens.tolist() == reference.tokens.tolist()


def test_new_weights_take_over_between_steps(params):
  """Each token has the log-prob of its version, given all tokens before it."""
  sampler = make_sampler(slots=2)
  requests = make_requests()[:2]
  policies = {7: params, 8: jax.tree.map(lambda x: x * 0.9, params)}
  completions, updated = [], False
  for event in sampler.stream(params, requests, version=7):
    if event.completion is not None:
      completions.append((requests[event.request], event.completion))
    if not updated:
      mine = jax.tree.map(jnp.copy, policies[8])
      sampler.update_params(mine, version=8)
      jax.tree.map(lambda x: x.delete(), mine)
      updated = True
  spanning = 0
  for request, completion in completions:
    versions = completion.versions
    assert (np.diff(versions) >= 0).all()
    spanning += versions[0] < versions[-1]
    row = np.zeros((1, MAX_LENGTH), np.int32)
    text = np.concatenate([request.prompt, completion.tokens])
    row[0, : len(text)] = text
    place = np.arange(len(request.prompt) - 1, len(text) - 1)
    for version, policy in policies.items():
      logp = np.asarray(jax.nn.log_softmax(_logits(policy, row)[0]))
      logp = logp[place, completion.tokens]
      same = versions == version
      np.testing.assert_allclose(completion.logp[same], logp[same], atol=1e-4)
      if not same.all():
        assert np.abs(completion.logp - logp)[~same].max() > 1e-3
  assert spanning == 2


def test_an_update_needs_a_stream(params, sampler):
  with pytest.raises(ValueError, match="needs a stream in progress"):
    sampler.update_params(params, 1)
  for _ in sampler.stream(params, make_requests()[:1]):
    pass
  with pytest.raises(ValueError, match="needs a stream in progress"):
    sampler.update_params(params, 1)


@pytest.mark.parametrize(("dtype", "close"), [("bfloat16", 0.1), ("int8", 0.2)])
def test_small_weights_cost_a_small_mismatch(params, dtype, close):
  request = Request(np.arange(9), n=4, max_tokens=24, seed=2)
  (group,) = make_sampler(weight_dtype=dtype).generate(params, [request])
  gaps = []
  for completion in group:
    tokens = np.concatenate([request.prompt, completion.tokens])[None]
    row = np.asarray(_logits(params, np.pad(tokens, ((0, 0), (0, 15)))))[0]
    logp = np.asarray(jax.nn.log_softmax(row))[
      np.arange(8, 8 + 24), completion.tokens
    ]
    gaps += (completion.logp - logp).tolist()
  assert 0 < np.abs(gaps).mean() < close


def _sample_on_eight(params):
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  params = jax.device_put(params, sharding.param_shardings(params, mesh))
  return make_sampler(mesh, slots=4).generate(params, make_requests())


def test_eight_devices_give_the_same_tokens_as_one(params, sampler):
  eight = devices.run(_sample_on_eight, jax.tree.map(np.asarray, params))
  one = sampler.generate(params, make_requests())
  for expected, group in zip(one, eight, strict=True):
    for a, b in zip(expected, group, strict=True):
      assert a.tokens.tolist() == b.tokens.tolist()
      np.testing.assert_allclose(a.logp, b.logp, atol=1e-5)
      np.testing.assert_allclose(a.entropy, b.entropy, atol=1e-5)


EXPERTS = dataclasses.replace(CONFIG, num_experts=4, num_experts_per_tok=2)


def _sample_experts(**sizes):
  """Answers of a mixture of experts on a mesh of these sizes."""
  mesh = sharding.make_mesh(**sizes)
  params = transformer.init(EXPERTS, jax.random.key(0))
  params = jax.tree.map(lambda x: x * 3 if x.ndim > 2 else x, params)
  params = jax.device_put(params, sharding.param_shardings(params, mesh))
  sampler = make_sampler(mesh, config=EXPERTS, slots=4)
  return sampler.generate(params, make_requests()[:2])


def _sample_experts_on_eight():
  return _sample_experts(fsdp=2, tensor=2, expert=2)


def test_split_experts_give_the_same_tokens():
  whole = _sample_experts(data=-1)
  split = devices.run(_sample_experts_on_eight)
  for expected, group in zip(whole, split, strict=True):
    for a, b in zip(expected, group, strict=True):
      assert a.tokens.tolist() == b.tokens.tolist()
      np.testing.assert_allclose(a.logp, b.logp, atol=1e-5)


def test_routes_are_those_of_the_whole_forward():
  params = transformer.init(EXPERTS, jax.random.key(0))
  params = jax.tree.map(lambda x: x * 3 if x.ndim > 2 else x, params)
  # Few pages: sequences are preempted and computed again.
  sampler = make_sampler(config=EXPERTS, routes=True, kv_tokens=80)
  requests = make_requests()

  @jax.jit
  def choose(tokens):
    position = jnp.arange(MAX_LENGTH)[None]
    _, chosen = transformer.run_layers(
      params,
      EXPERTS,
      tokens,
      position,
      jnp.ones_like(tokens),
      of_router=lambda scores, _: jax.lax.top_k(scores, 2)[1],
    )
    return jnp.moveaxis(chosen[:, 0], 0, 1)

  groups = sampler.generate(params, requests)
  for request, group in zip(requests, groups, strict=True):
    for completion in group:
      tokens = np.concatenate([request.prompt, completion.tokens])[None]
      padded = np.pad(tokens, ((0, 0), (0, MAX_LENGTH - tokens.size)))
      expected = np.asarray(choose(padded))[: tokens.size - 1]
      np.testing.assert_array_equal(completion.routes, expected)


def test_a_dense_model_has_no_routes():
  with pytest.raises(ValueError, match="no experts"):
    make_sampler(routes=True)


WIDE = dataclasses.replace(CONFIG, vocab_size=530)


def _sample_filtered(tensor):
  """Answers of the same weights, with the vocabulary in `tensor` parts."""
  mesh = sharding.make_mesh(
    fsdp=1, tensor=tensor, devices=jax.devices()[:tensor]
  )
  params = transformer.init(WIDE, jax.random.key(0))
  params = jax.tree.map(lambda x: x * 3 if x.ndim > 2 else x, params)
  params = jax.device_put(params, sharding.param_shardings(params, mesh))
  sampler = Sampler(
    WIDE, mesh, slots=8, max_prompt_length=8, max_length=40, tuning=SMALL
  )
  request = Request(range(8), n=8, max_tokens=30, temperature=1.3, top_k=20)
  return sampler.generate(params, [request])[0]


def test_a_split_vocabulary_keeps_the_same_tokens():
  """The last one that top-k keeps is found equal to itself everywhere."""
  whole, split = _sample_filtered(1), devices.run(_sample_filtered, 2)
  for a, b in zip(whole, split, strict=True):
    assert a.tokens.tolist() == b.tokens.tolist()
    np.testing.assert_allclose(a.logp, b.logp, atol=1e-5)


def _sample_a_share(params):
  """Every process brings requests of its own."""
  mesh = sharding.make_mesh(data=2, tensor=2)
  place = jax.jit(
    lambda x: x, out_shardings=sharding.param_shardings(params, mesh)
  )
  mine = make_requests()[jax.process_index() :: jax.process_count()]
  return make_sampler(mesh, slots=4).generate(place(params), mine)


def test_two_processes_give_the_same_tokens_as_one(params, sampler):
  shares = devices.run_together(
    _sample_a_share, jax.tree.map(np.asarray, params), processes=2, devices=2
  )
  for index, share in enumerate(shares):
    alone = sampler.generate(params, make_requests())[index::2]
    for expected, group in zip(alone, share, strict=True):
      for a, b in zip(expected, group, strict=True):
        assert a.tokens.tolist() == b.tokens.tolist()
        np.testing.assert_allclose(a.logp, b.logp, atol=1e-5)


def _traffic_of_decode(rows):
  """Collectives of a program with `rows` slots on each part of the mesh."""
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  config = dataclasses.replace(CONFIG, vocab_size=3000)
  sampler = Sampler(
    config, mesh, slots=4 * rows, max_prompt_length=8, max_length=MAX_LENGTH
  )
  shapes = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
  function, args = sampler.programs(shapes)["decode"]
  text = function.lower(*args).compile().as_text()
  return hlo.collectives(text, mesh.shape)


def test_a_split_vocabulary_is_not_gathered():
  """What crosses the mesh for a token: sums, and the block it is drawn from."""
  rows = 4
  found = devices.run(_traffic_of_decode, rows)
  assert any("tensor" in one.axes for one in found)
  for one in found:
    assert math.prod(one.shape) <= rows * BLOCK, one


def test_the_last_continuations_are_drawn_uniformly(sampler, params):
  """Mixed-CUTS: half of a group as usual, half uniform after two tokens."""
  plain = Request(np.arange(1, 12), n=4, max_tokens=8, seed=3)
  mixed = dataclasses.replace(
    plain, uniform=Uniform(samples=2, top_k=4, floor=0.0, after=2)
  )
  (usual,), (changed,) = (
    sampler.generate(params, [request]) for request in (plain, mixed)
  )
  for before, after in zip(usual[:2], changed[:2], strict=True):
    np.testing.assert_array_equal(before.tokens, after.tokens)
  for before, after in zip(usual[2:], changed[2:], strict=True):
    np.testing.assert_array_equal(before.tokens[:2], after.tokens[:2])
    np.testing.assert_allclose(after.logp[2:], -np.log(4), atol=1e-5)
    assert (after.tempered_logp[2:] != after.logp[2:]).all()
