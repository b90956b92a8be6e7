import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import model_sizes
from tests.analysis import synthetic


def test_smaller_models_predict_the_largest(tmp_path):
  for index in range(4):
    size = 1e5 * 4**index
    synthetic.write_run(
      tmp_path / f"size{index}", seed=index, extra={"model/parameters": size}
    )
  section = model_sizes.build(studies.load(tmp_path))
  assert list(section.panels) == ["curves", "a", "b"]
  *rows, predicted = section.table.rows
  assert [row[0] for row in rows] == [
    *("100,000", "400,000", "1,600,000", "6,400,000"),
  ]
  truth = synthetic.A, synthetic.B, synthetic.B - synthetic.A
  for row in (*rows, predicted):
    fitted = [float(cell.split()[0]) for cell in row[2:5]]
    assert fitted == pytest.approx(truth, abs=0.05)


def test_absent_for_a_single_size(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  absent = model_sizes.build(studies.load(tmp_path))
  assert isinstance(absent, Absent)
  assert "fewer than 3 model sizes" in absent.reason
