"""The data files of an installed Python package, read without importing the package."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

from pipelines.errors import NotFoundError


def package_data(package: str, name: str) -> bytes:
    """A file of a package's folder; of a zip archive, the one file in it.

    Args:
        package: The package's name.
        name: The file, relative to the package's folder.

    Raises:
        NotFoundError: if the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise NotFoundError(
            object=f"file {name} of package {package}",
            observed="the package is not installed" if path is None else f"no file {path}",
            expected="a data file of the installed package",
            next_step="install the locked environment",
        )
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])
