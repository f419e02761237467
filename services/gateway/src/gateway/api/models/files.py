"""Files: as a message names them, and as they are told."""

from datetime import datetime

from pydantic import Field
from sluiceway.store.records import StoredFile
from sluiceway.wire.file_part import file_url

from gateway.api.models.texts import FileName, MediaType
from gateway.api.models.wire import Asked, Wire
from gateway.api.posted_file import PostedFile


class AttachedFile(Asked):
    """A file of a message: one that was uploaded, by its address, or a data URL."""

    url: str = Field(min_length=1)
    name: FileName | None = None
    media_type: MediaType | None = None

    @property
    def posted(self) -> PostedFile:
        return PostedFile(self.url, self.name, self.media_type)


class FileView(Wire):
    """A file that was uploaded. `url` is how a message names it. `media_type`: what it truly is."""

    id: str
    url: str
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime

    @classmethod
    def of(cls, file: StoredFile) -> "FileView":
        names = ("id", "name", "media_type", "size", "sha256", "created_at")
        return cls(url=file_url(file.id), **{name: getattr(file, name) for name in names})
