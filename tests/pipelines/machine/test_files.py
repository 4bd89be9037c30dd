"""Files are replaced atomically, and a secret is created once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from pipelines.machine import files


@pytest.mark.parametrize("survives", ["process", "power"])
@pytest.mark.parametrize(("content", "read"), [("né\n", "né\n"), (b"\x00\xff", None)])
def test_a_replaced_file_has_its_new_content_and_no_temporary_file_is_left(
    tmp_path: Path, survives: files.Durability, content: str | bytes, read: str | None
) -> None:
    path = tmp_path / "folder" / "note"
    files.replace(path, "old")
    files.replace(path, content, survives=survives)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert read is None or path.read_text(encoding="utf-8") == read
    assert [entry.name for entry in path.parent.iterdir()] == ["note"]


def interrupted(path: Path) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise OSError("disk")


def test_an_error_while_writing_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "note"
    files.replace(path, "old")
    with pytest.raises(OSError, match="disk"):
        interrupted(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_create_a_secret_at_the_same_time_get_one_text_that_only_the_owner_may_read(
    tmp_path: Path,
) -> None:
    path, numbers = tmp_path / "keys" / "token", count()
    with ThreadPoolExecutor(8) as threads:
        secrets = list(threads.map(lambda _: files.secret(path, lambda: f"secret {next(numbers)}"), range(32)))
    assert len(set(secrets)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    with pytest.raises(SettingsError, match="empty"):
        files.secret(tmp_path / "token", lambda: "secret")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "note"
    path.write_text("old", encoding="utf-8")
    path.chmod(mode)
    files.replace(path, "new")
    assert (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)


def test_of_a_link_the_file_is_replaced_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "note", tmp_path / "note"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    files.replace(link, "new")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "note", "note"]


def test_several_files_are_replaced_or_none(tmp_path: Path) -> None:
    old, new, folder = tmp_path / "old", tmp_path / "new", tmp_path / "folder"
    old.write_text("before", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        files.replace_all({old: "after", new: "\ud800"})
    assert (old.read_text(encoding="utf-8"), list(tmp_path.iterdir())) == ("before", [old])
    files.replace_all({old: "after", folder / "more": "é"})
    assert (old.read_text(encoding="utf-8"), (folder / "more").read_text(encoding="utf-8")) == ("after", "é")
