"""One process at a time in the folder of a run or of a comparison."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from motet._internal.files import make_folder, remove_leftovers
from motet.errors import InputError

LOCK = ".lock"
"""The name of the lock's file. It is in the folder only while a process holds the lock, or after it was killed."""


class FolderInUseError(InputError):
    """Raised if another process or thread is using a folder."""


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Create `folder`, and let no other process or thread use it in this context.

    The operating system releases the lock of a process that ends in any way. A thread may take it several times. A
    folder that was created here and is still empty at the end is removed.

    Args:
        folder: the folder.

    Raises:
        FolderInUseError: if another process or thread is using the folder.
        OSError: if the folder cannot be created or written.
    """
    from filelock import FileLock, Timeout

    created = [place for place in (folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    file = folder.resolve() / LOCK
    # One object for each file, which counts how often each thread has taken it.
    lock = FileLock(file, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            "only one process at a time may use an output folder",
            got=f"{folder}, which another process is using",
            fix="Wait until that process ends, or choose another folder with --out",
        ) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            # Before it is released. A process that has opened the removed file takes no lock with it, and tries again.
            file.unlink(missing_ok=True)
        lock.release()
        for place in created:
            with suppress(OSError):  # not empty
                place.rmdir()


def is_in_use(folder: Path) -> bool:
    """Whether another process or thread is using the folder."""
    if not (folder / LOCK).exists():
        return False
    try:
        with only_process_in(folder):
            return False
    except FolderInUseError:
        return True


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in `folder`, unless a process is using it now, or it cannot be written."""
    if (folder / LOCK).exists() or any(folder.glob(".*.part")):
        with suppress(FolderInUseError, OSError), only_process_in(folder):
            remove_leftovers(folder)
