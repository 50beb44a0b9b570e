from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.recipe_file import Positive, RecipeFile, RecipeValue


class Part(RecipeValue):
    size: Positive


class Plan(RecipeFile):
    part: Part
    seed: int = 0


def test_a_value_given_apart_replaces_the_files_own(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("seed = 3\n[part]\nsize = 4\n")
    assert Plan.read(file) == Plan(part=Part(size=4), seed=3)
    assert Plan.read(file, seed=5).seed == 5
    assert Plan.read(file, seed=None).seed == 3


def test_each_wrong_field_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("sed = 3\n[part]\nsize = 0\n")
    with pytest.raises(TrainingError) as raised:
        Plan.read(file)
    assert str(file) in str(raised.value)
    assert "part.size: Input should be greater than 0" in str(raised.value)
    assert "sed: Extra inputs are not permitted" in str(raised.value)


@pytest.mark.parametrize("text", [b"seed =", b"seed = '\xff'", None])
def test_what_is_no_toml_is_refused(tmp_path: Path, text: bytes | None) -> None:
    file = tmp_path / "plan.toml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(TrainingError, match=r"plan\.toml cannot be read"):
        Plan.read(file)
