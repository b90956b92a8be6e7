import re

from matplotlib.backends.backend_agg import FigureCanvasAgg
import numpy as np
import pytest

from jaxrl_entropy.report import images, plots, style


def texts(figure):
  return re.findall(r"<text[^>]*>([^<]*)", images.Image(figure, "name").svg)


def test_logarithmic_axes_have_plain_numbers():
  bars = plots.bars(
    "y",
    ["a", "b"],
    {"GRPO": [0.5, 20]},
    style.colors({"GRPO": "GRPO"}),
    x_label="x",
    logarithmic=True,
  )
  cloud = plots.Cloud("", np.array([10.0, 1e4]), np.zeros(2), style.INK)
  scatter = plots.scatter("y", [cloud], x_label="x", logarithmic=True)
  assert {"1", "10"} <= set(texts(bars))
  assert {"10", "100", "1000", "10000"} <= set(texts(scatter))
  assert not any("$" in text for text in (*texts(bars), *texts(scatter)))


def test_names_of_curves_that_end_together_are_moved_apart():
  x = np.arange(5.0)
  curves = [plots.Line(f"c{i}", x, 0.01 * i + x, style.INK) for i in range(4)]
  axes = plots.lines("y", curves).axes[0]
  low, high = axes.get_ylim()
  places = sorted(text.xy[1] for text in axes.texts)
  assert (np.diff(places) >= 0.07 * (high - low)).all()
  assert places[0] >= low


def test_what_looks_like_mathtext_is_drawn_as_it_is():
  line = plots.Line("$x_{", np.arange(2.0), np.arange(2.0), style.INK)
  assert "$x_{" in texts(plots.lines("$y^", [line]))


def test_variants_of_a_method_share_its_hue():
  methods = {"a": "GRPO", "b": "Clip-Cov", "c": "Clip-Cov", "d": "own"}
  found = style.colors(methods)
  assert found["b"] == style.colors({"x": "Clip-Cov"})["x"]
  assert len(set(found.values())) == 4


LONG = "KL-Cov coefficient=1.5 fraction=0.02"


def drawn_with_a_long_name():
  x = np.array([1.0, 2.0])
  line = plots.Line(LONG, x, x, style.INK)
  cloud = plots.Cloud(LONG, x, x, style.INK)
  return {
    "lines": plots.lines("y", [line]),
    "scatter": plots.scatter("y", [cloud], x_label="x"),
    "bars": plots.bars("y", ["a"], {LONG: [1.0]}, {LONG: "k"}, x_label="x"),
  }


@pytest.mark.parametrize("kind", ["lines", "scatter", "bars"])
def test_a_long_name_is_inside_the_figure(kind):
  figure = drawn_with_a_long_name()[kind]
  assert images.Image(figure, kind).svg
  renderer = FigureCanvasAgg(figure).get_renderer()
  (axes,) = figure.axes
  legend = axes.get_legend()
  named = legend if legend else axes.texts[0]
  assert named.get_window_extent(renderer).x1 <= figure.bbox.x1


def test_a_short_logarithmic_axis_has_more_than_one_number():
  cloud = plots.Cloud("", np.array([0.12, 0.85]), np.zeros(2), style.INK)
  figure = plots.scatter("y", [cloud], x_label="x", logarithmic=True)
  assert {"0.2", "0.5"} <= set(texts(figure))
