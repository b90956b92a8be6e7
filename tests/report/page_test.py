"""The report in a real browser: every image there, no script error."""

import html
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from jaxrl_entropy.report import writer
from tests.analysis import synthetic

_BROWSER = next(
  filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None
)
# A window of the browser is 500 pixels wide at least, a frame is not.
_FRAME = """
<body style="margin:0">
<iframe style="width:{width}px;height:1000px;border:0" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument;
  const images = [...page.images];
  document.body.textContent = "CHECK" + JSON.stringify({{
    images: images.length,
    broken: images.filter(image => !image.naturalWidth).length,
    overflow: page.documentElement.scrollWidth - {width},
  }}) + "KCEHC";
}});
</script>
"""


def inspect(page: pathlib.Path, width: int = 1200) -> tuple[dict, list[str]]:
  """What a browser finds on a page, and the messages on its console."""
  probe = page.with_name("probe.html")
  probe.write_text(
    _FRAME.format(width=width, page=html.escape(page.read_text()))
  )
  done = subprocess.run(
    [
      _BROWSER,
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--enable-logging=stderr",
      f"--user-data-dir={page.parent / 'profile'}",
      f"--window-size={max(width, 500)},1000",
      "--virtual-time-budget=5000",
      "--dump-dom",
      probe.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=120,
  )
  found = re.search("CHECK(.*)KCEHC", done.stdout)
  assert found, done.stderr[-2000:]
  console = re.findall(r"CONSOLE.*", done.stderr)
  return json.loads(html.unescape(found[1])), console


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  if _BROWSER is None:
    pytest.skip("no chromium on PATH; on Debian: apt-get install chromium")
  study = synthetic.write_study(tmp_path_factory.mktemp("study"))
  return writer.write_report(study)[0]


@pytest.mark.parametrize("width", [390, 1200])
def test_report_is_whole_and_fits_the_screen(page, width):
  found, console = inspect(page, width)
  assert found["images"] >= 8
  assert found["broken"] == 0
  assert found["overflow"] <= 0
  assert console == []


def test_a_missing_image_and_a_script_error_are_seen(page, tmp_path):
  bad = tmp_path / "bad.html"
  bad.write_text('<img src="nowhere.png"><script>missing()</script>')
  found, console = inspect(bad)
  assert found["broken"] == 1
  assert any("missing" in line for line in console)


def test_a_page_that_is_too_wide_for_a_phone_is_seen(page, tmp_path):
  wide = tmp_path / "wide.html"
  wide.write_text('<body style="margin:0"><div style="width:450px">x</div>')
  assert inspect(wide, 390)[0]["overflow"] == 60
