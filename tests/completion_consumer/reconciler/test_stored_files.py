"""The reconciler and the object store: what no row names is removed, however it came to be there."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from completion_consumer.metrics import Metrics
from completion_consumer.reconciler.quarantine import Quarantine
from completion_consumer.reconciler.round import Round
from completion_consumer.reconciler.stored_files import StoredFiles
from sluiceway.files.keeping import FileKeeping, FileLimits, Sent
from sluiceway.files.kinds import KINDS
from sluiceway.files.objects import FileObjects
from sluiceway.process.metrics import new_registry
from sluiceway.store import Store
from sluiceway.store.turns.accepting import NewTurn

from harness.databases.database import Database

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64


@pytest.mark.requirement("CH-17", "LC-1", "LC-2")
async def test_objects_go_with_their_files_and_nothing_is_left_of_who_died_in_between(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    objects = FileObjects(f"file:{folder}")
    async with Store.open(database_url, max_size=4, application_name="test") as store:
        keeping = FileKeeping(store, objects, FileLimits(10_000, KINDS))
        kept, gone, unnamed, half = [await keeping.keep_bytes(Sent(f"{n}.png", user_id="ada"), PNG) for n in range(4)]
        await store.turns.accept(NewTurn("kept", "ada", "", files=(kept.id,), create_session=True))
        await store.turns.accept(NewTurn("gone", "ada", "", files=(gone.id,), create_session=True))
        # An upload that nobody named, and one whose gateway died between object and row.
        await database.execute(
            "UPDATE files SET created_at = now() - interval '2 days', stored_at = CASE WHEN id = $1 THEN now() END"
            " WHERE session_id IS NULL",
            unnamed.id,
        )
        # Postgres went back, and has lost the row; a gateway was killed in the middle of writing.
        await objects.put("file_unknown", PNG)
        staged = folder / f"{kept.id}#1"
        staged.write_bytes(PNG)
        os.utime(staged, times=(time.time() - 200_000,) * 2)
        await store.sessions.delete("gone", "ada")
        assert half.id in {path.name for path in folder.iterdir()}

        stored_files = StoredFiles(store, objects, unused_for=timedelta(days=1))
        metrics = Metrics(new_registry("test"))
        for _ in range(3):  # a page of the walk, its end, and what both have noted
            await stored_files.look(Round(lambda: True, Quarantine(), metrics))

        assert [path.name for path in folder.iterdir()] == [kept.id]
        assert await database.fetchval("SELECT count(*) FROM file_removals") == 0
        assert await objects.read(kept.id) == PNG
        # A store that is away is no error of the round, and is asked again.
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("no folder")
        await store.files.delete(kept.id, "ada")
        away = Round(lambda: True, Quarantine(), metrics)
        await StoredFiles(store, FileObjects(f"file:{folder}"), timedelta(days=1)).look(away)
        assert away.away is not None
        assert await store.files.removals(10) == [kept.id]
