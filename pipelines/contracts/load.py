"""Loads the contracts of files and of folders; each file is read once in a process."""

from __future__ import annotations

import functools
from pathlib import Path

from pipelines.contracts import reader
from pipelines.contracts.model import Contract
from pipelines.contracts.nodes import refuse
from pipelines.errors import NotFoundError
from pipelines.tables import TableId


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
        ContractError: if a file is not valid, or two files describe one table.
    """
    contracts = Contracts()
    for path in sorted(folder.glob("*.yaml")):
        contract = load(path)
        if contract.table in contracts:
            refuse(path, ["schema", 0, "physicalName"], str(contract.table), "a table that no other file describes")
        contracts[contract.table] = contract
    return contracts
