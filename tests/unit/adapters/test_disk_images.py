"""The image store on disk."""

import errno
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from shared.adapters.disk_images import DiskImageStore
from shared.errors import StorageUnavailable
from shared.imaging.provider import GeneratedImage

JOB_ID = UUID("0190a1b2-0000-7000-8000-000000000001")
DATA = b"\x89PNG\r\n\x1a\n" + b"x" * 2000


def build_image(position: int = 0, data: bytes = DATA) -> GeneratedImage:
    """Return an image of a position."""
    return GeneratedImage(position, data, "image/png", 256, 320, 11, "mock", "mock-1")


@pytest.fixture
def store(tmp_path: Path) -> DiskImageStore:
    """Return a store in a folder that does not exist yet."""
    return DiskImageStore(tmp_path / "some where" / "images")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of attempt 1 of the job, in the store."""
    return tmp_path / "some where" / "images" / str(JOB_ID) / "1"


def names_in(folder: Path) -> list[str]:
    """Return the names of all entries of a folder."""
    return sorted(entry.name for entry in folder.iterdir())


def test_saved_picture_is_described_found_and_loaded(store: DiskImageStore) -> None:
    """Facts and bytes come back exactly, also through another object on the same folder."""
    saved = store.save(JOB_ID, 2, build_image(3))
    assert saved.storage_key == f"{JOB_ID}/2/3"
    assert (saved.size_bytes, saved.sha256) == (len(DATA), sha256(DATA).hexdigest())
    assert (saved.position, saved.width_px, saved.height_px, saved.seed) == (3, 256, 320, 11)
    assert (saved.media_type, saved.provider, saved.model) == ("image/png", "mock", "mock-1")
    assert store.find_saved(JOB_ID) == [saved]
    assert store.load(saved.storage_key) == DATA


def test_only_bytes_and_facts_lie_in_the_folder(store: DiskImageStore, folder: Path) -> None:
    """No temporary file survives a save, and the file holds the exact bytes."""
    store.save(JOB_ID, 1, build_image())
    assert names_in(folder) == ["0", "0.json"]
    assert (folder / "0").read_bytes() == DATA


def test_saving_the_same_again_changes_nothing(store: DiskImageStore, folder: Path) -> None:
    """The second save writes no file."""
    first = store.save(JOB_ID, 1, build_image())
    before = [entry.stat().st_ino for entry in (folder / "0", folder / "0.json")]
    assert store.save(JOB_ID, 1, build_image()) == first
    assert [entry.stat().st_ino for entry in (folder / "0", folder / "0.json")] == before


def test_other_bytes_under_the_same_key_replace_the_first(store: DiskImageStore) -> None:
    """Facts and bytes always belong together."""
    store.save(JOB_ID, 1, build_image())
    other = store.save(JOB_ID, 1, build_image(data=DATA[::-1]))
    assert store.find_saved(JOB_ID) == [other]
    assert store.load(other.storage_key) == DATA[::-1]


def test_attempts_are_merged_by_position_and_the_earlier_wins(store: DiskImageStore) -> None:
    """Each position is there once, of the first attempt to save it; attempts sort as numbers."""
    late = store.save(JOB_ID, 10, build_image(0))
    early = store.save(JOB_ID, 2, build_image(0))
    other = store.save(JOB_ID, 10, build_image(1))
    store.save(UUID(int=1), 1, build_image(2))
    assert late != early
    assert store.find_saved(JOB_ID) == [early, other]


def test_job_without_pictures_has_none(store: DiskImageStore) -> None:
    """Neither the job's folder nor the root needs to exist."""
    assert store.find_saved(JOB_ID) == []


def test_folder_that_cannot_be_read_is_not_an_empty_one(
    store: DiskImageStore, folder: Path
) -> None:
    """It may hold pictures that were paid for."""
    folder.parent.parent.mkdir(parents=True)
    folder.parent.write_text("a file where the job's folder would be")
    with pytest.raises(StorageUnavailable, match="could not read image"):
        store.find_saved(JOB_ID)


@pytest.mark.parametrize("missing", ["0", "0.json"])
def test_half_a_picture_is_no_picture(store: DiskImageStore, folder: Path, missing: str) -> None:
    """A writer killed between facts and bytes has saved nothing; saving again heals it."""
    saved = store.save(JOB_ID, 1, build_image())
    (folder / missing).unlink()
    assert store.find_saved(JOB_ID) == []
    assert store.save(JOB_ID, 1, build_image()) == saved
    assert store.find_saved(JOB_ID) == [saved]


def test_bytes_of_another_size_are_no_picture(store: DiskImageStore, folder: Path) -> None:
    """Facts of other bytes do not count."""
    store.save(JOB_ID, 1, build_image())
    (folder / "0").write_bytes(DATA[:-1])
    assert store.find_saved(JOB_ID) == []


@pytest.mark.parametrize("change", ["no json", "[]", "{}", "bool", "extra", "other key", "\x80"])
def test_broken_facts_are_no_picture(store: DiskImageStore, folder: Path, change: str) -> None:
    """Whatever is not exactly the facts of this picture is passed over."""
    store.save(JOB_ID, 1, build_image())
    facts = json.loads((folder / "0.json").read_text())
    changed = {
        "bool": json.dumps({**facts, "position": False}),
        "extra": json.dumps({**facts, "owner": "x"}),
        "other key": json.dumps({**facts, "storage_key": f"{JOB_ID}/2/0"}),
    }
    (folder / "0.json").write_bytes(changed.get(change, change).encode("latin-1"))
    assert store.find_saved(JOB_ID) == []


