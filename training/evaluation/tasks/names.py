"""Which answers are names that point to one paragraph: the queries of phrase → paragraph."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_WORDS = 5


def is_name_of_one(answer: str, paragraphs: Sequence[str]) -> bool:
    """Whether an English `answer` is a short name that stands in exactly one of `paragraphs`.

    A short name has at most five words, of which one begins with a capital letter, and no digit,
    so that dates and amounts are none. It stands in a paragraph as whole words, in any case.
    """
    bare = answer.strip(".,;:!?\"'()[]“”‘’ ")
    words = bare.split()
    capital = any(word[0].isupper() for word in words)
    if not capital or len(words) > MAX_WORDS or any(char.isdigit() for char in bare):
        return False
    whole = re.compile(rf"(?<!\w){re.escape(bare)}(?!\w)", re.IGNORECASE)
    return sum(whole.search(paragraph) is not None for paragraph in paragraphs) == 1
