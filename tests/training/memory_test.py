from pathlib import Path

import jax
from jax.sharding import SingleDeviceSharding
import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import memory
from jaxrl_entropy.training.policy import build_policy
from tests.training.runs import load

GIB = 2**30


@pytest.fixture
def free(monkeypatch):
  """Sets the bytes that each device of a kind has free."""

  def set_free(number):
    monkeypatch.setattr(memory, "_free_per_device", lambda: ("cpu", number))

  return set_free


def shapes(*sizes, dtype="float32"):
  return {str(n): jax.ShapeDtypeStruct((n,), dtype) for n in sizes}


def here(tree):
  device = SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(lambda _: device, tree)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
def test_parameters_fit_to_the_byte(free, dtype, size):
  tree = shapes(10, 32, dtype=dtype)
  free(42 * size)
  memory.check_parameters("config.model.preset='x'", tree, here(tree))
  free(42 * size - 1)
  with pytest.raises(UserError, match=r"preset='x' has 0\.00 billion"):
    memory.check_parameters("config.model.preset='x'", tree, here(tree))


@pytest.mark.parametrize(("optimizer", "copies"), [("adamw", 3), ("sgd", 1)])
def test_gradients_and_moments_are_counted(free, optimizer, copies):
  params = {"kernel": jax.numpy.zeros((4, 8))}
  free(copies * 4 * 32)
  memory.check_training(optimizer, params)
  free(copies * 4 * 32 - 1)
  with pytest.raises(UserError, match=r"set model\.lora_rank"):
    memory.check_training(optimizer, params)


def test_a_model_that_cannot_fit_is_refused_before_it_is_made():
  """The sizes of the model are computed, and nothing else is."""
  config = load("grpo", ("model.preset", "qwen2.5-32b"))
  with pytest.raises(UserError) as error:
    build_policy(config)
  message = str(error.value)
  # Its vocabulary is the few symbols of the task.
  assert "config.model.preset='qwen2.5-32b' has 31.21 billion" in message
  assert "116.3 GiB per device" in message
  assert "mesh.fsdp" in message


def test_the_host_has_memory():
  assert 0 < memory.available_on_host() < 2**50


def test_a_system_that_does_not_say_refuses_nothing(monkeypatch):
  monkeypatch.setattr(memory, "Path", lambda _: Path("/nowhere"))
  assert memory.available_on_host() > 2**60