def test_foreign_and_temporary_files_are_passed_over(store: DiskImageStore, folder: Path) -> None:
    """Leftovers of killed writers and files of other programs do no harm."""
    saved = store.save(JOB_ID, 1, build_image())
    (folder / ".1.0123456789abcdef.tmp").write_bytes(DATA)
    (folder / "notes.txt").write_text("mine")
    (folder / "007").write_bytes(DATA)
    (folder / "5").mkdir()
    (folder / "6.json").mkdir()
    (folder / "6").write_bytes(DATA)
    (folder.parent / "not-an-attempt").mkdir()
    (folder.parent / "9").write_text("a file where an attempt would be")
    assert store.find_saved(JOB_ID) == [saved]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "../../etc/passwd",
        f"{JOB_ID}/1",
        f"{JOB_ID}/1/../1",
        f"/{JOB_ID}/1/0",
        f"{JOB_ID}/1/0\n",
    ],
)
def test_key_that_is_none_is_refused(store: DiskImageStore, key: str) -> None:
    """Nothing outside the store can be named."""
    with pytest.raises(StorageUnavailable, match="is not a storage key"):
        store.load(key)


def test_missing_picture_cannot_be_loaded(store: DiskImageStore, tmp_path: Path) -> None:
    """The message names the key and the reason, and no path."""
    with pytest.raises(StorageUnavailable) as raised:
        store.load(f"{JOB_ID}/1/0")
    assert str(raised.value) == f"could not read image {JOB_ID}/1/0: No such file or directory"
    assert str(tmp_path) not in str(raised.value)


def test_links_out_of_the_store_are_not_followed(
    store: DiskImageStore, folder: Path, tmp_path: Path
) -> None:
    """Neither writing nor reading leaves the root by a symbolic link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0").write_bytes(DATA)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(outside)
    with pytest.raises(StorageUnavailable, match="behind a symbolic link"):
        store.save(JOB_ID, 1, build_image(1))
    with pytest.raises(StorageUnavailable, match="behind a symbolic link"):
        store.load(f"{JOB_ID}/1/0")
    assert store.find_saved(JOB_ID) == []
    assert names_in(outside) == ["0"]


def test_root_itself_may_be_a_link(tmp_path: Path) -> None:
    """Where the store lies is the operator's choice."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    saved = DiskImageStore(tmp_path / "link").save(JOB_ID, 1, build_image())
    assert DiskImageStore(tmp_path / "real").find_saved(JOB_ID) == [saved]


def test_relative_root_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default folder is relative to where the worker runs."""
    monkeypatch.chdir(tmp_path)
    store = DiskImageStore(Path("images"))
    assert store.load(store.save(JOB_ID, 1, build_image()).storage_key) == DATA


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_failed_save_leaves_no_temporary_file_and_no_picture(
    store: DiskImageStore, folder: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk shows as StorageUnavailable with the system's reason."""

    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    monkeypatch.setattr(os, failing, fail)
    monkeypatch.setattr(Path, "replace", fail if failing == "replace" else Path.replace)
    with pytest.raises(StorageUnavailable, match=r": No space left on device$"):
        store.save(JOB_ID, 1, build_image())
    assert all(not name.endswith(".tmp") for name in names_in(folder))
    assert store.find_saved(JOB_ID) == []


def test_file_where_the_root_should_be_is_storage_unavailable(tmp_path: Path) -> None:
    """Also a wrong IMAGE_DIR ends in one clear line."""
    (tmp_path / "images").write_text("")
    with pytest.raises(StorageUnavailable, match="could not keep image"):
        DiskImageStore(tmp_path / "images").save(JOB_ID, 1, build_image())


WRITER = """
import sys
from pathlib import Path
from uuid import UUID
from shared.adapters.disk_images import DiskImageStore
from shared.imaging.provider import GeneratedImage

store = DiskImageStore(Path(sys.argv[1]))
for attempt in range(1, 1_000_000):
    for position in range(3):
        data = bytes([attempt % 251]) * 300_000
        image = GeneratedImage(position, data, "image/png", 1, 1, attempt, "mock", "mock-1")
        print(store.save(UUID(int=5), attempt, image).storage_key, flush=True)
"""


@pytest.mark.parametrize("saves", [1, 2, 6, 11])
def test_every_picture_of_a_killed_writer_is_whole(tmp_path: Path, saves: int) -> None:
    """A kill -9 in the next save leaves all that was saved before, and only whole pictures."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        keys = [writer.stdout.readline().strip() for _ in range(saves)]
        writer.send_signal(signal.SIGKILL)
    store = DiskImageStore(tmp_path)
    found = store.find_saved(UUID(int=5))
    assert {picture.storage_key for picture in found} >= set(keys[:3])
    for picture in found:
        data = store.load(picture.storage_key)
        assert (len(data), sha256(data).hexdigest()) == (picture.size_bytes, picture.sha256)
