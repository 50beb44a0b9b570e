"""A plan: a base recipe, tables of arms that differ from it, and what is claimed of them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise, product
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import Field, StringConstraints, model_validator

from training.evaluation.reading import PLAIN
from training.evaluation.tasks import TASKS
from training.recipe_file import Positive, RecipeFile, RecipeValue

# Of tables, arms, measures and inputs. A row is `ADAPTER/ARM`, so that a slash parts the two.
Label = Annotated[str, StringConstraints(pattern=r"^[^\s/,$](?:[^/,$]*[^\s/,$])?$")]


class Input(RecipeValue):
    """A value that the command line gives, where a recipe says `"$NAME"`."""

    about: str
    # None: it has to be given.
    default: str | None = None


class Subset(RecipeValue):
    """A smaller corpus to train on, chosen by a hash of the texts."""

    # At most, of each language and granularity.
    pairs: Positive


class Noise(StrEnum):
    """A kind of noise that a test set's texts can get (docs/augmentation.md)."""

    WORD_ORDER = "word_order"
    CASING = "casing"
    PUNCTUATION = "punctuation"
    TYPOS = "typos"


class Measure(RecipeValue):
    """A figure of a task of the suite (docs/evaluation.md), over chosen languages."""

    task: str
    # Codes, or `core`; English is always among them.
    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    # None: the task's main one.
    figure: str | None = None
    # What every text gets before it is read, the same one each time; None: as it is.
    noise: Noise | None = None
    # Of a text's words (windows, marks), the share that the noise changes.
    rate: Annotated[float, Field(gt=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _is_in_the_suite(self) -> Self:
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}; there are {', '.join(TASKS)}")
        figures = [figure.name for figure in TASKS[self.task].figures]
        if self.figure is not None and self.figure not in figures:
            raise ValueError(f"figure is {self.figure!r}; {self.task} has {', '.join(figures)}")
        if self.noise is not None and TASKS[self.task].needs_tokens:
            raise ValueError(f"{self.task} reads words by their places: it takes no noise")
        return self

    @property
    def figure_name(self) -> str:
        """The figure's name."""
        return self.figure or TASKS[self.task].main.name

    @property
    def lower_is_better(self) -> bool:
        """Which way the figure is better."""
        return next(
            each.lower_is_better
            for each in TASKS[self.task].figures
            if each.name == self.figure_name
        )

    @property
    def key(self) -> str:
        """What is measured, however the plan calls it and whichever figure it shows."""
        noise = "" if self.noise is None else f" {self.noise} {self.rate:g}"
        return f"{self.task} {' '.join(sorted(set(self.languages)))}{noise}"


class Arm(RecipeValue):
    """One way to train."""

    # What differs from the plan's recipe: tables are merged, everything else is replaced.
    recipe: dict[str, Any] = Field(default_factory=dict)
    # False: its adapters are measured as they are before the first step.
    train: bool = True
    # Through which adapters it is measured, in place of the table's; `none` is the plain backbone.
    adapters: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


class Comparison(NamedTuple):
    """What a claim comes to: one row is better than another on one measure."""

    better: str
    worse: str
    measure: str


class Claim(RecipeValue):
    """That rows of a table stand in an order."""

    says: str
    source: str
    # Names of measures; it is claimed of each of them.
    on: Annotated[tuple[str, ...], Field(min_length=1)]
    # Rows, each better than the next; a list of rows in place of one means each of them.
    order: Annotated[tuple[str | tuple[str, ...], ...], Field(min_length=2)]
    # Points by which the better may fall behind: for claims that something does no harm.
    allowance: Annotated[float, Field(ge=0)] = 0.0

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Each row against each of the next place, on every measure."""
        places = [(each,) if isinstance(each, str) else each for each in self.order]
        return tuple(
            Comparison(better, worse, measure)
            for measure in self.on
            for these, those in pairwise(places)
            for better, worse in product(these, those)
        )


class Published(RecipeValue):
    """Figures of a paper, to stand beside ours: other data, other models, the same idea."""

    source: str
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    # Row of the table -> a figure per column; nan where the paper has none.
    rows: Annotated[dict[str, tuple[float, ...]], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        for row, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(
                    f"{row} has {len(values)} figures for {len(self.columns)} columns; "
                    "write nan where the paper has none"
                )
        return self


class Table(RecipeValue):
    """Arms that are compared with each other."""

    title: str
    about: str = ""
    # Through which adapters each arm is measured.
    adapters: Annotated[tuple[str, ...], Field(min_length=1)]
    # Names of measures. None: all of the plan.
    measures: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    arms: Annotated[dict[Label, Arm], Field(min_length=1)]
    claims: tuple[Claim, ...] = ()
    published: tuple[Published, ...] = ()

    def adapters_of(self, arm: str) -> tuple[str, ...]:
        """Through which adapters an arm is measured."""
        return self.arms[arm].adapters or self.adapters

    @property
    def rows(self) -> dict[str, tuple[str, str]]:
        """Name -> (adapter, arm). An arm measured through one adapter where no other is in
        question goes by its own name; else rows are `ADAPTER/ARM`."""
        found = {}
        for arm, plan in self.arms.items():
            adapters = self.adapters_of(arm)
            alone = len(adapters) == 1 and (plan.adapters is not None or len(self.adapters) == 1)
            for adapter in adapters:
                found[arm if alone else f"{adapter}/{arm}"] = (adapter, arm)
        return found

    def rows_named(self) -> Iterator[tuple[str, str]]:
        """(where, row) for every row that claims and published figures name."""
        for claim in self.claims:
            for comparison in claim.comparisons:
                yield "claims", comparison.better
                yield "claims", comparison.worse
        for paper in self.published:
            yield from (("published", row) for row in paper.rows)


class Plan(RecipeFile):
    """Everything that an ablation computes and compares, in one TOML file."""

    called: ClassVar[str] = "plan"

    title: str
    about: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (1, 2, 3)
    inputs: dict[Label, Input] = Field(default_factory=dict)
    # None: the whole corpus.
    subset: Subset | None = None
    # As in a recipe file, with what all arms share; the seed is the plan's to say.
    recipe: dict[str, Any]
    measures: Annotated[dict[Label, Measure], Field(min_length=1)]
    tables: Annotated[dict[Label, Table], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: name each once")
        for name, table in self.tables.items():
            self._check_table(f"tables.{name}", table)
        return self

    def _check_table(self, where: str, table: Table) -> None:
        for arm, plan in table.arms.items():
            if "seed" in plan.recipe or "seed" in self.recipe:
                raise ValueError(f"{where}: {arm} has a recipe with a seed; `seeds` says them")
        rows, measures = table.rows, self.measures_of(table)
        named = {*measures, *(each for claim in table.claims for each in claim.on)}
        if unknown := sorted(named - self.measures.keys()):
            raise ValueError(
                f"{where}: no measure is called {', '.join(unknown)}; "
                f"there are {', '.join(self.measures)}"
            )
        for what, row in table.rows_named():
            if row not in rows:
                raise ValueError(
                    f"{where}.{what}: no row is called {row}; there are {', '.join(rows)}"
                )
        for claim in table.claims:
            if left_out := [each for each in claim.on if each not in measures]:
                raise ValueError(
                    f"{where}.claims: {', '.join(left_out)} is not among the table's measures"
                )

    def measures_of(self, table: Table) -> tuple[str, ...]:
        """The names of what a table measures."""
        return table.measures or tuple(self.measures)


def is_untrained_backbone(arm: Arm, adapters: tuple[str, ...]) -> bool:
    """Whether no seed enters what is measured of an arm."""
    return not arm.train and set(adapters) == {PLAIN}
