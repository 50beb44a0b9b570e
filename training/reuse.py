"""Take finished adapters from an earlier run, where a new recipe would train the very same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from training import adapters
from training.errors import TrainingError
from training.files import replace
from training.recipe import Recipe
from training.run import Run, read_run

# What decides every stage of a recipe alike, besides its own part of it. Not the precision that it
# is trained in: that is a choice for the machine, and what is learned is the same but for noise.
_SHARED = (
    *("half_weights", "languages", "language_exponent", "excluded_sources", "batch_languages"),
    *("matryoshka_dimensions", "validation", "augmentation", "teacher", "seed"),
)


def reusable(recipe: Recipe, earlier: Recipe) -> list[str]:
    """The adapters of `recipe` that `earlier` trains just so: from the same fresh weights, by the
    same stage, on what the same settings draw. In the order of the recipe."""
    if any(getattr(recipe, each) != getattr(earlier, each) for each in _SHARED):
        return []
    kinds, earlier_kinds = (list(each.kinds.items()) for each in (recipe, earlier))
    found: list[str] = []
    for place, (name, plan) in enumerate(recipe.adapters.items()):
        if (
            earlier.adapters.get(name) == plan
            # Fresh weights are drawn for one adapter after the other.
            and kinds[: place + 1] == earlier_kinds[: place + 1]
            and recipe.source_exponent_of(name) == earlier.source_exponent_of(name)
            and {*plan.mixed_with, *filter(None, [plan.start_from])} <= set(found)
            and name not in (*recipe.joint_adapters, *earlier.joint_adapters)
        ):
            found.append(name)
    return found


def reuse(held: Run, recipe: Recipe, backbone_sha256: str, folder: Path, file: str) -> list[str]:
    """Copy each adapter of the run `folder` that `recipe` would train just so into the run that is
    held, unless it has one, and record where it is from; return their names.

    The corpus may be another, newer one: the record names both. Raises TrainingError where `folder`
    is no run, or one on another backbone.
    """
    record = read_run(folder)
    if record["backbone_sha256"] != backbone_sha256:
        raise TrainingError(
            f"{folder} was trained on another backbone; leave out --reuse, or give a run on the "
            "recipe's"
        )
    taken = []
    for name in reusable(recipe, Recipe.model_validate(record["recipe"])):
        source = folder / name / file
        if held.finished(name, file) or not source.exists():
            continue
        (held.folder / name).mkdir(exist_ok=True)
        replace(held.folder / name / file, partial(adapters.save, values=adapters.load(source)))
        origin = {key: record[key] for key in ("unpacked_from", "corpus_sha256") if key in record}
        held.record({f"reused.{name}": origin, f"pairs.{name}": record[f"pairs.{name}"]})
        taken.append(name)
    return taken
