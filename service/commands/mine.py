"""`polygrain mine`: the lines of two files that are translations of each other, by the million."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from service.api.align_schemas import ScoreName
from service.commands.options import bundle_option, model_options, neighbours_option
from service.settings import Settings, read_settings

if TYPE_CHECKING:
    from service.alignment.mining import Mined, Stage
    from service.alignment.scoring import Floats
    from service.encoding.encoder import Encoder

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
# Seconds between two lines of progress: on a terminal, which shows one in place, and in a log.
_TERMINAL_S, _LOG_S = 0.5, 30.0


@click.command()
@click.argument("source", type=_FILE)
@click.argument("target", type=_FILE)
@click.option("--langs", help="The two languages, like en,fr: whose calibration to use.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where the pairs go: NAME.tsv, .jsonl or .parquet. What stood there is replaced.",
)
@click.option("--threshold", type=float, help="Leave pairs with a lower score out.")
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    help="Or pairs that are less probable translations.  [default: 0.5 where the bundle is"
    " calibrated]",
)
@neighbours_option("-k", "--k")
@click.option(
    "--score",
    type=click.Choice(get_args(ScoreName)),
    default="margin_ratio",
    show_default=True,
    help="What pairs are ranked by.",
)
@click.option(
    "--granularity",
    type=click.Choice(["phrase", "sentence", "paragraph"]),
    default="sentence",
    show_default=True,
    help="Which adapter reads all lines.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that a killed run goes on from; it stays.  [default: OUT.state]",
)
@bundle_option
@model_options
@click.option("--threads", type=int, help="Cores to use.  [default: all available]")
def mine(
    source: Path,
    target: Path,
    langs: str | None,
    out: Path,
    threshold: float | None,
    min_probability: float | None,
    k: int,
    score: str,
    granularity: str,
    state: Path | None,
    **given: object,
) -> None:
    """Find the lines of SOURCE and TARGET that are translations of each other.

    Both are text, one line each, plain or as .gz or .zst, of any length. Writes the pairs best
    first, OUT.summary.html with a histogram of their scores, and OUT.errors.tsv where lines are no
    text. A run that was killed goes on where it was when the same command is given again.
    """
    if threshold is not None and min_probability is not None:
        raise click.UsageError("--threshold and --min-probability exclude each other; give one")
    if threshold is not None and threshold != threshold:
        raise click.BadParameter("nan is no score", param_hint="--threshold")
    languages = _languages(langs)
    settings = read_settings(given)
    from models.bundle import Granularity
    from service.alignment.calibration import Calibration
    from service.alignment.mining import Job, mine
    from service.alignment.mining.output import check_format
    from service.alignment.scoring import Score

    check_format(out)  # before the model is opened
    model = _Model.open(settings, Granularity(granularity))
    what: dict[str, Any] = {
        "score": Score(score),
        "granularity": Granularity(granularity),
        "languages": languages,
    }
    calibration = Calibration.of(model.encoder.manifest)
    if threshold is None:
        threshold = _from_probability(calibration, min_probability, what)
    job = Job(
        source,
        target,
        out,
        state or out.with_name(f"{out.name}.state"),
        Score(score),
        k,
        threshold,
        out.with_name(f"{out.name}.summary.html"),
    )
    progress = _Progress()
    mined = mine(
        job,
        model.embed,
        model.identity,
        probabilities=lambda scores: calibration.probabilities(scores, **what),
        report=progress.take,
    )
    progress.end()
    _tell(job.out, mined)


def _languages(value: str | None) -> tuple[str, str] | None:
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    if len(names) != 2 or not all(names):
        raise click.BadParameter(f"{value!r}; give two, like en,fr", param_hint="--langs")
    return names[0], names[1]


def _from_probability(calibration: Any, wanted: float | None, what: dict[str, Any]) -> float | None:  # noqa: ANN401
    found: float | None = calibration.threshold(0.5 if wanted is None else wanted, **what)
    if found is None and wanted is not None:
        raise click.UsageError(
            f"the bundle is not calibrated for {what['score']} of {what['granularity']} texts, so "
            "that nothing is known of probabilities; give --threshold"
        )
    if found is None:
        click.echo(
            "the bundle is not calibrated for this, so all pairs are kept, also bad ones: look at "
            "the summary and give --threshold (the state folder keeps all but the last step)",
            err=True,
        )
    return found


class _Model:
    """The encoder of a bundle, with all lines read by the adapter of one granularity."""

    def __init__(self, encoder: Encoder, granularity: Any, settings: Settings) -> None:  # noqa: ANN401
        self.encoder = encoder
        self._granularity = granularity
        self._settings = settings

    @classmethod
    def open(cls, settings: Settings, granularity: Any) -> _Model:  # noqa: ANN401
        from service.encoding.encoder import Encoder
        from service.encoding.session import Wish
        from service.faiss_library import faiss

        if settings.threads is not None:
            faiss.omp_set_num_threads(settings.threads)
        encoder = Encoder.open(settings.bundle, threads=settings.threads, wish=Wish.of(settings))
        return cls(encoder, granularity, settings)

    @property
    def identity(self) -> dict[str, str]:
        """All that decides what the vectors are."""
        from models.bundle import MANIFEST_NAME, sha256_of

        encoder = self.encoder
        return {
            "bundle": f"{encoder.manifest.name} {encoder.manifest.version}",
            "manifest": sha256_of(encoder.bundle.path / MANIFEST_NAME),
            "precision": str(encoder.choice.precision),
            "runtime": str(encoder.choice.runtime),
            "granularity": str(self._granularity),
        }

    def embed(self, texts: Sequence[str]) -> Floats:
        from service.encoding.encoder import Unit

        units = [Unit(text, "line", self._granularity) for text in texts]
        return self.encoder.encode(units, batch_tokens=self._settings.batch_tokens).vectors


class _Progress:
    """Lines on standard error: the stage, how far it is, and how long it will still take."""

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._started_s = self._told_s = 0.0
        self._first = 0
        self._terminal = sys.stderr.isatty()

    def take(self, stage: Stage, done: int, total: int) -> None:
        now = time.monotonic()
        if stage is not self._stage:
            self.end()
            self._stage, self._started_s, self._first, self._told_s = stage, now, done, 0.0
        if done < total and now - self._told_s < (_TERMINAL_S if self._terminal else _LOG_S):
            return
        self._told_s = now
        new = done - self._first
        left_s = (now - self._started_s) / new * (total - done) if new else None
        share = f"{100 * done / total:.1f}%" if total else "100%"
        left = f", {_duration(left_s)} left" if left_s is not None and done < total else ""
        text = f"{stage}: {share} of {total:,}{left}"
        sys.stderr.write(f"\r{text:<70}" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._stage is not None and self._terminal:
            sys.stderr.write("\n")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _tell(out: Path, mined: Mined) -> None:
    for side, counts in zip(("source", "target"), mined.counts, strict=True):
        dropped = counts["lines"] - counts["kept"]
        click.echo(
            f"{side}: {counts['lines']:,} lines, {counts['kept']:,} kept, {dropped:,} left out "
            f"({counts['blank']:,} blank, {counts['without_letters']:,} without letters, "
            f"{counts['repeated'] + counts['repeated_letters']:,} repeated, "
            f"{counts['not_text']:,} no text)",
            err=True,
        )
    click.echo(
        f"wrote {out}: {mined.pairs:,} pairs; {mined.below_threshold:,} more were below the "
        "threshold",
        err=True,
    )
    _write_errors(out.with_name(f"{out.name}.errors.tsv"), mined)


def _write_errors(path: Path, mined: Mined) -> None:
    """The lines that are no text of both files, in one; none where there are none."""
    path.unlink(missing_ok=True)
    if not any(counts["not_text"] for counts in mined.counts):
        return
    with path.open("wb") as file:
        for side, errors in zip((b"source", b"target"), mined.errors, strict=True):
            with errors.open("rb") as lines:
                file.writelines(side + b"\t" + line for line in lines)
    click.echo(f"wrote {path}: lines that are no text", err=True)
