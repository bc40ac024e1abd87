"""What outlives the process, in a database: SQLite by default, any other by its URL. One table per file."""

from app.records.base import Base
from app.records.event import EventRecord
from app.records.file import BlobRecord, FileRecord
from app.records.key import KeyRecord
from app.records.run import RunRecord
from app.records.store import Records, RecordsDown, RecordsFull
from app.records.usage import UsageRecord
from app.records.version import VERSION, WrongVersion

__all__ = [
    "VERSION",
    "Base",
    "BlobRecord",
    "EventRecord",
    "FileRecord",
    "KeyRecord",
    "Records",
    "RecordsDown",
    "RecordsFull",
    "RunRecord",
    "UsageRecord",
    "WrongVersion",
]
