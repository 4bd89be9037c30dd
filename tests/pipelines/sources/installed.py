"""Python distributions in a folder, as pip leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path


def install(
    folder: Path, name: str, version: str, modules: Mapping[str, str], *, fields: str = "", text: str = "Text.\n"
) -> None:
    """Installs a distribution; one that was there before is replaced.

    Args:
        folder: The folder that packages are imported from.
        name: The distribution's name.
        version: Its version.
        modules: The source of each of its modules, by path below the folder.
        fields: Further lines of its metadata's header.
        text: Its description.
    """
    stem = name.replace("-", "_")
    for old in folder.glob(f"{stem}-*.dist-info"):
        shutil.rmtree(old)
    info = folder / f"{stem}-{version}.dist-info"
    info.mkdir(parents=True)
    header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{fields}"
    (info / "METADATA").write_text(f"{header}\n{text}", "utf-8")
    for path, content in modules.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, "utf-8")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in [*modules, f"{info.name}/METADATA"]), "utf-8")
