"""The sum of a stage: what its recipe names, each times its weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from training.embedding import Batch
from training.metrics import Metrics
from training.objectives.gather import gather
from training.positives import sides
from training.stage import Stateful
from training.terms.backward import backward
from training.terms.crops import Crops
from training.terms.late import LateInteraction
from training.terms.masked import Masked
from training.terms.negatives import HardNegatives
from training.terms.recipe import Objective
from training.terms.term import Draw, OwnTerm, Setting, VectorTerm
from training.terms.transliteration import Transliteration
from training.terms.vectors import VECTOR_TERMS, Anchor
from training.terms.views import View, Views
from training.terms.words import TokenAlignment

OWN_TERMS: Mapping[Objective, Callable[[Setting], OwnTerm]] = {
    Objective.HARD_NEGATIVES: HardNegatives,
    Objective.MASKED: Masked,
    Objective.TOKEN_ALIGNMENT: TokenAlignment,
    Objective.TRANSLITERATION: Transliteration,
    Objective.CROPS: Crops,
    Objective.LATE_INTERACTION: LateInteraction,
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch, as its thread leaves it to the step."""

    texts: int
    # What the terms over pooled vectors share; None where there are none.
    pairs: Batch | None
    views: Mapping[View, Batch]
    # What each other term made for itself.
    own: Mapping[str, Any]


class Total:
    """The weighted sum of a stage's terms."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        plan = setting.plan
        self._weights: dict[str, float] = {"anchor": plan.anchor}
        self._weights.update({str(name): weight for name, weight in plan.objectives.items()})
        # The anchor first: in which order gradients meet decides their last bits.
        self._shared: dict[str, VectorTerm] = {"anchor": Anchor()} if plan.anchor else {}
        self._shared |= {
            name: VECTOR_TERMS[name](setting) for name in plan.objectives if name in VECTOR_TERMS
        }
        self._own: dict[str, OwnTerm] = {
            name: OWN_TERMS[name](setting) for name in plan.objectives if name in OWN_TERMS
        }
        wanted = frozenset[View]().union(*(term.views for term in self._shared.values()))
        self._views = Views(wanted, setting.encoder, setting.teacher, setting.recipe)

    @property
    def words(self) -> TokenAlignment | None:
        """The term over words, where there is one."""
        found = self._own.get(Objective.TOKEN_ALIGNMENT)
        return found if isinstance(found, TokenAlignment) else None

    @property
    def state(self) -> dict[str, Stateful]:
        """What the terms keep from step to step."""
        return {key: part for term in self._own.values() for key, part in term.state.items()}

    def prepare(self, number: int) -> Prepared:
        """Draw a batch and tokenize it; a function of its number alone."""
        setting = self._setting
        positives = setting.draw(number, setting.plan.batch_pairs)
        draw = Draw(number, positives, setting)
        pairs, views = None, {}
        if self._shared:
            pairs = setting.encoder.batch(draw.rows)
            views = self._views.prepare(positives, draw.rows)
        own = {name: term.prepare(draw) for name, term in self._own.items()}
        return Prepared(len(sides(positives)), pairs, views, own)

    def backward(self, prepared: Prepared, scale: float) -> Metrics:
        """Add the gradient of `scale` x sum to the parameters. Returns `loss`, the sum; of more
        than one term `loss.NAME`, each as it is; and what else the terms tell."""
        losses: dict[str, float] = {}
        total, told = 0.0, dict[str, float]()
        if prepared.pairs is not None:
            total += self._shared_backward(prepared.pairs, prepared.views, scale, losses)
        for name, term in self._own.items():
            found = dict(term.backward(prepared.own[name], scale * self._weights[name]))
            losses[name] = found.pop("loss")
            total += self._weights[name] * losses[name]
            told |= found
        if len(losses) > 1:
            told |= {f"loss.{name}": loss for name, loss in losses.items()}
        return {"loss": total, **told}

    def finish(self) -> None:
        """What the terms do after the optimizer's step."""
        for term in self._own.values():
            term.finish()

    def _shared_backward(
        self, batch: Batch, batches: Mapping[View, Batch], scale: float, losses: dict[str, float]
    ) -> float:
        """The terms over pooled vectors, with one forward pass for all; `losses` gets each.

        Of several processes, each embeds its own pairs, and all compute the sum of the joined
        batch.
        """
        encoder = self._setting.encoder
        views = {view: gather(found) for view, found in self._views.embed(batches).items()}
        found: dict[str, Tensor] = {}

        def objective(vectors: Tensor) -> Tensor:
            left, right = (gather(side) for side in vectors.chunk(2))
            for name, term in self._shared.items():
                found[name] = term.loss(left, right, views)
            first, *rest = (self._weights[name] * loss for name, loss in found.items())
            return sum(rest, start=first)

        cached = self._setting.plan.gradient_cache
        loss = backward(encoder.encode, batch.chunks, batch.place, objective, scale, cached)
        losses.update({name: each.item() for name, each in found.items()})
        return loss.item()
