import jax
import jax.numpy as jnp
import pytest

from jaxrl_entropy.models import lora, transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.planning import flops, topology
from jaxrl_entropy.training import throughput

MODEL = preset("nano")
LENGTHS = (100, 28)


def params(model=MODEL, rank=0):
  def init():
    made = transformer.init(model, jax.random.key(0))
    names = ("q_proj", "v_proj")
    return lora.add(made, rank, names, jax.random.key(1)) if rank else made

  return jax.eval_shape(init)


DEVICES = {"sample": jax.device_count(), "update": jax.device_count()}


def test_flops_are_those_of_the_programs_products():
  """The forward pass is a third; the kernels see all pairs of a row."""
  tokens = jnp.zeros((1, 128), jnp.int32)
  counted = flops.count(
    lambda p: transformer.logits(p, MODEL, tokens), params()
  )
  attention = 4 * MODEL.num_layers * MODEL.num_heads * MODEL.head_dim * 128**2
  found = throughput.training_flops(MODEL, params(), (128,)) / 3
  assert counted == pytest.approx(found + attention / 2, rel=0.02)


def test_adapters_spare_the_gradients_of_what_is_frozen():
  whole = throughput.training_flops(MODEL, params(), LENGTHS)
  adapted = throughput.training_flops(MODEL, params(rank=1), LENGTHS)
  assert adapted == pytest.approx(whole * 2 / 3, rel=0.02)


def test_a_token_meets_the_experts_that_it_is_sent_to():
  few, many = (
    preset(
      "nano",
      num_experts=n,
      num_experts_per_tok=2,
      moe_intermediate_size=176,
    )
    for n in (4, 8)
  )
  found = [
    throughput.training_flops(model, params(model), LENGTHS)
    for model in (few, many)
  ]
  # All the difference is in the router.
  assert found[0] == pytest.approx(found[1], rel=0.01)


def test_rates_are_per_device_and_phase():
  seconds = {"sample": 2.0, "update": 4.0, "verify": 2.0}
  found = throughput.rates(seconds, 1600, LENGTHS, 1e9, DEVICES)
  devices = jax.device_count()
  assert found["throughput/verify_s"] == 2.0
  assert found["throughput/tokens_per_s"] == 200.0
  assert found["throughput/sample_tokens_per_s_per_device"] == 800 / devices
  assert found["throughput/update_tokens_per_s_per_device"] == 32 / devices
  # The peak of a CPU is not known.
  assert "throughput/update_mfu" not in found


def test_utilisation_is_the_share_of_the_peak(monkeypatch):
  monkeypatch.setattr(throughput, "peak_flops", lambda _: 1e9)
  found = throughput.rates({"update": 4.0}, 0, LENGTHS, 1e9, DEVICES)
  assert found["throughput/update_mfu"] == 0.25 / jax.device_count()


@pytest.mark.parametrize(
  ("kind", "generation"),
  [
    ("TPU v4", "v4"),
    ("TPU v5 lite", "v5e"),
    ("TPU v5p", "v5p"),
    ("TPU v5", "v5p"),
    ("TPU v6 lite", "v6e"),
  ],
)
def test_peaks_are_those_that_plan_reckons_with(kind, generation):
  peak = topology.GENERATIONS[generation].flops
  assert throughput.peak_flops(kind) == peak


def test_the_peak_of_an_unknown_device_is_not_made_up():
  assert throughput.peak_flops("cpu") is None
  assert throughput.peak_flops("NVIDIA H100 80GB HBM3") == 989e12
