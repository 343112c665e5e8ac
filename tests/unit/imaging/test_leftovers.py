"""What killed writers leave in the folder of images, and who tidies it up."""

import os
import time
from pathlib import Path
from uuid import uuid4

from shared.adapters.disk_images import DiskImageStore
from tests.support.builders import picture

HOUR_SECONDS = 3600


def leave(path: Path, age_seconds: float) -> Path:
    """Leave a file of some age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half a pict")
    moment = time.time() - age_seconds
    os.utime(path, (moment, moment))
    return path


def test_only_old_temporary_files_are_deleted(tmp_path: Path) -> None:
    """A young one may be in use; pictures and their facts stay, however old."""
    store = DiskImageStore(tmp_path)
    job_id = uuid4()
    saved = store.save(job_id, 1, picture(0))
    folder = tmp_path / str(job_id) / "1"
    for path in (folder / "0", folder / "0.json"):
        os.utime(path, (0, 0))
    old = leave(folder / ".1.0123456789abcdef.tmp", 2 * HOUR_SECONDS)
    young = leave(folder / ".2.0123456789abcdef.tmp", 60)

    assert store.delete_leftovers(HOUR_SECONDS) == 1

    assert (old.exists(), young.exists()) == (False, True)
    assert store.find_saved(job_id) == [saved]


def test_a_folder_that_was_never_made_holds_no_leftovers(tmp_path: Path) -> None:
    """It is made when the first picture is saved."""
    assert DiskImageStore(tmp_path / "images").delete_leftovers(0) == 0
