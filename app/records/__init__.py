"""What outlives the process, in a database: SQLite by default, any other by its URL. One table per file."""

from app.records.base import Base
from app.records.key import KeyRecord
from app.records.store import Records, RecordsDown, RecordsFull
from app.records.version import VERSION, WrongVersion

__all__ = ["VERSION", "Base", "KeyRecord", "Records", "RecordsDown", "RecordsFull", "WrongVersion"]
