"""What to do with a rollout, from its evidence alone: the same evidence gives the same decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pipelines.models.rollout_plan import Guard, Stage
from pipelines.rollout.sequential import Bounds, Mean, Rate, rate
from pipelines.rollout.tally import QUANTILES, VERDICT, WHOLE, Compared, Key, Tally

Action = Literal["stay", "next", "back", "pause"]
#: Draws from which a bandit's share is computed.
DRAWS = 4_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One comparison of the candidate with the version that serves.

    Attributes:
        guard: The metric; `verdict` for the loss by which an A/B test ends.
        value: The field value that it is about, as `field=value`; empty for all questions.
        how: `paired` on the same mirrored questions, `apart` on those that each version answered.
        stable, candidate: The metric of each; for paired ones the candidate's alone or their difference. For latencies
            the allowed and the seen share of slow answers.
        low, high: Bounds of what is compared with the limit, of all looks together: for errors the candidate's share,
            else the difference.
        limit: What `low` must not exceed. For latencies the allowed share; for cost the allowed difference, in
            milliseconds of processor time an answer.
        answers: How many of the candidate's answers, or known outcomes, it is from.
        broken: Whether the limit is exceeded, with the plan's certainty.
        slow_ms: For latencies: which answers are slow, in milliseconds.
    """

    guard: str
    value: str
    how: str
    stable: float | None
    candidate: float
    low: float
    high: float
    limit: float
    answers: int
    broken: bool
    slow_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision: what to do, why, the figures it follows from, and a bandit's share from now on."""

    action: Action
    because: str
    figures: tuple[Figure, ...] = field(default=())
    share: float | None = None


def decide(tally: Tally, stage_number: int, minutes: float) -> Verdict:
    """Decides about a stage.

    Args:
        tally: The evidence so far.
        stage_number: From 0 on.
        minutes: How long the stage has lasted.
    """
    plan, stage = tally.plan, tally.plan.stages[stage_number]
    figures = tuple(_figures(tally, stage_number))
    broken = [figure for figure in figures if figure.broken and figure.guard != "verdict"]
    if broken:
        return Verdict("back", "; ".join([*map(words, broken), *_failures(tally, broken)]), figures)
    answers = tally.answers[stage_number, "candidate"]
    lacking = list(_lacking(tally, stage_number, stage, answers, minutes))
    if not lacking:
        verdict = [figure for figure in figures if figure.guard == "verdict"]
        if stage.until == "enough":
            return Verdict("next", f"{answers:,} answers of the candidate, and no guard broke", figures)
        if stage.until == "verdict":
            if any(figure.low > 0 for figure in verdict):
                return Verdict("back", f"the candidate is worse: {words(_first(verdict, low=True))}", figures)
            if any(figure.high < 0 for figure in verdict):
                return Verdict("next", f"the candidate is better: {words(_first(verdict, low=False))}", figures)
            lacking = ["a difference of the losses that is no chance"]
        else:
            lacking = ["a person's word: goldpath rollout promote"]
    if minutes >= stage.maximum_minutes:
        missing = f"{stage.maximum_minutes:g} minutes passed without {' and '.join(lacking)}"
        return Verdict("pause" if plan.if_missing == "pause" else "back", missing, figures)
    share = _bandit_share(tally, stage) if stage.bandit else stage.share
    return Verdict("stay", f"waits for {' and '.join(lacking)}", figures, share)


def _failures(tally: Tally, broken: list[Figure]) -> Iterator[str]:
    """Why the candidate had no answers, in all stages, if that sends it back."""
    if any(figure.guard == "errors" for figure in broken):
        yield "its failures: " + ", ".join(f"{word} {count:,}" for word, count in tally.failures.most_common() if count)


def _first(figures: list[Figure], *, low: bool) -> Figure:
    return next(figure for figure in figures if (figure.low > 0 if low else figure.high < 0))


def _lacking(tally: Tally, number: int, stage: Stage, answers: int, minutes: float) -> Iterator[str]:
    """What a stage lacks to end well, in words: missing evidence never lets a candidate go on."""
    if minutes < stage.minutes:
        yield f"{stage.minutes - minutes:.1f} more minutes"
    if answers < stage.answers:
        yield f"{stage.answers - answers:,} more answers of the candidate"
    for guard in tally.guards:
        if (counted := _counted(tally, guard, number, stage)) is not None and counted < guard.minimum:
            what = "outcomes" if guard.metric == "loss" else f"answers for {guard.metric}"
            yield f"{guard.minimum - counted:,} more {what}"


