"""What kind of disk a folder lies on: SQLite's locks do not hold over a network."""

import re
from collections.abc import Iterable
from pathlib import Path

NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\w*|afpfs|afs|ncpfs|9p|drvfs|webdav|davfs2?|ceph|lustre|beegfs|glusterfs|gpfs|"
    r"fuse\.(sshfs|smb\S*|cifs\S*|s3fs|goofys|gcsfuse|blobfuse2?|rclone|glusterfs|ceph\S*|davfs2?))"
)
"""Types of file systems whose files lie on another machine, or behind a protocol like one's (WSL2's drives)."""


def network_file_system(folder: Path, mounts: Iterable[tuple[str, str]] | None = None) -> str:
    """The type of the network file system that `folder` lies on; empty when it is on this machine's own disk.

    `mounts`: where file systems are mounted and of which type they are; the machine's own by default.
    """
    path, deepest, kind = folder.resolve(), -1, ""
    for place, found in _mounts() if mounts is None else mounts:
        depth = len(Path(place).parts)
        # Of two on one place the later one covers the other.
        if depth >= deepest and path.is_relative_to(place):
            deepest, kind = depth, found
    return kind if NETWORK.fullmatch(kind) else ""


def _mounts() -> list[tuple[str, str]]:
    import psutil  # reads /proc/mounts on Linux, asks the system elsewhere

    return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
