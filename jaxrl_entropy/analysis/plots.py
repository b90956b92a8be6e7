"""Panels: small plots with direct labels, drawn by matplotlib.

A panel is one set of axes, narrow enough for a phone; a figure of the report is
a row of panels. Text is drawn as it is (no mathtext): names come from files.
"""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import io
import re

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

Array = np.ndarray

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
_SIZE = (3.9, 2.75)  # inches
_METHOD_COLORS = {
  "GRPO": "#3e4c59",
  "Clip-Cov": "#d64545",
  "KL-Cov": "#2186eb",
  "Clip-higher": "#e09b13",
  "RLOO": "#7b5ea7",
  "REINFORCE++": "#2f8f6b",
  "PRIME": "#b5508c",
}
_OTHER_COLORS = (
  "#9b6a3c",
  "#17a2a2",
  "#8a8f2a",
  "#c26dbc",
  "#5c7cfa",
  "#829ab1",
)
_STYLE = {
  "font.family": "DejaVu Sans",
  "font.size": 8.5,
  "text.color": INK,
  "text.parse_math": False,
  "axes.edgecolor": GRID,
  "axes.labelcolor": MUTED,
  "axes.labelsize": 8,
  "axes.titlesize": 9.5,
  "axes.titlelocation": "left",
  "axes.titlepad": 9,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.spines.left": False,
  "axes.grid": True,
  "axes.grid.axis": "y",
  "axes.axisbelow": True,
  "axes.formatter.use_mathtext": False,
  "axes.formatter.limits": (-4, 5),
  "grid.color": GRID,
  "grid.linewidth": 0.7,
  "xtick.color": MUTED,
  "ytick.color": MUTED,
  "xtick.labelsize": 8,
  "ytick.labelsize": 8,
  "xtick.major.size": 0,
  "ytick.major.size": 0,
  "lines.linewidth": 1.6,
  "lines.solid_capstyle": "round",
  "svg.fonttype": "none",
}
# The page's own font replaces matplotlib's in an SVG.
_SVG_FONT = "system-ui, -apple-system, &quot;Segoe UI&quot;, Arial, sans-serif"


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


def colors(labels: Sequence[str]) -> dict[str, str]:
  """A colour for each variant; variants of one method share its hue.

  A label starts with its method's name, as in `Clip-Cov fraction=0.01`.
  """
  others = iter(_OTHER_COLORS * (1 + len(labels)))
  bases: dict[str, str] = {}
  members: dict[str, list[str]] = {}
  for label in labels:
    method = label.split(" ")[0]
    if method not in bases:
      bases[method] = _METHOD_COLORS.get(method) or next(others)
    members.setdefault(method, []).append(label)
  return {
    label: _lighter(bases[method], 0.62 * index / max(len(group) - 1, 1))
    for method, group in members.items()
    for index, label in enumerate(group)
  }


def lines(
  title: str,
  curves: Sequence[Line],
  *,
  x_label: str = "step",
  floor: float | None = None,
) -> Figure:
  """Curves with their names at their ends.

  Args:
    title: what is on the vertical axis, with its unit.
    curves: the curves.
    x_label: what is on the horizontal axis.
    floor: lower end of the vertical axis.
  """
  names = [curve.label for curve in curves]
  with _axes(title, x_label, names) as (figure, axes):
    for curve in curves:
      axes.plot(curve.x, curve.y, curve.style, color=curve.color)
      if curve.band is not None:
        axes.fill_between(
          curve.x, *curve.band, color=curve.color, alpha=0.13, linewidth=0
        )
    if floor is not None:
      axes.set_ylim(bottom=floor)
    _label_ends(axes, curves)
  return figure


def scatter(
  title: str,
  clouds: Sequence[Cloud],
  curves: Sequence[Line] = (),
  *,
  x_label: str,
  zero_lines: bool = False,
) -> Figure:
  """Points, and curves through them with their names at their ends."""
  names = [each.label for each in (*clouds, *curves)]
  with _axes(title, x_label, names) as (figure, axes):
    if zero_lines:
      axes.axhline(0, color=MUTED, linewidth=0.6)
      axes.axvline(0, color=MUTED, linewidth=0.6)
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
      axes.plot(curve.x, curve.y, curve.style, color=curve.color)
    _label_ends(axes, curves)
    if any(cloud.label for cloud in clouds):
      _legend(axes)
  return figure


def bars(
  title: str,
  names: Sequence[str],
  groups: dict[str, Sequence[float]],
  palette: dict[str, str],
  *,
  x_label: str,
  logarithmic: bool = False,
) -> Figure:
  """One bar a name and group, side by side."""
  with _axes(title, x_label, list(groups)) as (figure, axes):
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
    _legend(axes)
  return figure


def svg(figure: Figure, name: str) -> str:
  """The figure as an SVG document, the same for the same figure and name."""
  buffer = io.StringIO()
  with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
    figure.savefig(buffer, format="svg", metadata={"Date": None})
  text = re.sub(r"'DejaVu Sans'", _SVG_FONT, buffer.getvalue())
  return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
  """The figure as a PNG image at 200 dots an inch."""
  buffer = io.BytesIO()
  with mpl.rc_context(_STYLE):
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
  return buffer.getvalue()


@contextlib.contextmanager
def _axes(
  title: str, x_label: str, names: Sequence[str]
) -> Iterator[tuple[Figure, Axes]]:
  """Axes that leave room for the longest name on their right."""
  with mpl.rc_context(_STYLE):
    figure = Figure(figsize=_SIZE)
    left, longest = 0.115, max(map(len, names), default=0)
    width = 1 - left - min(0.4, 0.05 + 0.0185 * longest)
    axes = figure.add_axes((left, 0.17, width, 0.7))
    axes.set_title(title, x=-left / width, fontweight="bold")
    axes.set_xlabel(x_label)
    axes.margins(x=0.02)
    yield figure, axes


def _label_ends(axes: Axes, curves: Sequence[Line]) -> None:
  """Writes each curve's name right of its last point, none over another."""
  named = [curve for curve in curves if curve.label and len(curve.y)]
  if not named:
    return
  low, high = axes.get_ylim()
  ends = np.array([curve.y[-1] for curve in named])
  for curve, place in zip(
    named, _spread(ends, 0.075 * (high - low)), strict=True
  ):
    axes.annotate(
      curve.label,
      (1.025, place),
      xycoords=("axes fraction", "data"),
      color=curve.color,
      fontsize=8.5,
      fontweight="bold",
      va="center",
    )


def _spread(places: Array, gap: float) -> Array:
  """Moves places apart until neighbours are `gap` from each other."""
  order = np.argsort(places)
  spread = places[order].astype(float)
  for _ in range(100):
    short = gap - np.diff(spread)
    if (short <= 1e-9 * gap).all():
      break
    push = np.maximum(short, 0) / 2
    spread[:-1] -= push
    spread[1:] += push
  result = np.empty_like(spread)
  result[order] = spread
  return result


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


def _lighter(color: str, amount: float) -> str:
  """The colour moved towards white: 0 keeps it, 1 is white."""
  rgb = np.array(mpl.colors.to_rgb(color))
  return mpl.colors.to_hex(rgb + (1 - rgb) * amount)