def _counted(tally: Tally, guard: Guard, number: int, stage: Stage) -> int | None:
    """How much evidence a guard has, by the version that has less; None where it does not apply to the stage."""
    if guard.metric in QUANTILES:
        slow = tally.slower(guard, number)
        return slow.count if slow else 0
    if guard.metric == "disagreement" and stage.share is not None:
        return None
    if guard is VERDICT:
        known = tally.losses()
        return min(sequence.count for sequence in known) if known else 0
    counted_in = WHOLE if guard.metric == "loss" else number
    counts = [
        # Nobody asks the version before when the candidate has all questions: what it did in earlier stages stands.
        compared.arms["candidate"].count if stage.share == 1 else min(arm.count for arm in compared.arms.values())
        for key, compared in tally.compared.items()
        if (key.guard, key.stage, key.value) == (guard, counted_in, "")
    ]
    if not counts and guard.metric == "score" and stage.share is not None:
        return None  # values have no range: they are compared on the same questions alone
    return max(counts, default=0)


def _figures(tally: Tally, stage: int) -> Iterator[Figure]:
    for guard in tally.guards:
        if guard.metric in QUANTILES and (slow := tally.slower(guard, stage)) is not None:
            bounds, allowed = slow.bounds(), round(1 - QUANTILES[guard.metric], 2)
            yield Figure(
                guard.metric, "", "apart", allowed, slow.hits / slow.count, bounds.low, bounds.high, allowed,
                slow.count, bounds.low > allowed, slow.limit,
            )  # fmt: skip
    yield from (_figure(tally, key) for key in tally.compared if key.stage in (stage, WHOLE))


def _figure(tally: Tally, key: Key) -> Figure:
    compared, guard = tally.compared[key], key.guard
    candidate, stable = compared.arms["candidate"], compared.arms.get("stable")
    if stable is not None and not stable.count and key.stage > 0:
        # Nobody asks the version before when the candidate has all questions: what it did in the stage before stands.
        earlier = tally.compared.get(Key(guard, key.stage - 1, "apart", key.value))
        if earlier is not None:
            stable = earlier.arms["stable"]
            compared = Compared(compared.alpha, {"stable": stable, "candidate": candidate})  # ty: ignore
    bounds = compared.bounds()
    limit, mean = guard.limit, stable.mean if stable is not None and stable.count else None
    if guard.metric == "cost" and mean is not None:
        # The values of the serving version are what is allowed: the limit times its own.
        allowed, mean = mean, mean / guard.limit
        limit = allowed - mean
        bounds = Bounds(bounds.low + limit, bounds.high + limit)
    broken = bounds.low > limit or (guard.metric == "score" and bounds.high < -guard.limit)
    if guard.metric == "errors" and stable is not None:
        broken = broken and _fails_more_often(candidate, stable, compared.alpha)
    return Figure(
        "verdict" if guard is VERDICT else guard.metric, key.value, key.how, mean, candidate.mean,
        bounds.low, bounds.high, limit, candidate.count, broken,
    )  # fmt: skip


def _fails_more_often(candidate: Mean | Rate, stable: Mean | Rate, alpha: float) -> bool:
    """Whether more of the failures are the candidate's than its part of the questions explains."""
    failures, part = candidate.total + stable.total, candidate.count / (candidate.count + stable.count)
    return not stable.count or rate(round(candidate.total), round(failures), alpha).low > part


def _bandit_share(tally: Tally, stage: Stage) -> float:
    """The probability that the candidate is the better one, from Beta distributions of one minus the loss."""
    import numpy as np

    least = stage.share or 0.0
    known = tally.losses()
    if known is None:
        return 0.5
    random = np.random.default_rng([sequence.count for sequence in known])
    stable, candidate = (
        random.beta(1 + sequence.count - sequence.total, 1 + sequence.total, DRAWS) for sequence in known
    )
    return float(np.clip((candidate > stable).mean(), least, 1 - least))


def words(figure: Figure) -> str:
    """A figure as one sentence."""
    where = f" for {figure.value}" if figure.value else ""
    if figure.slow_ms is not None:
        return (
            f"{figure.guard}: {figure.candidate:.1%} of the candidate's {figure.answers:,} answers took longer than "
            f"{figure.slow_ms:.0f} ms (allowed {figure.limit:.0%}, bounds {figure.low:.1%} to {figure.high:.1%})"
        )
    stable = "" if figure.stable is None else f" against {figure.stable:.4f}"
    what = "bounds" if figure.guard in ("errors", "disagreement") else "difference"
    return (
        f"{figure.guard}{where}: {figure.candidate:.4f}{stable}, {what} {figure.low:+.4f} to {figure.high:+.4f} "
        f"(limit {figure.limit:g}, {figure.answers:,} answers)"
    )
