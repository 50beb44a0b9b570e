from __future__ import annotations

import re

from training.corpora.sources import known_sources


def test_every_source_says_where_it_comes_from_and_on_what_terms() -> None:
    sources = known_sources()
    assert len(sources) == 33
    for source in sources.values():
        assert source.licence.strip()
        assert source.attribution.strip()
        assert source.origin
        assert all(re.fullmatch(r"https://[a-z0-9.]+/[^@\s]+", a) for a in source.addresses)
    assert sources["tldr"].addresses == ("https://github.com/tldr-pages/tldr",)
    assert sources["omw"].origin == ("omwn/omw-data@f75be19ec590",)


def test_a_download_gives_the_code_of_the_source_for_ours() -> None:
    plan = known_sources()["tatoeba"].download
    assert plan is not None
    assert (plan.codes["zh"], plan.codes["de"]) == ("cmn", "deu")
    emoji = known_sources()["cldr_emoji"].download
    assert emoji is not None
    assert (emoji.codes["en"], emoji.codes["zh-Hant"]) == ("en", "zh-Hant")


def test_downloads_are_pinned_to_a_version_where_the_address_holds_one() -> None:
    """A branch would change under us: a commit in full, or a release's tag."""
    for source in known_sources().values():
        if source.download is not None:
            for url in (*source.download.once, *source.download.each):
                if "githubusercontent" in url:
                    revision = url.split("/")[5]
                    assert re.fullmatch(r"[0-9a-f]{40}|\d+\.\d+\.\d+", revision), url
