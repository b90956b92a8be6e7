"""Panels: small plots with direct labels, drawn by matplotlib.

A panel is one set of axes, narrow enough for a phone; a section shows a row of
them. Text is drawn verbatim, without mathtext, because names come from files.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses

import matplotlib as mpl
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
import numpy as np

from jaxrl_entropy.report import style

Array = np.ndarray

_WIDTH, _HEIGHT = 3.9, 2.75  # inches
_LEFT = 0.53  # inches left of the axes
_MIN_AXES_WIDTH = 1.8  # inches
_LETTER_WIDTH, _MARKER_WIDTH = 0.083, 0.22  # inches of a label
_MAX_DATA_TICKS = 5
_LOG = " (log scale)"


@dataclasses.dataclass(frozen=True)
class Line:
  """A curve with a label at its end.

  Attributes:
    label: text at the last point; empty for none.
    x: float[n], on the horizontal axis.
    y: float[n], on the vertical axis.
    color: color of the line and its label.
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
  """Points of one kind.

  Attributes:
    label: kind of the points.
    x: float[n], on the horizontal axis.
    y: float[n], on the vertical axis.
    color: of the points and the label.
  """

  label: str
  x: Array
  y: Array
  color: str


def lines(
  title: str,
  curves: Sequence[Line],
  *,
  x_label: str = "step",
  shaded: tuple[float, float] | None = None,
  logarithmic: bool = False,
  beside: Sequence[Line] = (),
) -> Figure:
  """Draws curves with labels at their ends.

  Args:
    title: quantity on the vertical axis, with its unit.
    curves: the curves.
    x_label: quantity on the horizontal axis.
    shaded: interval of the horizontal axis to mark.
    logarithmic: whether the horizontal axis is logarithmic; its label says so.
    beside: curves of neighboring panels, which then share the scale.
  """
  x_label += _LOG * logarithmic
  names = [curve.label for curve in curves]
  with _axes(title, x_label, names) as (figure, axes):
    if logarithmic:
      axes.set_xscale("log")
    for curve in curves:
      axes.plot(curve.x, curve.y, curve.style, color=curve.color)
      if curve.band is not None:
        axes.fill_between(
          curve.x, *curve.band, color=curve.color, alpha=0.13, linewidth=0
        )
    _cover(axes, beside)
    if logarithmic:
      _plain_numbers(axes.xaxis)
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
  """Draws points, and curves through them.

  Labels are in a legend, or at the ends of the curves if no points have one.

  Args:
    title: quantity on the vertical axis, with its unit.
    clouds: the points.
    curves: the curves.
    x_label: quantity on the horizontal axis.
    origin: which axes, "x", "y" or "xy", to draw through the origin.
    logarithmic: whether the horizontal axis is logarithmic; its label says so.
    beside: content of neighboring panels, which then share the scale.
  """
  x_label += _LOG * logarithmic
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
    if "x" not in origin:
      _widen(axes)
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
  """Draws one bar per name and group, side by side.

  Args:
    title: quantity on the vertical axis, with its unit.
    names: places on the horizontal axis.
    groups: heights at all places, by label.
    palette: color by label.
    x_label: quantity on the horizontal axis.
    logarithmic: whether the vertical axis is logarithmic; the title says so.
  """
  title += _LOG * logarithmic
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


@contextlib.contextmanager
def _axes(
  title: str, x_label: str, names: Sequence[str], marked: bool = False
) -> Iterator[tuple[Figure, Axes]]:
  """Yields axes that leave room for the longest label on their right.

  A figure whose axes would become too narrow is made wider instead.
  """
  with mpl.rc_context(style.STYLE):
    longest = max(map(len, names), default=0)
    right = 0.2 + _LETTER_WIDTH * longest + _MARKER_WIDTH * marked
    width = max(_WIDTH, _LEFT + _MIN_AXES_WIDTH + right)
    figure = Figure(figsize=(width, _HEIGHT))
    left, inner = _LEFT / width, (width - _LEFT - right) / width
    axes = figure.add_axes((left, 0.17, inner, 0.7))
    axes.set_title(title, x=-left / inner, fontweight="bold")
    axes.set_xlabel(x_label)
    axes.margins(x=0.02)
    axes.locator_params(nbins=5, min_n_ticks=3)
    yield figure, axes


def _cover(axes: Axes, others: Sequence[Line | Cloud]) -> None:
  """Extends the scale so that `others` would fit too."""
  for other in others:
    axes.update_datalim(np.column_stack([other.x, other.y]))
    band = other.band if isinstance(other, Line) else None
    for edge in band or ():
      axes.update_datalim(np.column_stack([other.x, edge]))
  axes.autoscale_view()


def _tick_few(axes: Axes, values: Sequence[Array]) -> None:
  """Places ticks at the values, or at every second, if these are few."""
  places = np.unique(np.concatenate([*values, []]))
  for some in (places, places[::2]):
    if len(some) <= _MAX_DATA_TICKS:
      axes.set_xticks(some)
      return


def _widen(axes: Axes) -> None:
  """Extends a narrow vertical axis, so that noise does not fill it.

  The axis of values that are never negative does not extend below 0.
  """
  low, high = axes.get_ylim()
  spare = 0.05 * max(abs(low), abs(high)) - (high - low)
  if spare > 0:
    low, high = low - spare / 2, high + spare / 2
  if axes.dataLim.ymin >= 0:
    low = max(low, 0.0)
  axes.set_ylim(low, high)


def _label_ends(axes: Axes, curves: Sequence[Line]) -> None:
  """Writes each curve's label right of its last point, without overlaps."""
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
  """Moves places until neighbors are `gap` apart.

  None is below `low`; none is above `high` if there is room.
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
  """Writes plain numbers on a logarithmic axis: powers would need mathtext."""
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
