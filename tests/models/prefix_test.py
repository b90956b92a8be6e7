import dataclasses

import jax
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.models import lora, prefix, transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import hf_config
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.sampling.sampler import Sampler
from tests import devices

# A vocabulary that four shards of the sampler's head pad.
MODEL = preset("pico", vocab_size=33, num_layers=1, prefix_length=3)
PREFIX, PROMPT = (33, 34, 35), (7, 8)
LIKE = (4, 9, 2)  # the tokens whose vectors the prefix has


def made():
  params = transformer.init(MODEL, jax.random.key(0))
  params = jax.tree.map(lambda x: x * 3, params)
  vectors = params["embed"]["embedding"][np.array(LIKE)]
  return {**params, "embed": {**params["embed"], prefix.NAME: vectors}}


def test_it_starts_as_vectors_of_the_vocabulary():
  params = transformer.init(MODEL, jax.random.key(0))
  rows = params["embed"]["embedding"]
  vectors = prefix.add(params, 5, 4, jax.random.key(1))["embed"][prefix.NAME]
  assert vectors.shape == (5, MODEL.hidden_size)
  distance = np.abs(np.asarray(vectors)[:, None] - np.asarray(rows)[None, :4])
  assert (distance.max(-1).min(1) == 0).all()


def test_a_prefix_has_at_least_one_vector():
  with pytest.raises(ValueError, match="at least 1"):
    prefix.add(made(), 0, 4, jax.random.key(1))


def test_its_vectors_act_as_those_of_tokens_in_front():
  params = made()
  tokens = np.array([[*PREFIX, *PROMPT], [*LIKE, *PROMPT]])
  for tree in (params, prefix.folded(params)):
    hidden = transformer.hidden_states(
      tree,
      MODEL,
      tokens,
      np.broadcast_to(np.arange(5), (2, 5)),
      np.ones_like(tokens),
    )
    np.testing.assert_array_equal(hidden[0], hidden[1])


def test_it_alone_is_trained():
  trained, frozen = lora.split(made())
  assert jax.tree.structure(trained) == jax.tree.structure(
    {"embed": {prefix.NAME: 0}}
  )
  joined = lora.join(trained, frozen)
  assert jax.tree.structure(joined) == jax.tree.structure(made())


def sampled(tensor):
  """Continuations behind the prefix, and behind the tokens it is like."""
  mesh = sharding.make_mesh(tensor=tensor, devices=jax.devices()[:tensor])
  sampler = Sampler(MODEL, mesh, slots=2, max_prompt_length=5, max_length=9)
  requests = [
    Request((*start, *PROMPT), max_tokens=4, seed=5) for start in (PREFIX, LIKE)
  ]
  params = jax.device_put(made(), sharding.param_shardings(made(), mesh))
  with jax.set_mesh(mesh):
    return [c.tokens.tolist() for [c] in sampler.generate(params, requests)]


def test_the_sampler_reads_it_on_a_padded_vocabulary():
  behind_prefix, behind_tokens = devices.run(sampled, 2)
  assert behind_prefix == behind_tokens
  assert max(behind_prefix) < 33


def test_what_is_trained_has_no_head_to_copy():
  trained = lora.split(made())[0]
  mesh = jax.sharding.AbstractMesh((2, 1, 1, 1, 1), sharding.AXES)
  with jax.sharding.use_abstract_mesh(mesh):
    assert transformer.copy_head(trained) is trained


def test_a_hugging_face_folder_cannot_hold_it():
  with pytest.raises(ValueError, match="soft prefix of 3 vectors"):
    hf_config.to_hf(MODEL)
  plain = dataclasses.replace(MODEL, prefix_length=0)
  assert hf_config.to_hf(plain)["vocab_size"] == 33
