"""docs/index.html: current, small, without a network, true, and it moves."""

import importlib.util
import json
import re
import subprocess
import sys
from urllib.parse import unquote

import pytest
from conftest import CHROMIUM, ROOT

PAGE = ROOT / "docs" / "index.html"
FIGURES = {"answers", "cloud", "share", "loss", "accuracy", "step", "dial"}

# Put in front of the page's scripts: notes whatever goes wrong, then moves each control once through its values.
WATCH = """<script>
const wrong = [], note = (...what) => wrong.push(what.map(String).join(" "));
addEventListener("error", (event) => note(event.message), true);
addEventListener("unhandledrejection", (event) => note(event.reason));
addEventListener("securitypolicyviolation", (event) => note("asks for", event.blockedURI));
console.error = console.warn = note;
addEventListener("load", async () => {
  const rest = () => new Promise((done) => setTimeout(done, 600));
  const drawings = () => Object.fromEntries([...document.querySelectorAll("figure svg")]
    .map((svg) => [svg.closest("figure").id, svg.outerHTML]));
  const moves = {}, labels = [];
  const tried = async (name, act) => {
    const before = drawings();
    act();
    await rest();
    const after = drawings();
    moves[name] = Object.keys(after).filter((id) => after[id] !== before[id]);
  };
  const slide = (id, value) => () => {
    const slider = document.getElementById(id);
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    labels.push(slider.getAttribute("aria-valuetext"));
  };
  await rest();
  for (let rate = 0; rate < 9; rate += 1) await tried("rate " + rate, slide("rate", rate));
  for (let epoch = 0; epoch < 11; epoch += 1) await tried("epoch " + epoch, slide("epoch", epoch));
  for (let run = 0; run < 5; run += 1) await tried("run " + run, () => document.getElementById("run-" + run).click());
  await tried("play", () => document.getElementById("play").click());
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const numbers = /NaN|undefined|Infinity/.test(document.querySelector("main").innerHTML);
  const seen = { wrong, moves, labels, loaded, numbers, spoken: document.getElementById("spoken").textContent,
    wide: document.documentElement.scrollWidth - innerWidth };
  document.documentElement.dataset.seen = encodeURIComponent(JSON.stringify(seen));
});
</script>"""


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text()


def test_it_is_that_of_the_stored_runs(page):
    spec = importlib.util.spec_from_file_location("page_build", ROOT / "docs" / "page" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert build.made() == page, "run `python docs/page/build.py` and commit docs/index.html"


def test_it_is_small():
    assert PAGE.stat().st_size < 1_500_000


def test_it_loads_nothing(page):
    hypertext = re.sub(r"<style>.*?</style>|<script.*?</script>", "", page, flags=re.S)
    for name, attributes in re.findall(r"<(\w+)([^>]*)>", hypertext):
        if name != "a":
            assert not re.search(r"\b(src|srcset|href|action|poster|data)=\"(?!data:)", attributes), (name, attributes)
    code = "".join(re.findall(r"<style>.*?</style>|<script.*?</script>", page, flags=re.S))
    code = code.replace('"http://www.w3.org/2000/svg"', "")  # a name, not an address
    assert not re.search(r"https?:|url\(|@import|\bimport\b|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", code)
    assert "default-src 'none'" in page


def test_every_claim_of_its_is_one(page):
    sys.path.insert(0, str(ROOT / "data" / "runs"))
    import claims

    named = set(re.findall(r"<!-- claim: ([\w-]+) -->", page))
    assert named and named <= {claim.id for claim in claims.CLAIMS}


def test_links_lead_somewhere(page):
    for target in re.findall(r'<a href="(?!https://)([^"]+)"', page):
        assert f'id="{target[1:]}"' in page if target[0] == "#" else (PAGE.parent / target).exists()


def test_without_scripts_there_is_a_picture_and_a_table(page):
    picture = re.search(r"<noscript>(.*?)</noscript>", page, re.S)[1]
    assert all(f">{rate}</text>" in picture for rate in ("2.5e-3", "3e-4", "2e-5"))
    assert picture.count("<polyline") == 15
    assert page.count('<tr><th scope="row">') == 9


@pytest.mark.skipif(not CHROMIUM, reason="no chromium (`apt-get install chromium`), in which the page is moved")
@pytest.mark.parametrize("width", [390, 1400])
def test_it_moves_in_a_browser_and_asks_for_nothing(tmp_path, page, width):
    file = tmp_path / "page.html"
    file.write_text(page.replace("<head>", "<head>" + WATCH, 1))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=40000",
        "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=170).stdout
    found = re.search(r'<html[^>]*data-seen="([^"]*)"', dumped)
    assert found, "The page was not shown to its end."
    seen = json.loads(unquote(found[1]))
    assert seen["wrong"] == [] and seen["loaded"] == [] and not seen["numbers"]
    assert seen["wide"] <= 0, "The page is wider than its window."
    assert FIGURES <= set().union(*(seen["moves"][f"rate {rate}"] for rate in range(1, 9)))
    assert FIGURES <= set(seen["moves"]["rate 6"])
    assert {"answers", "share", "loss", "accuracy"} <= set(seen["moves"]["epoch 3"])
    assert {"answers", "cloud", "share", "loss", "accuracy", "dial"} <= set(seen["moves"]["run 3"])
    assert "answers" in seen["moves"]["play"]
    assert len(set(seen["labels"])) == 9 + 11
    assert re.search(r"Learning rate|Before training", seen["spoken"])
