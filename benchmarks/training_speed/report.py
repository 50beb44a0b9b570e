"""What was measured, as markdown."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.training_speed.alternation import TOLERANCES, Outcome, loss_gap
from benchmarks.training_speed.cases import CASES, REFERENCE
from benchmarks.training_speed.side import Measurement


def report(outcomes: Sequence[Outcome], machine: str, source: str) -> Iterator[str]:
    """The lines of the report; `outcomes` are of one device."""
    job = outcomes[0].job
    rounds = len(outcomes[0].ours)
    yield f"Machine: {machine}, {os.cpu_count()} cores; {job.threads} threads; device {job.device}"
    yield f"Versions: {_versions(outcomes)}"
    yield (
        f"Setting: {job.batch_pairs} pairs a batch of {source}, at most {job.max_tokens} tokens a "
        f"text, {job.chunk_tokens} tokens a chunk; {job.timed_steps} steps after "
        f"{job.warmup_steps}; {rounds} rounds, the sides in turn, each time in a fresh process"
    )
    yield ""
    for precision in dict.fromkeys(outcome.job.precision for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.job.precision == precision]
        if compared := [outcome for outcome in own if outcome.theirs]:
            yield from _compared(compared, precision)
        if alone := [outcome for outcome in own if not outcome.theirs]:
            yield from _alone(alone, own, precision)
    yield (
        "Figures: median (lowest to highest) over the rounds; ratios are taken within a round; "
        "memory is the largest of the rounds, of the whole process, in parentheses with "
        "everything loaded before the first step."
    )
    yield (
        "In the time: tokenizing, padding, forward, backward, clipping, the optimizer's step, "
        "logging every ten steps and the progress bar, as each trainer does it; of ours drawing "
        "the batches too. A teacher embeds in ours in each step, and in theirs before training, "
        "which is added. Not in it: imports, loading, mining's pool, checkpoints."
    )


def _compared(outcomes: Sequence[Outcome], precision: str) -> Iterator[str]:
    on_cuda = outcomes[0].job.device == "cuda"
    yield f"{precision}, against sentence-transformers"
    yield ""
    yield _row(
        "objective",
        "its loss there",
        "ours, texts/s",
        "theirs, texts/s",
        "ours / theirs",
        "ours, MiB",
        "theirs, MiB",
        *(("ours, CUDA MiB", "theirs, CUDA MiB") if on_cuda else ()),
        "losses apart",
    )
    yield _rule(8 + 2 * on_cuda)
    for outcome in outcomes:
        cuda = (_cuda(outcome.ours), _cuda(outcome.theirs)) if on_cuda else ()
        yield _row(
            outcome.job.case,
            str(CASES[outcome.job.case].counterpart),
            _speed(outcome.ours),
            _speed(outcome.theirs),
            spread(ratios(outcome.ours, outcome.theirs), 2),
            _memory(outcome.ours),
            _memory(outcome.theirs),
            *cuda,
            f"{max(map(loss_gap, outcome.ours, outcome.theirs)):.0e}",
        )
    yield ""
    yield (
        "Both sides trained as many weights, and the first losses were apart by at most "
        f"{TOLERANCES[precision]:.0e} of themselves."
    )
    yield ""


def _alone(outcomes: Sequence[Outcome], own: Sequence[Outcome], precision: str) -> Iterator[str]:
    on_cuda = outcomes[0].job.device == "cuda"
    reference = next((each for each in own if each.job.case == REFERENCE), None)
    yield f"{precision}, without a counterpart there"
    yield ""
    cuda_title = ("CUDA MiB",) if on_cuda else ()
    yield _row("objective", "texts/s", f"of {REFERENCE}'s", "MiB", *cuda_title)
    yield _rule(4 + on_cuda)
    for outcome in outcomes:
        of_reference = (
            "not measured" if reference is None else spread(ratios(outcome.ours, reference.ours), 2)
        )
        yield _row(
            outcome.job.case,
            _speed(outcome.ours),
            of_reference,
            _memory(outcome.ours),
            *((_cuda(outcome.ours),) if on_cuda else ()),
        )
    yield ""


def ratios(ours: Sequence[Measurement], others: Sequence[Measurement]) -> list[float]:
    """How many times as fast ours are, round by round."""
    return [own.texts_per_s / other.texts_per_s for own, other in zip(ours, others, strict=True)]


def spread(values: Sequence[float], digits: int) -> str:
    """Median (lowest to highest)."""
    middle, low, high = (
        f"{each:,.{digits}f}" for each in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def _speed(found: Sequence[Measurement]) -> str:
    return spread([each.texts_per_s for each in found], 0)


def _memory(found: Sequence[Measurement]) -> str:
    peak, before = max((each.peak_mib, each.before_mib) for each in found)
    return f"{peak:,.0f} ({before:,.0f})"


def _cuda(found: Sequence[Measurement]) -> str:
    return f"{max(each.peak_cuda_mib or 0.0 for each in found):,.0f}"


def _versions(outcomes: Sequence[Outcome]) -> str:
    """Of both sides, which have the same where both have one."""
    found: dict[str, str] = {}
    for outcome in outcomes:
        for each in (*outcome.ours, *outcome.theirs):
            found |= each.versions
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|---" * columns + "|"
