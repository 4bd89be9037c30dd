"""Where landed files are kept: a folder of this machine or a prefix of an S3 bucket, with one interface.

In both a file appears as a whole or not at all: in a folder by a rename, in a bucket by a copy of a complete upload.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import stat
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from pipelines.errors import LandingError, SettingsError, TransientError
from pipelines.machine.files import replacing

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

    from pipelines.settings import Settings

S3 = "s3://"
#: Bytes of a file that are copied into a store at once.
COPIED_BYTES = 8 << 20
#: The longest key of a bucket; a file with a longer name does not exist.
KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or symbolic link.

    Attributes:
        path: Its path below the root.
        kind: What it is; links are never followed, since they may lead out of landing.
        bytes: The size of a file.
        modified_ns: When a file was written, in nanoseconds since the epoch, by the store's clock.
    """

    path: str
    kind: Literal["file", "folder", "link"]
    bytes: int = 0
    modified_ns: int = 0

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


class Store(ABC):
    """Files below one root. Paths are relative to it, with slashes."""

    root: str

    @abstractmethod
    def entries(self, path: str) -> list[Entry]:
        """What is directly in a folder, sorted by name; nothing if it does not exist, or a link leads there."""

    def folders(self, path: str) -> list[str]:
        """The names of the folders directly in a folder, sorted."""
        return [entry.name for entry in self.entries(path) if entry.kind == "folder"]

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


class ListedOnce(Store):
    """Another store, each of whose folders is listed once: what lands in it later is not seen.

    Args:
        store: The other store.
        entries: How many entries are remembered at most; folders beyond are listed each time.
    """

    def __init__(self, store: Store, entries: int = 100_000) -> None:
        self.root = store.root
        self._store = store
        self._room = entries
        self._listed: dict[str, list[Entry]] = {}

    def entries(self, path: str) -> list[Entry]:
        if path in self._listed:
            return self._listed[path]
        entries = self._store.entries(path)
        if len(entries) <= self._room:
            self._room -= len(entries)
            self._listed[path] = entries
        return entries

    def stat(self, path: str) -> Entry | None:
        return self._store.stat(path)

    def open(self, path: str) -> BinaryIO:
        return self._store.open(path)

    def put(self, path: str, content: bytes | Path) -> None:
        self._store.put(path, content)


class FolderStore(Store):
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._root = root

    def entries(self, path: str) -> list[Entry]:
        if self._is_linked(path):
            return []
        entries = []
        for found in sorted(_scan(self._root / path), key=lambda entry: entry.name):
            below = f"{path}/{found.name}".lstrip("/")
            with contextlib.suppress(FileNotFoundError):  # a file may be renamed while the folder is listed
                if found.is_symlink():
                    entries.append(Entry(below, "link"))
                elif found.is_dir():
                    entries.append(Entry(below, "folder"))
                elif found.is_file():
                    status = found.stat()
                    entries.append(Entry(below, "file", status.st_size, status.st_mtime_ns))
        return entries

    def _is_linked(self, path: str) -> bool:
        """Whether a folder below the root, or one that it lies in, is a symbolic link."""
        folder = PurePosixPath(path)
        return any((self._root / part).is_symlink() for part in (folder, *folder.parents) if part.name)

    def stat(self, path: str) -> Entry | None:
        try:
            status = os.lstat(f"{self.root}/{path}")
        except FileNotFoundError:
            return None
        return Entry(path, "file", status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def open(self, path: str) -> BinaryIO:
        try:
            # Without waiting for the writer of a named pipe, which is refused below, and without following a link.
            descriptor = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # of the manifest of a file with a long name
                raise FileNotFoundError(error.errno, error.strerror, path) from None
            raise
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "not a file", path)
        return file

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

    def entries(self, path: str) -> list[Entry]:
        from pyarrow.fs import FileSelector, FileType

        try:
            listed = self._files.get_file_info(FileSelector(str(self._prefix / path), allow_not_found=True))
        except OSError as error:
            raise self._failed(path, error) from None
        entries = []
        for info in listed:
            below = f"{path}/{PurePosixPath(info.path).name}".lstrip("/")
            if info.type == FileType.File:
                entries.append(Entry(below, "file", info.size, info.mtime_ns))
            elif info.type == FileType.Directory:
                entries.append(Entry(below, "folder"))
        return sorted(entries, key=lambda entry: entry.path)

    def stat(self, path: str) -> Entry | None:
        from pyarrow.fs import FileType

        try:
            [info] = self._files.get_file_info([str(self._prefix / path)])
        except OSError as error:
            raise self._failed(path, error) from None
        return Entry(path, "file", info.size, info.mtime_ns) if info.type == FileType.File else None

    def open(self, path: str) -> BinaryIO:
        if len(str(self._prefix / path).partition("/")[2].encode()) > KEY_BYTES:
            raise FileNotFoundError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        try:
            return cast("BinaryIO", self._files.open_input_file(str(self._prefix / path)))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failed(path, error) from None

    def put(self, path: str, content: bytes | Path) -> None:
        # Arrow completes an upload even if an error interrupts it. So the upload has a name that readers ignore.
        target = self._prefix / path
        temporary = str(target.parent / f".{uuid.uuid4().hex}")
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
    """The entries of a folder; none if there is no folder of that name."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
