"""When do two rows have one key? The one comparison of duplicates, of merges and of corrections.

Values are compared as they are. If the contract has a `variant` rule for the key (`keyMatch: normalized`), its texts
are compared without case and surrounding space. A column of the primary key is never null: such a row is rejected.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.contracts.model import Contract
from pipelines.tables import quoted
from pipelines.verdict.text_values import SPACE

#: The number of the rules that decide which rows have one key, and which of them stays. Tables that were derived by
#: other rules are derived again.
RULES = 2


def is_normalized(contract: Contract, key: Sequence[str]) -> bool:
    """Whether the texts of a key are compared without case and surrounding space."""
    return any(rule.kind == "variant" and rule.argument == tuple(key) for rule in contract.row_rules)


def values(contract: Contract, key: Sequence[str], *, of: str | None = None) -> list[str]:
    """SQL, for every engine, of the values by which a row's key is compared.

    Args:
        contract: Of the table.
        key: The columns of the key.
        of: The alias of the rows; None where there are no others.
    """
    normalized, prefix = is_normalized(contract, key), f"{of}." if of else ""
    return [
        f"lower(btrim({prefix}{quoted(name)}, '{SPACE}'))"
        if normalized and contract.column(name).type == "string"
        else f"{prefix}{quoted(name)}"
        for name in key
    ]


def same(contract: Contract, key: Sequence[str], *, old: str = "old", new: str = "new") -> str:
    """SQL that is true where the rows of two aliases have one key; both keys are complete."""
    pairs = zip(values(contract, key, of=old), values(contract, key, of=new), strict=True)
    return " AND ".join(f"{a} = {b}" for a, b in pairs)
