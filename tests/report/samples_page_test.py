import re

from jaxrl_entropy.analysis import samples
from jaxrl_entropy.report import samples_page
from tests.analysis import synthetic


def page(**changes):
  return samples_page.render(
    "run", [samples._sample(synthetic.SAMPLE | changes)]
  )


def test_a_token_is_marked_by_entropy_covariance_and_selection():
  spans = re.findall(r'<span class="([^"]*)" title="([^"]*)">([^<]*)', page())
  classes, facts, text = spans[1]
  assert text == " + 6 = "
  assert set(classes.split()) == {"e8", "n8", "s0", "s1"}
  assert "entropy 1.500, covariance -0.800" in facts
  assert "selected by top covariance and top entropy" in facts
  assert spans[0][0].split() == ["e1"]


def test_each_rule_is_a_choice():
  text = page()
  assert "selected by top covariance" in text
  assert text.count("type=radio") == 4
  assert text.count(" checked") == 1


def test_text_of_the_model_is_escaped_and_line_breaks_are_visible():
  text = page(prompt="<b>\x1b[31m")
  assert "&lt;b&gt;" in text
  assert "\x1b" not in text
  assert "&lt;12&gt;" in text
  assert "↵\n" in text
  assert "<script" not in text


def test_values_that_are_not_finite_have_no_color():
  spans = re.findall(r'<span class="([^"]*)"', page(entropy=[None] * 4))
  assert not any(c.startswith("e") for s in spans for c in s.split())
