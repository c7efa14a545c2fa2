"""A disk that can be full: a file system in memory, of a size of its own. Root may mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Disk", "mounted"]


SPARED_BYTES = 8 * 1024 * 1024


class Disk:
    """A mounted file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte to anybody, whatever others write meanwhile."""
        free_bytes = shutil.disk_usage(self.folder).free
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            os.posix_fallocate(ballast.fileno(), 0, max(free_bytes - SPARED_BYTES, 1))
            ballast.seek(0, os.SEEK_END)
            while ballast.write(bytes(4096)):
                pass

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path, size_mb: int) -> Iterator[Disk | None]:
    """A disk of this size at the folder; None where it may not be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_mb}m,mode=755"
    can_mount = sys.platform == "linux" and os.geteuid() == 0
    if (
        not can_mount
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False
        ).returncode
    ):
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        # Lazily: whoever was killed may not be gone yet.
        subprocess.run(["umount", "-l", str(folder)], check=True)
