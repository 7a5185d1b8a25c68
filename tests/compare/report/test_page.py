"""The report is rendered in a browser and looked at by a script: no errors, no requests, no empty plots."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
import synthetic

from anyformer.compare.report.page import render
from anyformer.compare.results import Results
from anyformer.compare.verdict.judge import judge

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)


# Runs before anything else on the page: whatever goes wrong afterwards is written down.
LISTEN = """<script>
window.faults = [];
window.addEventListener("error", e => faults.push("error: " + e.message));
window.addEventListener("unhandledrejection", e => faults.push("rejection: " + e.reason));
document.addEventListener("securitypolicyviolation", e => faults.push("blocked: " + e.blockedURI));
for (const kind of ["error", "warn"]) {
  const shown = console[kind];
  console[kind] = (...args) => { faults.push(kind + ": " + args.join(" ")); shown(...args); };
}
</script>"""


TELL = """<script>
for (const views of document.querySelectorAll(".views")) views.lastElementChild.click();
setTimeout(() => {
  const plots = [...document.querySelectorAll("[data-plot]")].map(div => ({
    name: div.dataset.plot, marks: div.querySelectorAll(".trace path, .point").length,
    axes: div.querySelectorAll(".xtitle, .ytitle").length, width: div.getBoundingClientRect().width}));
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = JSON.stringify({faults, plots,
    requests: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
    tables: Math.max(...[...document.querySelectorAll(".scroll")].map(div => div.scrollWidth - div.clientWidth)),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth});
  document.body.append(out);
}, 1500);
</script>"""


def visit(page: str, folder, width: int) -> dict:
    path = folder / "page.html"
    path.write_text(
        page.replace('<meta charset="utf-8">', '<meta charset="utf-8">' + LISTEN).replace(
            "</body>", TELL + "</body>"
        ),
        encoding="utf-8",
    )
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command += [f"--window-size={width},900", "--virtual-time-budget=8000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1)))


def wide_results() -> Results:
    """Results with as wide figures as occur."""
    results = synthetic.results()
    for result in results.tasks:
        result.settings.tables = 12_000
        update = {"unit": "bits of the whole sequence"}
        result.task.metric = result.task.metric.model_copy(update=update)
        for candidate in result.candidates:
            candidate.parameters = 12_345_678
            for run in candidate.runs:
                run.seconds *= 500
    return results


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to render the report with")
@pytest.mark.parametrize("width", [1280, 520])
def test_in_a_browser(tmp_path, width):
    seen = visit(render(wide_results()), tmp_path, width)
    assert seen["faults"] == []
    assert seen["requests"] == []
    assert seen["overflow"] <= 0, "the page must not scroll sideways"
    assert seen["tables"] <= 0 or width < 1280, "no table needs a scroll bar on a laptop's screen"
    assert len(seen["plots"]) == 12
    for plot in seen["plots"]:
        assert plot["marks"] > 0, f"{plot['name']} is empty"
        assert plot["axes"] == 2, f"{plot['name']} has an axis without a title"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to render the report with")
def test_the_browser_check_can_fail(tmp_path):
    page = render(synthetic.results())
    broken = page.replace("</main>", '<img src="https://example.org/a.png"><script>nothing()</script></main>')
    seen = visit(broken, tmp_path, 1280)
    assert any("nothing" in fault for fault in seen["faults"])
    assert any("blocked: https://example.org" in fault for fault in seen["faults"])


def test_nothing_is_loaded_from_elsewhere():
    page = render(synthetic.results())
    page = re.sub(r"<script>\s*/\*\*.*?</script>", "", page, count=1, flags=re.DOTALL)  # plotly itself
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "default-src 'none'" in page


def test_what_the_page_says():
    results = synthetic.results()
    page = render(results)
    for task in results.tasks:
        assert html.escape(task.verdict.headline) in page
        for row in task.leaderboard:
            assert row.name in page
    assert "the loss became NaN at step 31" in page
    assert "out of memory" not in page


def test_references_state_what_they_cost():
    page = render(synthetic.results(synthetic.task_result()))
    assert "counts on the training split; 0.12 ms for a test item" in page
    assert "<td>4.10k</td>" in page and "<td>0.2 s</td>" in page
    assert "every token equally likely;" not in page  # a reference of an older file does not


def test_names_are_escaped():
    result = synthetic.task_result()
    result.candidates[-1].reason = "<script>alert(1)</script>"
    result.candidates[0].runs[0].curve[0].valid = 0.5
    page = render(synthetic.results(result))
    assert "<script>alert(1)" not in page


def test_nothing_finished():
    result = synthetic.task_result()
    for candidate in result.candidates:
        candidate.status, candidate.reason, candidate.runs = "failed", "an accident", []
    result.leaderboard, result.verdict = judge(result.task.metric, result.candidates, result.references)
    result.saved = None
    page = render(synthetic.results(result))
    assert "nothing to compare" in page
    assert 'class="plot"' not in page


@pytest.mark.parametrize("predicts", [True, False])
def test_how_the_winner_is_used(predicts: bool) -> None:
    """A model of a file is given files of its kind; one of a generated task is a module."""
    result = synthetic.task_result()
    result.task.predicts, result.saved, result.saved_path = predicts, result.candidates[0].name, "winner"
    page = html.unescape(render(synthetic.results(result)))
    assert ("winner NEW --out predictions.csv" in page) is predicts
    assert ("SequenceModel.from_pretrained" in page) is not predicts


def test_hashed_tables_that_come_on_top_of_the_size_are_said():
    result = synthetic.task_result()
    assert "hashed tables" not in render(synthetic.results(result))
    result.candidates[0].parameters = 2_800_000
    assert "are not counted: transformer (2.80M in all)" in render(synthetic.results(result))
