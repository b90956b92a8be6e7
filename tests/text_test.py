"""Hostile text, made safe to show."""

from html.parser import HTMLParser
import unicodedata

from hypothesis import given, strategies as st
import pytest

from jaxrl_entropy.text import printable, to_html


@pytest.mark.parametrize(
  "text",
  ["\x1b[2J", "\x07", "\r", "\x9b1m", "\u202e", "\u200b", "\u2028", "\ud800"],
)
def test_control_characters_become_visible(text):
  shown = printable(text)
  assert shown.startswith("\ufffd")
  assert len(shown) == len(text)


def test_plain_text_stays():
  assert printable("a\tb\nç √ 汉") == "a\tb\nç √ 汉"


@given(st.text())
def test_nothing_that_moves_the_cursor_is_left(text):
  kinds = {unicodedata.category(c) for c in printable(text) if c not in "\n\t"}
  assert not kinds & {"Cc", "Cf", "Cs"}


@given(st.text())
def test_html_shows_the_text_and_has_no_markup(text):
  tags, shown = [], []
  parser = HTMLParser()
  parser.handle_starttag = lambda tag, attributes: tags.append(tag)
  parser.handle_data = shown.append
  parser.feed(f"{to_html('<script>' + text)}")
  parser.close()
  assert tags == []
  assert "".join(shown) == "<script>" + printable(text)
  assert '"' not in to_html(text)
