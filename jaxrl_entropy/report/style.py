"""Colors and matplotlib settings of the report's plots."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl

INK, MUTED, GRID, ACCENT = "#1f2933", "#7b8794", "#e4e7eb", "#d64545"
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
STYLE: dict[Any, Any] = {
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
  "xtick.minor.size": 0,
  "ytick.minor.size": 0,
  "ytick.major.size": 0,
  "lines.linewidth": 1.6,
  "lines.solid_capstyle": "round",
  "svg.fonttype": "none",
}
# Replaces matplotlib's font in an SVG, so that plots look like the page.
SVG_FONT = "system-ui, -apple-system, &quot;Segoe UI&quot;, Arial, sans-serif"


def colors(methods: Mapping[str, str]) -> dict[str, str]:
  """Returns a color for each label; labels of one method share its hue.

  Args:
    methods: method by label.
  """
  others = iter(_OTHER_COLORS * (1 + len(methods)))
  bases: dict[str, str] = {}
  members: dict[str, list[str]] = {}
  for label, method in methods.items():
    if method not in bases:
      bases[method] = _METHOD_COLORS.get(method) or next(others)
    members.setdefault(method, []).append(label)
  return {
    label: shade(bases[method], index, len(labels))
    for method, labels in members.items()
    for index, label in enumerate(labels)
  }


def shade(color: str, index: int, count: int, last: float = 0.55) -> str:
  """Returns one of `count` shades of a color, from itself toward white.

  Args:
    color: the color.
    index: number of the shade, from 0.
    count: number of shades.
    last: share of white in the last shade.
  """
  amount = last * index / max(count - 1, 1)
  red, green, blue = (c + (1 - c) * amount for c in mpl.colors.to_rgb(color))
  return mpl.colors.to_hex((red, green, blue))
