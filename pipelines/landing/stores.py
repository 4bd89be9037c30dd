"""Where landed files are kept: a folder of this machine or a prefix of an S3 bucket, with one interface.

In both a file appears as a whole or not at all: in a folder by a rename, in a bucket by a copy of a complete upload.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from pipelines.errors import LandingError, SettingsError, TransientError
from pipelines.machine.files import replacing

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, S3FileSystem

    from pipelines.settings import Settings

S3 = "s3://"
#: Bytes of a file that are copied into a store at once.
COPIED_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        path: Its path below the root.
        bytes: Its size.
        modified_ns: When it was written, in nanoseconds since the epoch, by the store's clock.
        link: Whether it is a symbolic link; size and time are then the link's own.
    """

    path: str
    bytes: int
    modified_ns: int
    link: bool = False


class Store(ABC):
    """Files below one root. Paths are relative to it, with slashes."""

    root: str

    @abstractmethod
    def folders(self, path: str) -> list[str]:
        """The names of the folders directly in a folder, sorted; none if the folder does not exist."""

    @abstractmethod
    def files(self, path: str) -> Iterator[Entry]:
        """The files directly in a folder, sorted by name; none if the folder does not exist."""

    @abstractmethod
    def stat(self, path: str) -> Entry | None:
        """The file, or None if it does not exist."""

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """A seekable stream of a file's bytes, which the caller closes; raises FileNotFoundError."""

    @abstractmethod
    def put(self, path: str, content: bytes | Path) -> None:
        """Creates or replaces a file: a reader sees the complete new file, or what was there before.

        The file is there after a power cut, so a sender may forget what this method has returned from.
        """


class FolderStore(Store):
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._root = root

    def folders(self, path: str) -> list[str]:
        base = self._root / path
        return sorted(e.name for e in _scan(base) if e.is_dir(follow_symlinks=False)) if base.is_dir() else []

    def files(self, path: str) -> Iterator[Entry]:
        for entry in sorted(_scan(self._root / path), key=lambda e: e.name):
            with contextlib.suppress(FileNotFoundError):  # a file may be renamed while the folder is listed
                if entry.is_symlink() or entry.is_file():
                    status = entry.stat(follow_symlinks=False)
                    yield Entry(f"{path}/{entry.name}", status.st_size, status.st_mtime_ns, entry.is_symlink())

    def stat(self, path: str) -> Entry | None:
        try:
            status = (self._root / path).stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        return Entry(path, status.st_size, status.st_mtime_ns)

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def put(self, path: str, content: bytes | Path) -> None:
        with replacing(self._root / path, survives="power") as temporary:
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                with content.open("rb") as source, temporary.open("wb") as target:
                    shutil.copyfileobj(source, target, COPIED_BYTES)


class BucketStore(Store):
    """A prefix of an S3 bucket, through Arrow's client."""

    def __init__(self, settings: Settings) -> None:
        self.root = str(settings.landing_uri)
        self._prefix = PurePosixPath(self.root.removeprefix(S3))
        self._settings = settings
        self._client: S3FileSystem | None = None

    @property
    def _files(self) -> S3FileSystem:
        if self._client is None:
            from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

            settings = self._settings
            secret = settings.landing_s3_secret_key
            endpoint = settings.landing_s3_endpoint
            self._client = S3FileSystem(
                access_key=settings.landing_s3_access_key,
                secret_key=secret.get_secret_value() if secret else None,
                endpoint_override=endpoint.partition("://")[2] if endpoint else None,
                scheme=endpoint.partition("://")[0] if endpoint else "https",
                region=settings.landing_s3_region,
                retry_strategy=AwsStandardS3RetryStrategy(max_attempts=5),
                background_writes=False,
            )
        return self._client

    def folders(self, path: str) -> list[str]:
        from pyarrow.fs import FileType

        return [PurePosixPath(info.path).name for info in self._listed(path) if info.type == FileType.Directory]

    def files(self, path: str) -> Iterator[Entry]:
        from pyarrow.fs import FileType

        for info in self._listed(path):
            if info.type == FileType.File:
                yield Entry(f"{path}/{PurePosixPath(info.path).name}", info.size, info.mtime_ns)

    def _listed(self, path: str) -> list[FileInfo]:
        from pyarrow.fs import FileSelector

        try:
            entries = self._files.get_file_info(FileSelector(str(self._prefix / path), allow_not_found=True))
        except OSError as error:
            raise self._failed(path, error) from None
        return sorted(entries, key=lambda info: str(info.path))

    def stat(self, path: str) -> Entry | None:
        from pyarrow.fs import FileType

        try:
            [info] = self._files.get_file_info([str(self._prefix / path)])
        except OSError as error:
            raise self._failed(path, error) from None
        return Entry(path, info.size, info.mtime_ns) if info.type == FileType.File else None

    def open(self, path: str) -> BinaryIO:
        try:
            return cast("BinaryIO", self._files.open_input_file(str(self._prefix / path)))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failed(path, error) from None

    def put(self, path: str, content: bytes | Path) -> None:
        # Arrow completes an upload even if an error interrupts it. So the upload has a name that readers ignore.
        target = self._prefix / path
        temporary = str(target.parent / f".{target.name}.{os.getpid()}")
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
            try:
                with self._files.open_output_stream(temporary) as stream:
                    shutil.copyfileobj(source, stream, COPIED_BYTES)
                self._files.copy_file(temporary, str(target))
            except OSError as error:
                raise self._failed(path, error) from None
            finally:
                with contextlib.suppress(OSError):
                    self._files.delete_file(temporary)

    def _failed(self, path: str, error: OSError) -> LandingError | TransientError:
        denied = re.search("ACCESS_DENIED|SIGNATURE|access key|HTTP status 403", str(error)) is not None
        kind = LandingError if denied or "NO_SUCH_BUCKET" in str(error) else TransientError
        return kind(
            object=f"landing {self.root}, {path}",
            observed=str(error).splitlines()[0],
            expected="a bucket that exists, an endpoint that answers, and keys that may read and write there",
            next_step="look at GOLDPATH_LANDING_URI and GOLDPATH_LANDING_S3_*",
        )


def open_store(settings: Settings) -> Store:
    """The store that the settings name.

    Raises:
        SettingsError: if the address is neither a folder nor an S3 prefix.
    """
    address = settings.landing_uri or ""
    if address.startswith(S3):
        return BucketStore(settings)
    if "://" in address:
        raise SettingsError(
            object="environment variable GOLDPATH_LANDING_URI",
            observed=repr(address),
            expected="a folder, or s3://bucket/prefix",
            next_step="correct or unset it",
        )
    return FolderStore(settings.landing)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder; none if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
