"""An application with a state and a data folder of its own, and short ways to its jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from tests.fakes import PATIENCE_S

BYTES = {"Content-Type": "application/octet-stream"}
ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Office:
    """A client, with what tests of jobs do again and again."""

    client: TestClient
    data: Path

    def upload(self, name: str, content: bytes | str) -> str:
        """Send a file; its id."""
        sent = content.encode() if isinstance(content, str) else content
        response = self.client.post("/files", params={"name": name}, content=sent, headers=BYTES)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def submit(self, **job: Any) -> dict[str, Any]:  # noqa: ANN401
        """Queue a job."""
        response = self.client.post("/jobs", json=job)
        assert response.status_code == 200, response.text
        described: dict[str, Any] = response.json()
        return described

    def until(self, condition: Callable[[], bool]) -> None:
        """Return once it is true."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def wait(self, id_: str) -> dict[str, Any]:
        """A job that has ended."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while True:
            job: dict[str, Any] = self.client.get(f"/jobs/{id_}").json()
            if job["state"] in ENDED:
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.02)

    def run(self, **job: Any) -> dict[str, Any]:  # noqa: ANN401
        """A job from its submission to its end, which is well."""
        ended = self.wait(self.submit(**job)["id"])
        assert ended["state"] == "completed", ended
        return ended

    def results(self, job: dict[str, Any]) -> bytes:
        """What a job came to."""
        response = self.client.get(job["results"]["url"])
        assert response.status_code == 200, response.text
        return response.content

    def errors(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """The bad rows of a job."""
        lines = self.client.get(job["errors"]["url"]).text.splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def office(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "data").mkdir()
    settings = Settings(
        state_dir=folder / "state",
        data_dir=folder / "data",
        max_file_bytes=200_000,
        max_item_characters=500,
    )
    with TestClient(create_app(settings, encoder)) as client:
        yield Office(client, folder / "data")
