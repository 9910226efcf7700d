"""A home on a network is recognised from the table of mounted file systems."""

from pathlib import Path

import pytest

from engine import launch
from engine.home import Home
from engine.volume import network_file_system

MOUNTS = [
    ("/", "ext4"),
    ("/mnt/share", "nfs4"),
    ("/mnt/share/scratch", "xfs"),
    ("/mnt/c", "9p"),
    ("/home/me/far", "fuse.sshfs"),
    ("/media/nas", "cifs"),
    ("/covered", "nfs"),
    ("/covered", "ext4"),
]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/blueberry", ""),
        ("/mnt/share/blueberry", "nfs4"),
        ("/mnt/share/scratch/blueberry", ""),
        ("/mnt/shared", ""),
        ("/mnt/c/Users", "9p"),
        ("/home/me/far/a/b", "fuse.sshfs"),
        ("/media/nas", "cifs"),
        ("/covered/home", ""),
    ],
)
def test_the_deepest_and_newest_mount_counts(folder: str, kind: str) -> None:
    assert network_file_system(Path(folder), MOUNTS) == kind


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) == ""


def test_opening_a_home_on_a_network_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "network_file_system", lambda _: "nfs4")
    with pytest.warns(UserWarning, match=r"network file system \(nfs4\).*choose a folder on a disk of this machine"):
        launch.open_home(Home.at(tmp_path))
