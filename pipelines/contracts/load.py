"""Loads the contracts of files and of folders; each file is read once in a process."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from pathlib import Path

from pipelines.contracts import reader
from pipelines.contracts.model import Contract
from pipelines.contracts.nodes import refuse
from pipelines.errors import NotFoundError
from pipelines.tables import TableId

#: The folder of a domain in `assets/` that holds its contracts.
CONTRACTS_FOLDER = "contracts"


@functools.cache
def load(path: Path) -> Contract:
    """Reads and validates one contract file.

    Raises:
        ContractError: naming the file, the place in it, the value there and what is allowed.
    """
    return reader.read(path)


class Contracts(dict[TableId, Contract]):
    """The contracts of one data domain, by table."""

    def named(self, name: str) -> Contract:
        """The contract of `zone/table`.

        Raises:
            NotFoundError: if the domain has no contract of that table.
        """
        for table, contract in self.items():
            if f"{table.zone}/{table.table}" == name:
                return contract
        raise NotFoundError(
            object=f"contract of {name}",
            observed="no contract file describes this table",
            expected=f"the zone/table of one of {', '.join(map(str, self)) or 'no contracts yet'}",
            next_step="add a contract file to the domain's contracts folder",
        )


def load_folder(folder: Path) -> Contracts:
    """The contracts of one data domain: all `*.yaml` files of a folder.

    Raises:
        ContractError: if a file is not valid, two files describe one table, a file in `<domain>/contracts` describes a
            table of another domain, or a column refers to one of the domain that does not exist.
    """
    contracts = Contracts()
    names: set[str] = set()
    for path in sorted(folder.glob("*.yaml")):
        contract, at = load(path), ["schema", 0, "physicalName"]
        if str(contract.table).lower() in names:
            allowed = "a table that no other file describes, and whose name differs from others by more than case"
            refuse(path, at, str(contract.table), allowed)
        if folder.name == CONTRACTS_FOLDER and folder.parent.name != contract.table.domain:
            refuse(
                path, at, str(contract.table), f"a table of the domain {folder.parent.name}, in whose folder it lies"
            )
        names.add(str(contract.table).lower())
        contracts[contract.table] = contract
    require_references(contracts, domains={contract.table.domain for contract in contracts.values()})
    return contracts


def require_references(
    contracts: Mapping[TableId, Contract],
    *,
    domains: Collection[str],
    among: Mapping[TableId, Contract] | None = None,
) -> None:
    """Raises ContractError for a reference to a column that does not exist.

    Args:
        contracts: The contracts whose references are looked at.
        domains: The domains all of whose contracts are given; references to tables of others are not looked at.
        among: The contracts of the tables that they may point to; None: the same contracts.
    """
    among = contracts if among is None else among
    for contract in contracts.values():
        for rule in contract.row_rules:
            if rule.kind != "reference" or rule.argument[0].domain not in domains:
                continue
            table, column = rule.argument
            target = among.get(table)
            if target is None or column not in target.published_columns:
                known = ", ".join(target.published_columns) if target else "a table that has a contract"
                at = ["schema", 0, "properties", contract.published_columns.index(rule.column), "relationships"]
                refuse(contract.path, at, f"{table}.{column}".replace("/", "."), f"a column of {table}: {known}")
