"""The client of a running server that asks for keys."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import pytest

from service.client.http import HttpClient, ask
from service.encoding.encoder import Encoder
from service.security.keys import Key, digest_of, make_secret
from service.settings import API_KEY_VARIABLE, Settings
from tests.service.live import serving

SECRET = make_secret("writer")


def test_the_key_of_the_environment_goes_with_every_request(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Key("writer", frozenset(("read", "write")), digest_of(SECRET)).entry()
    with serving(encoder, Settings(state_dir=tmp_path, keys=keys)) as address:
        monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
        with (
            closing(HttpClient(address)) as client,
            pytest.raises(click.ClickException, match=f"set {API_KEY_VARIABLE}$"),
        ):
            ask(client, "PUT", "/collections/news", {})
        monkeypatch.setenv(API_KEY_VARIABLE, SECRET)
        with closing(HttpClient(address)) as client:
            ask(client, "PUT", "/collections/news", {})
            assert ask(client, "GET", "/collections") == {"collections": ["news"]}
