"""The page of sampled responses: tokens colored by what was measured there.

The reader chooses between entropy, covariance and the rules that select tokens.
The choice is a radio button and style rules; the page has no script.
"""

from collections.abc import Sequence
import itertools

import numpy as np

from jaxrl_entropy.analysis.samples import Sample
from jaxrl_entropy.report import document, style, wording
from jaxrl_entropy.text import to_html

LEVELS = 8
"""Shades of a color."""

_MAX_SAMPLES = 200
_HIGH_PERCENTILE = 98


def render(
  name: str, samples: Sequence[Sample], notes: Sequence[str] = ()
) -> str:
  """Renders the page of a run.

  Args:
    name: name of the run.
    samples: its samples, at least one; the last ones are shown if there are
      very many.
    notes: descriptions of lines that could not be read.
  """
  shown = samples[-_MAX_SAMPLES:]
  rules = list(dict.fromkeys(rule for s in samples for rule in s.selected))
  scales = _Scales(shown)
  body = "".join(
    f"<section><h2>Step {step}</h2>"
    + "".join(_sample(sample, rules, scales) for sample in group)
    + "</section>"
    for step, group in itertools.groupby(shown, key=lambda s: s.step)
  )
  lead = f"{wording.plural(len(shown), 'sampled response')}."
  if len(shown) < len(samples):
    lead = f"The last {len(shown)} of {len(samples)} sampled responses."
  return document.render(
    name,
    "Sampled responses",
    " ".join([lead, *notes]),
    [_choices(rules), _LEGEND, f"<div id=samples>{body}</div>"],
    _css(rules),
  )


class _Scales:
  """Levels of a page's values; the highest two percent share the last."""

  def __init__(self, samples: Sequence[Sample]) -> None:
    self._entropy = _high([s.entropy for s in samples])
    self._covariance = _high([np.abs(s.covariance) for s in samples])

  def entropy(self, value: float) -> int:
    """Returns a level from 0 to `LEVELS`."""
    return _level(value, self._entropy)

  def covariance(self, value: float) -> int:
    """Returns a level from -LEVELS to `LEVELS`, with the value's sign."""
    return int(np.sign(value)) * _level(abs(value), self._covariance)


def _high(arrays: Sequence[np.ndarray]) -> float:
  values = np.concatenate(arrays)
  values = values[np.isfinite(values)]
  if not len(values):
    return 1.0
  return float(np.percentile(values, _HIGH_PERCENTILE)) or 1.0


def _level(value: float, high: float) -> int:
  if not np.isfinite(value):
    return 0
  return int(np.clip(round(LEVELS * value / high), 0, LEVELS))


def _sample(sample: Sample, rules: Sequence[str], scales: _Scales) -> str:
  tokens = "".join(
    _token(sample, index, rules, scales) for index in range(len(sample.tokens))
  )
  verdict = "correct" if sample.correct else "incorrect"
  return (
    f"<div class=sample><p class=small>Problem {to_html(sample.problem)}: "
    f"{verdict}, reward {sample.reward:.3f}, "
    f"{wording.plural(len(sample.tokens), 'token')}</p>"
    f"<pre class=prompt>{to_html(sample.prompt)}</pre>"
    f"<pre class=response>{tokens}</pre></div>"
  )


def _token(
  sample: Sample, index: int, rules: Sequence[str], scales: _Scales
) -> str:
  entropy, covariance = sample.entropy[index], sample.covariance[index]
  classes = []
  if level := scales.entropy(entropy):
    classes.append(f"e{level}")
  if level := scales.covariance(covariance):
    classes.append(f"{'p' if level > 0 else 'n'}{abs(level)}")
  chosen = [
    number
    for number, rule in enumerate(rules)
    if rule in sample.selected and sample.selected[rule][index]
  ]
  classes += [f"s{number}" for number in chosen]
  facts = (
    f"p {np.exp(sample.logp[index]):.3f}, entropy {entropy:.3f}, "
    f"covariance {covariance:+.3f}"
  )
  if chosen:
    facts += f", selected by {wording.listing([rules[n] for n in chosen])}"
  text = to_html(sample.tokens[index])
  # A token that is only a line break needs something to color.
  text = text.replace("\n", "↵\n")
  return (
    f'<span class="{" ".join(classes)}" title="{to_html(facts)}">{text}</span>'
  )


def _choices(rules: Sequence[str]) -> str:
  names = ["entropy", "covariance", *(f"selected by {rule}" for rule in rules)]
  return "".join(
    f'<label class=choice><input type=radio name=view id="v{index}"'
    f"{' checked' * (index == 0)}> {to_html(name)}</label>"
    for index, name in enumerate(names)
  )


def _css(rules: Sequence[str]) -> str:
  """Returns a rule per choice and level."""
  lines = [_LAYOUT]
  for level in range(1, LEVELS + 1):
    for choice, mark, color in (
      (0, "e", _ENTROPY_COLOR),
      (1, "p", style.ACCENT),
      (1, "n", _NEGATIVE_COLOR),
    ):
      shade = style.shade(color, LEVELS - level, LEVELS, 0.9)
      rule = f"main:has(#v{choice}:checked) .{mark}{level}"
      lines.append(f"{rule} {{ background: {shade}; }}")
  for number in range(len(rules)):
    lines.append(
      f"main:has(#v{number + 2}:checked) .s{number} "
      f"{{ background: {style.ACCENT}; color: #fff; }}"
    )
  return "\n".join(lines)


_LEGEND = (
  "<p class=small>A darker color is a larger value. Red covariance lowers the "
  "entropy in the next update, blue covariance raises it. Point at a token for "
  "its numbers.</p>"
)
_ENTROPY_COLOR, _NEGATIVE_COLOR = "#e09b13", "#2186eb"
_LAYOUT = """
.choice { display: inline-block; margin: 0 1.2rem .4rem 0; }
pre { font: 14px/1.7 ui-monospace, Menlo, Consolas, monospace; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.prompt { color: var(--muted); }
.response span { border-radius: 2px; }
.response span:hover { outline: 1px solid var(--ink); }
.sample { border-left: 3px solid var(--line); padding-left: .9rem;
  margin: 1.2rem 0; }
.sample p { margin: 0; }
"""
