from __future__ import annotations

import re

from training.corpora.sources import known_sources


def test_every_source_says_where_it_comes_from_and_on_what_terms() -> None:
    sources = known_sources()
    assert len(sources) == 30
    for source in sources.values():
        assert source.licence.strip()
        assert source.attribution.strip()
        assert source.origin
        assert all(re.fullmatch(r"https://github.com/[^/]+/[^/@]+", a) for a in source.addresses)
    assert sources["tldr"].addresses == ("https://github.com/tldr-pages/tldr",)
    assert sources["omw"].origin == ("omwn/omw-data@f75be19ec590",)
