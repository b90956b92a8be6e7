import jax
import numpy as np
import pytest

from tests import devices


def _count_and_sum(x):
  return {"devices": jax.device_count(), "sum": jax.numpy.sum(x)}


def _fail():
  raise RuntimeError("broken on purpose")


def test_runs_with_the_asked_number_of_devices():
  answer = devices.run(_count_and_sum, np.arange(4.0), devices=3)
  assert answer == {"devices": 3, "sum": 6.0}
  assert isinstance(answer["sum"], np.ndarray)


def test_shows_the_error_of_the_process():
  with pytest.raises(AssertionError, match="broken on purpose"):
    devices.run(_fail, devices=1)
