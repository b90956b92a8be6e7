import json

import numpy as np
import pytest

from jaxrl_entropy.analysis import samples
from tests.analysis import synthetic


def write(folder, *rows):
  text = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / "samples.jsonl").write_text(text)


def test_samples_are_read_in_order(tmp_path):
  write(tmp_path, synthetic.SAMPLE, synthetic.SAMPLE | {"step": 40})
  loaded, notes = samples.load(tmp_path)
  assert notes == ()
  assert [sample.step for sample in loaded] == [20, 40]
  first = loaded[0]
  np.testing.assert_array_equal(first.entropy, [0.2, 1.5, 0.05, 0.0])
  assert np.isnan(first.logp[3])
  assert first.selected["top entropy"].tolist() == [False, True, True, False]


def test_a_run_without_samples_has_none(tmp_path):
  assert samples.load(tmp_path) == ([], ())


@pytest.mark.parametrize(
  "change",
  [{"tokens": ["one"]}, {"entropy": "x"}, {"reward": None}, {"selected": []}],
)
def test_malformed_samples_are_left_out_and_named(tmp_path, change):
  write(tmp_path, synthetic.SAMPLE, synthetic.SAMPLE | change)
  loaded, notes = samples.load(tmp_path)
  assert len(loaded) == 1
  assert notes == (
    "samples.jsonl: 1 line(s) without a complete sample left out: 2",
  )
