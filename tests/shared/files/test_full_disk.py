"""A folder whose disk is full, a real one: it is told before a file is refused, and as one is."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sluiceway.errors import FilesUnavailable
from sluiceway.files import objects
from sluiceway.files.objects import FileObjects


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.requirement("OP-10", "CH-17")
async def test_a_full_disk_is_told_to_operators_before_a_file_is_refused_and_as_one_is(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FileObjects(f"file:{small_disk}")
    told = await files.problem()
    assert told is not None
    assert told.startswith("its disk, or its quota, is full: 0 MiB are free in the folder of FILES_URL. ")
    with pytest.raises(FilesUnavailable, match="its disk, or its quota, is full"):
        await files.put("large", bytes(200_000))
    assert await files.read("large") is None
    # What it has room for.
    await files.put("small", b"some")
    assert await files.read("small") == b"some"
    monkeypatch.setattr(objects, "_LEAST_FREE_BYTES", 1)
    assert await files.problem() is None
