"""Rendering of figures as compact SVG documents and as PNG files."""

import functools
import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

from jaxrl_entropy.report import style


class Image:
  """A figure as an SVG document and as a PNG file.

  The same figure and name give the same bytes. The PNG is rendered when it is
  asked for: most reports are written without it.

  Args:
    figure: to render.
    name: on the page, which makes the SVG's identifiers differ from others'.
  """

  def __init__(self, figure: Figure, name: str) -> None:
    self._figure, self._name = figure, name

  @functools.cached_property
  def svg(self) -> str:
    """The SVG document."""
    file = io.StringIO()
    with mpl.rc_context({**style.STYLE, "svg.hashsalt": self._name}):
      self._figure.savefig(file, format="svg", metadata={"Date": None})
    return _shorten(file.getvalue())

  @functools.cached_property
  def png(self) -> bytes:
    """The bytes of the PNG file."""
    file = io.BytesIO()
    with mpl.rc_context(style.STYLE):
      self._figure.savefig(
        file, format="png", dpi=200, metadata={"Software": None}
      )
    return file.getvalue()


# Removes what is invisible, and names the font once instead of at every text.
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
  """Moves the style that all points of a group share to the group."""
  looks = set(_LOOK.findall(points))
  if len(looks) != 1:
    return points
  return _LOOK.sub("", points).replace(">", f"{looks.pop()}>", 1)
