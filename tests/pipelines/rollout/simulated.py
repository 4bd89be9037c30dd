"""Simulated versions behind a simulated router: their evidence goes through the real tally and the real decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.models.rollout_plan import Plan, Rollout
from pipelines.rollout.decide import Verdict, decide
from pipelines.rollout.routes import Route
from pipelines.rollout.tally import Tally

#: The fields of a simulated question, and how often each is asked.
SITES, SITE_SHARES = ("EWR", "JFK", "LGA"), (0.4, 0.4, 0.2)
#: How many questions come between two looks, and how long that takes, in minutes.
BATCH, MINUTES = 60, 1.0


@dataclass(frozen=True, slots=True)
class Version:
    """How a simulated version behaves.

    Attributes:
        failures: The probability that it fails, by the question's site.
        slower: A factor of its duration.
        noise: How far its probability lies from the true one, as the standard deviation of the log odds.
        missing: The share of features that it misses.
        dearer: A factor of its processor time.
    """

    failures: Callable[[str], float] = lambda site: 0.001
    slower: float = 1.0
    noise: float = 0.3
    missing: float = 0.02
    dearer: float = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a simulated rollout ended: `next` for promoted or `back`, at which stage, why, after how many questions."""

    action: str
    stage: int
    because: str
    questions: int
    candidates: int
    verdict: Verdict


def simulate(plan: Rollout, stable: Version, candidate: Version, seed: int, *, most: int = 60_000) -> Ended:
    """Runs a rollout to its end.

    Args:
        plan: As a domain declares it.
        stable: The version that serves.
        candidate: The new one.
        seed: Of questions, durations and failures.
        most: The run fails if it has not ended after so many questions.
    """
    running = Plan.of(plan.document())
    random, tally = np.random.default_rng(seed), Tally(running)
    stage, minutes, asked, heard, share = 0, 0.0, 0, 0, running.stages[0].share
    while asked < most:
        route = Route(f"r{seed}", running.name, stage, share, "", 2.0, {})
        lines, labels = _batch(random, route, {"stable": stable, "candidate": candidate}, asked)
        asked += BATCH
        heard += sum(line["arm"] == "candidate" and not line["mirrored"] for line in lines)
        minutes += MINUTES
        tally.add(lines)
        tally.learn(labels)
        verdict = decide(tally, stage, minutes)
        if verdict.share is not None:
            share = verdict.share
        if verdict.action in ("back", "pause") or (verdict.action == "next" and stage + 1 == len(running.stages)):
            return Ended(verdict.action, stage, verdict.because, asked, heard, verdict)
        if verdict.action == "next":
            stage, minutes = stage + 1, 0.0
            share = 0.5 if running.stages[stage].bandit else running.stages[stage].share
    raise AssertionError(f"no end after {most} questions: {verdict}")


def _batch(
    random: np.random.Generator, route: Route, versions: dict[str, Version], asked: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    sites = random.choice(SITES, BATCH, p=SITE_SHARES)
    truth = random.normal(-1.2, 1.0, BATCH)
    came = random.random(BATCH) < 1 / (1 + np.exp(-truth))
    lines, labels = [], {}
    for place in range(BATCH):
        key = f"{asked + place}"
        labels[key] = int(came[place])
        lines += _lines(random, route, versions, key, str(sites[place]), truth[place])
    return lines, labels


def _lines(
    random: np.random.Generator, route: Route, versions: dict[str, Version], key: str, site: str, truth: float
) -> Iterator[dict[str, Any]]:
    arm = route.arm(key)
    own = _line(random, route, versions[arm], arm, key, site, truth)
    yield own
    if route.share is None:
        line = _line(random, route, versions["candidate"], "candidate", key, site, truth)
        yield line | {
            "mirrored": True,
            "stable": [own["answers"][0].get("said", {"probability": 0.0, "decision": "no"})],
        }


def _line(
    random: np.random.Generator, route: Route, version: Version, arm: str, key: str, site: str, truth: float
) -> dict[str, Any]:
    cpu_ms = float(5 * version.dearer * random.lognormal(0, 0.3))
    line = {"at": 0.0, "stage": route.stage, "arm": arm, "mirrored": False, "cpu_ms": cpu_ms,
            "ms": float(20 * version.slower * random.lognormal(0, 0.4)), "failed": None,
            "answers": [{"id": key, "fields": {"origin": site}}]}  # fmt: skip
    if random.random() < version.failures(site):
        return line | {"failed": "ModelError"}
    probability = float(1 / (1 + np.exp(-(truth + random.normal(0, version.noise)))))
    said = {"probability": probability, "decision": "late" if probability >= 0.5 else "on_time"}
    missing = float(random.random() < version.missing)
    return line | {"answers": [{"id": key, "fields": {"origin": site}, "said": said, "missing": missing}]}
