"""How the report's plots look: colours, and matplotlib's settings."""

from collections.abc import Sequence
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
# The page's own font replaces matplotlib's in an SVG.
SVG_FONT = "system-ui, -apple-system, &quot;Segoe UI&quot;, Arial, sans-serif"


def colors(labels: Sequence[str]) -> dict[str, str]:
  """A colour for each variant; variants of one method share its hue.

  A label starts with its method's name, as in `Clip-Cov r=0.01`.
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
    label: shade(bases[method], index, len(group))
    for method, group in members.items()
    for index, label in enumerate(group)
  }


def shade(color: str, index: int, count: int) -> str:
  """One of `count` shades of a colour, from itself towards white."""
  amount = 0.55 * index / max(count - 1, 1)
  red, green, blue = (c + (1 - c) * amount for c in mpl.colors.to_rgb(color))
  return mpl.colors.to_hex((red, green, blue))
