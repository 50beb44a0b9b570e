"""The Jobs tab: files are handed over, watched and fetched; or it says that none are taken."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from service.demo import passages
from tests.browser.page import PATIENCE_S, Page


@pytest.fixture
def jobs(page: Page) -> Page:
    """The page of a service that takes jobs and has none."""
    if not page.has_jobs():
        pytest.skip("this service has no /jobs")
    for job in page.api("/jobs?limit=100")["jobs"]:
        if job["finished_at"] is None:
            page.api(f"/jobs/{job['id']}/cancel", {})
            page.until(lambda job=job: page.api(f"/jobs/{job['id']}")["finished_at"])  # type: ignore[misc]
        page.api(f"/jobs/{job['id']}", method="DELETE")
    page.open("jobs")
    return page


def _submit(page: Page, type_: str, **files: Path) -> None:
    page.script(
        "const type = document.querySelector('#job-type'); type.value = arguments[0];"
        "type.dispatchEvent(new Event('change'));",
        type_,
    )
    for field, path in files.items():
        page.all(f"#job-{field}")[0].send_keys(str(path))
    page.button("Submit", "#job-form").click()


def _results(page: Page) -> str:
    """What the link to the results gives."""
    url = page.button("", ".job .row:last-child").get_attribute("href")
    assert url is not None
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
        return str(response.read().decode())


def test_a_service_without_jobs_says_so(page: Page) -> None:
    page.open("jobs")
    has_form = bool(page.all("#job-form"))
    assert has_form == page.has_jobs()
    assert has_form or "takes no jobs" in page.text_of("#jobs-body")


def test_the_demonstration_is_embedded_with_one_click_and_deleted(jobs: Page) -> None:
    page = jobs
    page.button("Embed the demonstration").click()
    page.one(".state-completed")
    (job,) = page.api("/jobs")["jobs"]
    assert job["counts"] == {"total": 144, "completed": 144, "failed": 0}
    rows = [json.loads(line) for line in _results(page).splitlines()]
    assert len(rows) == len(passages())
    # It is the service's, not the page's: another look finds it.
    page.browser.refresh()
    page.one(".state-completed")
    page.button("Delete", ".job").click()
    page.until(lambda: page.all("#jobs-list .empty"))
    assert page.api("/jobs")["jobs"] == []


def test_two_files_are_aligned(jobs: Page, tmp_path: Path) -> None:
    page = jobs
    by_language = {
        language: [p["text"] for p in passages() if p["language"] == language]
        for language in ("de", "es")
    }
    for language, texts in by_language.items():
        (tmp_path / f"{language}.txt").write_text("\n".join(texts), encoding="utf-8")
    _submit(page, "align", source=tmp_path / "de.txt", target=tmp_path / "es.txt")
    page.one(".state-completed")
    written = _results(page)
    assert any(text in written for text in by_language["de"])
    assert any(text in written for text in by_language["es"])


def test_a_long_job_moves_and_can_be_ended(jobs: Page, tmp_path: Path) -> None:
    page = jobs
    path = tmp_path / "many.txt"
    path.write_text(
        "".join(f"The parcel number {n} arrived in the morning.\n" for n in range(20_000)),
        encoding="utf-8",
    )
    _submit(page, "embed", input=path)
    page.until(lambda: "running" in page.text_of(".job"))
    page.until(lambda: page.script("return document.querySelector('.job progress')?.value > 0"))
    page.button("Cancel", ".job").click()
    page.one(".state-cancelled")
    (job,) = page.api("/jobs")["jobs"]
    assert job["state"] == "cancelled"
    assert "cancelled" in page.texts("#jobs-news")[0]


def test_what_the_service_refuses_is_said_in_its_words(jobs: Page, tmp_path: Path) -> None:
    page = jobs
    path = tmp_path / "texts.txt"
    path.write_text("One.\n", encoding="utf-8")
    page.delete_collections()
    _submit(page, "index", input=path)
    assert "collection" in page.text_of("#job-status .error")


def test_a_file_is_asked_for(jobs: Page) -> None:
    _submit(jobs, "embed")
    assert "Choose a file" in jobs.text_of("#job-status")
    assert jobs.focused().get_attribute("id") == "job-input"
