"""A home with any path is reached by a plain one, or refused with words."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines import plain_path
from pipelines.errors import SettingsError
from pipelines.lakehouse.catalog import Catalog
from pipelines.plain_path import plain, private_folder
from pipelines.settings import Settings
from pipelines.tables import TableId

TABLE = TableId("gold", "toys", "blocks")


@pytest.fixture(autouse=True)
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for /tmp."""
    monkeypatch.setattr(plain_path, "TEMPORARY", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [" ", "é", "#", "%", "?", "*", "'", '"', "{a}", "~", ":", "$", "&", "=", "日"])
def test_a_home_of_any_name_is_reached_by_a_plain_path(tmp_path: Path, name: str) -> None:
    home = tmp_path / f"a{name}b" / "home"
    root = Settings(home=home).root
    assert re.fullmatch("[A-Za-z0-9/._+-]+", str(root))
    assert root.resolve() == home
    assert Settings(home=home).root == Settings(home=root).root == root
    root.unlink()
    assert Settings(home=home).root.resolve() == home
    catalog = Catalog(Settings(home=home).lakehouse)
    write_deltalake(str(catalog.path(TABLE)), pa.table({"part": ["a b", "é%20"], "n": [1, 2]}), partition_by=["part"])
    snapshot = catalog.snapshot(TABLE)
    assert (len(snapshot.files), snapshot.missing_files()) == (2, [])
    assert sorted(snapshot.arrow()["n"].to_pylist()) == [1, 2]
    snapshot.files[0].unlink()
    assert len(snapshot.missing_files()) == 1


def test_processes_that_begin_at_once_have_one_link(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        roots = set(threads.map(plain, [tmp_path / "a b"] * 50))
    assert [root.resolve() for root in roots] == [tmp_path / "a b"]


def test_the_folder_of_links_is_its_owners_alone_and_each_home_has_its_own(tmp_path: Path) -> None:
    first, second = plain(tmp_path / "a b"), plain(tmp_path / "a  b")
    assert first != second
    assert first.parent.stat().st_mode & 0o777 == 0o700


def test_a_plain_path_stays_as_it_is() -> None:
    assert plain(Path("/srv/goldpath-1/home_2+3.d")) == Path("/srv/goldpath-1/home_2+3.d")


@pytest.mark.parametrize("name", ["[", "]", "\\", "^", "|", "%41", "\n", "\udce9"])
def test_a_home_in_which_no_table_can_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(repr(name))):
        _ = Settings(home=tmp_path / f"a{name}b").root


@pytest.mark.parametrize("kind", ["readable", "file", "link"])
def test_a_folder_of_links_that_is_not_this_users_alone_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "links"
    if kind == "readable":
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    elif kind == "file":
        folder.write_text("")
    else:
        folder.symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(SettingsError, match="no folder of this user's alone"):
        private_folder(folder)


def test_a_link_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    link = plain(tmp_path / "a b")
    link.unlink()
    link.symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(SettingsError, match="leads to"):
        plain(tmp_path / "a b")


def test_a_home_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("a file")
    with pytest.raises(SettingsError, match="cannot be created"):
        plain(tmp_path / "a b" / "home")


@pytest.mark.parametrize("cluster", [{"spark_remote": "sc://host:1"}, {"spark_master": "spark://host:1"}])
def test_tables_that_other_machines_reach_have_a_plain_path(tmp_path: Path, cluster: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="several machines"):
        _ = Settings(home=tmp_path / "a b", **cluster).lakehouse
    with pytest.raises(SettingsError, match="several machines"):
        _ = Settings(lakehouse_uri=str(tmp_path / "a#b")).lakehouse
    assert Settings(home=tmp_path / "a b", lakehouse_uri="/srv/tables/", **cluster).lakehouse == "/srv/tables"
