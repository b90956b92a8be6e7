"""Panels: small plots with direct labels, drawn by matplotlib.

A panel is one set of axes, narrow enough for a phone; a figure of the report is
a row of panels. Text is drawn as it is (no mathtext): names come from files.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import io
import re

import matplotlib as mpl
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.report import style

Array = np.ndarray

_WIDTH, _HEIGHT = 3.9, 2.75  # inches
_LEFT, _LEAST = 0.53, 1.8  # inches for the scale, and for the axes at least
_LETTER, _MARK = 0.083, 0.22  # inches of a name's letter, and of its mark
_FEW_TICKS = 5


@dataclasses.dataclass(frozen=True)
class Line:
  """A curve with a name at its end.

  Attributes:
    label: text at the last point; empty for none.
    x, y: float[n].
    color: of the line and its label.
    band: (low, high), float[n] each, drawn as a light area around the line.
    style: matplotlib's line style.
  """

  label: str
  x: Array
  y: Array
  color: str
  band: tuple[Array, Array] | None = None
  style: str = "-"


@dataclasses.dataclass(frozen=True)
class Cloud:
  """Points of one kind."""

  label: str
  x: Array
  y: Array
  color: str


@dataclasses.dataclass(frozen=True)
class Image:
  """A drawn figure: an SVG document, and the bytes of a PNG."""

  svg: str
  png: bytes


def lines(
  title: str,
  curves: Sequence[Line],
  *,
  x_label: str = "step",
  shaded: tuple[float, float] | None = None,
  beside: Sequence[Line] = (),
) -> Figure:
  """Curves with their names at their ends.

  Args:
    title: what is on the vertical axis, with its unit.
    curves: the curves.
    x_label: what is on the horizontal axis.
    shaded: ends of a part of the horizontal axis to mark.
    beside: curves of the panels beside it, which then have its scale.
  """
  names = [curve.label for curve in curves]
  with _axes(title, x_label, names) as (figure, axes):
    for curve in curves:
      axes.plot(curve.x, curve.y, curve.style, color=curve.color)
      if curve.band is not None:
        axes.fill_between(
          curve.x, *curve.band, color=curve.color, alpha=0.13, linewidth=0
        )
    _cover(axes, beside)
    _tick_few(axes, [curve.x for curve in curves])
    if shaded is not None:
      axes.axvspan(*shaded, color=style.GRID, alpha=0.6, linewidth=0)
    _widen(axes)
    _label_ends(axes, curves)
  return figure


def scatter(
  title: str,
  clouds: Sequence[Cloud],
  curves: Sequence[Line] = (),
  *,
  x_label: str,
  origin: str = "",
  logarithmic: bool = False,
  beside: Sequence[Line | Cloud] = (),
) -> Figure:
  """Points, and curves through them.

  Names stand in a legend, or at the ends of the curves if no points have one.

  Args:
    title: what is on the vertical axis, with its unit.
    clouds: the points.
    curves: the curves.
    x_label: what is on the horizontal axis.
    origin: which of the axes, "x", "y" or "xy", to draw through the origin.
    logarithmic: whether the horizontal axis is logarithmic.
    beside: what the panels beside it show, which then have its scale.
  """
  names = [cloud.label for cloud in clouds]
  names += [curve.label for curve in curves]
  marked = any(cloud.label for cloud in clouds)
  with _axes(title, x_label, names, marked) as (figure, axes):
    if "x" in origin:
      axes.axhline(0, color=style.MUTED, linewidth=0.6)
    if "y" in origin:
      axes.axvline(0, color=style.MUTED, linewidth=0.6)
    if logarithmic:
      axes.set_xscale("log")
    for cloud in clouds:
      axes.plot(
        cloud.x,
        cloud.y,
        "o",
        color=cloud.color,
        markersize=4,
        markeredgewidth=0,
        alpha=0.75,
        label=cloud.label,
      )
    for curve in curves:
      axes.plot(
        curve.x, curve.y, curve.style, color=curve.color, label=curve.label
      )
    _cover(axes, beside)
    if logarithmic:
      _plain_numbers(axes.xaxis)
    if marked:
      _legend(axes)
    else:
      _label_ends(axes, curves)
  return figure


def bars(
  title: str,
  names: Sequence[str],
  groups: Mapping[str, Sequence[float]],
  palette: Mapping[str, str],
  *,
  x_label: str,
  logarithmic: bool = False,
) -> Figure:
  """One bar a name and group, side by side."""
  with _axes(title, x_label, list(groups), marked=True) as (figure, axes):
    width = 0.8 / len(groups)
    for index, (label, heights) in enumerate(groups.items()):
      offset = (index - (len(groups) - 1) / 2) * width
      axes.bar(
        np.arange(len(names)) + offset,
        heights,
        0.92 * width,
        color=palette[label],
        label=label,
      )
    axes.set_xticks(range(len(names)), names)
    if logarithmic:
      axes.set_yscale("log")
      _plain_numbers(axes.yaxis)
    _legend(axes)
  return figure


def render(figure: Figure, name: str) -> Image:
  """Draws a figure; the same figure and name give the same bytes."""
  vector, raster = io.StringIO(), io.BytesIO()
  with mpl.rc_context({**style.STYLE, "svg.hashsalt": name}):
    figure.savefig(vector, format="svg", metadata={"Date": None})
    figure.savefig(raster, format="png", dpi=200, metadata={"Software": None})
  return Image(_shorten(vector.getvalue()), raster.getvalue())


# Of an SVG: what no reader sees, and a font that is named at every text.
_SHORTER = (
  (re.compile(r"<metadata>.*?</metadata>", re.S), ""),
  (re.compile(r'<g id="[^"]*"/>'), ""),
  (re.compile(r'<g id="[^"]*">'), "<g>"),
  (re.compile(r' transform="rotate\(-0 [^"]*"'), ""),
  (re.compile(r"(font-family: )?'DejaVu Sans'(, [^;]*)?; "), ""),
  (re.compile("</style>"), f"text{{font-family:{style.SVG_FONT}}}</style>"),
  (re.compile(r"\s*\n\s*"), "\n"),
)
_SHAPE = re.compile(r"<(?:path|use)[^>]*>")
_FINER_THAN_A_PIXEL = re.compile(r"(\d\.\d)\d+")
_POINTS = re.compile(r'<g clip-path="[^"]*">\n(?:<use [^>]*>\n)+')
_LOOK = re.compile(r' style="[^"]*"')


def _shorten(svg: str) -> str:
  svg = svg[svg.index("<svg") :]
  for pattern, replacement in _SHORTER:
    svg = pattern.sub(replacement, svg)
  svg = _SHAPE.sub(lambda m: _FINER_THAN_A_PIXEL.sub(r"\1", m[0]), svg)
  return _POINTS.sub(lambda m: _alike(m[0]), svg)


def _alike(points: str) -> str:
  """A group of points; what all look like is said once."""
  looks = set(_LOOK.findall(points))
  if len(looks) != 1:
    return points
  return _LOOK.sub("", points).replace(">", f"{looks.pop()}>", 1)


@contextlib.contextmanager
def _axes(
  title: str, x_label: str, names: Sequence[str], marked: bool = False
) -> Iterator[tuple[Figure, Axes]]:
  """Axes that leave room for the longest name on their right.

  A figure whose axes would become too narrow grows instead.
  """
  with mpl.rc_context(style.STYLE):
    longest = max(map(len, names), default=0)
    right = 0.2 + _LETTER * longest + _MARK * marked
    width = max(_WIDTH, _LEFT + _LEAST + right)
    figure = Figure(figsize=(width, _HEIGHT))
    left, inner = _LEFT / width, (width - _LEFT - right) / width
    axes = figure.add_axes((left, 0.17, inner, 0.7))
    axes.set_title(title, x=-left / inner, fontweight="bold")
    axes.set_xlabel(x_label)
    axes.margins(x=0.02)
    axes.locator_params(nbins=5, min_n_ticks=3)
    yield figure, axes


def _cover(axes: Axes, others: Sequence[Line | Cloud]) -> None:
  """Makes the scale one that would have room for others too."""
  for other in others:
    axes.update_datalim(np.column_stack([other.x, other.y]))
    band = other.band if isinstance(other, Line) else None
    for edge in band or ():
      axes.update_datalim(np.column_stack([other.x, edge]))
  axes.autoscale_view()


def _tick_few(axes: Axes, each: Sequence[Array]) -> None:
  """Ticks where the values are, if there are only a few."""
  places = np.unique(np.concatenate([*each, []]))
  if len(places) <= _FEW_TICKS:
    axes.set_xticks(places)


def _widen(axes: Axes) -> None:
  """Keeps the noise of a value that hardly changes from filling the axis."""
  low, high = axes.get_ylim()
  spare = 0.05 * max(abs(low), abs(high)) - (high - low)
  if spare > 0:
    axes.set_ylim(low - spare / 2, high + spare / 2)


def _label_ends(axes: Axes, curves: Sequence[Line]) -> None:
  """Writes each curve's name right of its last point, none over another."""
  named = [curve for curve in curves if curve.label and len(curve.y)]
  if not named:
    return
  low, high = axes.get_ylim()
  ends = np.array([curve.y[-1] for curve in named])
  places = _spread(ends, 0.075 * (high - low), low, high)
  for curve, place in zip(named, places, strict=True):
    axes.annotate(
      curve.label,
      (1.025, place),
      xycoords=("axes fraction", "data"),
      color=curve.color,
      fontsize=8.5,
      fontweight="bold",
      va="center",
    )


def _spread(places: Array, gap: float, low: float, high: float) -> Array:
  """Moves places apart until neighbours are `gap` apart.

  None is below `low`, and none above `high` if there is room.
  """
  order = np.argsort(places)
  spread = places[order].astype(float)
  for _ in range(100):
    short = gap - np.diff(spread)
    if (short <= 1e-9 * gap).all():
      break
    push = np.maximum(short, 0) / 2
    spread[:-1] -= push
    spread[1:] += push
  spread -= max(0.0, spread[-1] - high)
  spread += max(0.0, low - spread[0])
  result = np.empty_like(spread)
  result[order] = spread
  return result


def _plain_numbers(axis: Axis) -> None:
  """Numbers as they are on a logarithmic axis, where powers need mathtext."""
  low, high = axis.get_view_interval()
  if high < 30 * low:
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
  axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
  axis.set_minor_formatter(ticker.NullFormatter())


def _legend(axes: Axes) -> None:
  axes.legend(
    loc="center left",
    bbox_to_anchor=(1.0, 0.5),
    frameon=False,
    handletextpad=0.3,
    handlelength=0.9,
    labelcolor="linecolor" if not axes.patches else None,
    fontsize=8.5,
  )
