"""The check on every bronze asset: whether each delivery was complete, as declared, and new.

It never blocks: a problem with one file keeps no other file from being taken.
"""

from __future__ import annotations

import textwrap

import dagster as dg

from pipelines.governed.declaration import Check
from pipelines.landing.edge import Edge

CHECK = Check("arrivals", "Each delivery complete, as its manifest and contract say, and new", blocking=False)
#: Most findings in the check's metadata.
SHOWN_FINDINGS = 200
#: Most characters of one finding in the check's description.
SHOWN_CHARACTERS = 200


def check_result(edge: Edge, *, files: int, rows: int) -> dg.AssetCheckResult:
    """The result for one run: an error if a delivery was refused, a warning for any finding besides duplicates,
    and for files that were taken under other options of the contract.

    Args:
        edge: The edge of the run, with its findings; its ledger also holds what earlier runs refused.
        files: How many files the run took.
        rows: How many rows these files had.
    """
    findings = edge.findings
    refused_before = [r for r in edge.ledger.records(fate="refused") if edge.landing.now(r.delivery) is not None]
    refused = [finding for finding in findings if finding.treatment == "refused"] or refused_before
    notable = [finding for finding in findings if finding.code != "duplicate"]
    folder = f"{edge.contract.table.domain}/{edge.contract.table.table}/"
    parts = [f"{counted(files, 'file')} with {counted(rows, 'row')} taken"]
    for code in sorted({finding.code for finding in findings}):
        observed = [f"{f.subject.removeprefix(folder)}: {f.observed}" for f in findings if f.code == code]
        first = textwrap.shorten(observed[0], SHOWN_CHARACTERS, placeholder=" …")
        parts.append(f"{code}: {first}" + (f", and {len(observed) - 1:,} more" if observed[1:] else ""))
    outdated = edge.ledger.read_otherwise(edge.contract.reading)
    if outdated:
        parts.append(
            f"{counted(len(outdated), 'file')} taken before the contract said how to read them now: "
            f"goldpath landing retake {folder.rstrip('/')}"
        )
    parts += [f"{len(refused_before)} refused and still there"] if refused_before else []
    return dg.AssetCheckResult(
        check_name=CHECK.name,
        passed=not refused and not notable and not outdated,
        severity=dg.AssetCheckSeverity.ERROR if refused else dg.AssetCheckSeverity.WARN,
        asset_key=dg.AssetKey(edge.contract.table.key),
        description="; ".join(parts),
        metadata={"files_taken": files, "files_refused": len(refused_before), "findings": _shown(edge)},
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _shown(edge: Edge) -> dg.MetadataValue | str:
    """The first findings as a table for Dagster's UI."""
    columns = [finding.columns() for finding in edge.findings[:SHOWN_FINDINGS]]
    if not columns:
        return "none"
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in columns[0]])
    return dg.MetadataValue.table([dg.TableRecord(row) for row in columns], schema=schema)
