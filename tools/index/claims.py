"""Who is writing about which clip. Apart from the lines: it need not outlive a power cut, and so costs no waiting."""

from collections.abc import Callable
from pathlib import Path

from tools.index.database import Damaged, Database

_SCHEMA = "CREATE TABLE IF NOT EXISTS claim (clip TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT;"


class Claims:
    """Claims in a file, or in memory without one. Safe under threads and processes. Raises IndexDown."""

    def __init__(self, path: Path | None = None) -> None:
        try:
            self._database = Database(path, _SCHEMA, lasting=False)
        except Damaged:
            if path is not None:
                path.unlink()
            self._database = Database(path, _SCHEMA, lasting=False)

    def take(self, clip: str, owner: str, lives: Callable[[str], bool]) -> bool:
        """Whether a clip is `owner`'s now: nobody else has it who still lives; nor has the owner already."""
        with self._database.transaction() as connection:
            holder = connection.execute("SELECT owner FROM claim WHERE clip = ?", (clip,)).fetchone()
            if holder and lives(holder[0]):
                return False
            connection.execute("INSERT OR REPLACE INTO claim VALUES (?, ?)", (clip, owner))
        return True

    def drop(self, clip: str, owner: str) -> None:
        """A clip is no longer `owner`'s."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM claim WHERE clip = ? AND owner = ?", (clip, owner))
