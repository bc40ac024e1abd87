"""Find the one file in a multipart body while it streams by: nothing is spooled before it is checked."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BadRequest, TooLarge, WrongType

_IGNORED = frozenset({"purpose"})


class FilePart:
    """Give it the body piece by piece, get the pieces of the part named `file`. Raises BadRequest, WrongType.

    `spare` is how many bytes all the rest of the body may have.
    """

    def __init__(self, content_type: str, spare: int) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise WrongType('Send the video as multipart/form-data, in a part named "file".')
        self.found = False
        self.ended = False
        self._reading = False
        self._spare = spare
        self._pieces: list[bytes] = []
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        try:
            self._parser = MultipartParser(options[b"boundary"], self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise _broken(error) from None

    def feed(self, chunk: bytes) -> bytes:
        """The bytes of the file in this piece of the body."""
        self._pieces = []
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(error) from None
        inside = b"".join(self._pieces)
        self._spare -= len(chunk) - len(inside)
        if self._spare < 0:
            raise TooLarge("The fields beside the file are too large.")
        return inside

    def _callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._on_part,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }

    def _on_part(self) -> None:
        self._disposition = b""

    def _on_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        if name == "file" and self.found:
            raise BadRequest("Send one file at a time.", param="file")
        if name != "file" and name not in _IGNORED:
            raise BadRequest(f"{name}: There is no such field.", param=name, code="unknown_field")
        self._reading = name == "file"
        self.found |= self._reading

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._reading:
            self._pieces.append(data[start:end])

    def _on_end(self) -> None:
        self.ended = True


async def file_in(content_type: str, body: AsyncIterator[bytes], spare: int) -> AsyncIterator[bytes]:
    """The file in a multipart body, piece by piece. Raises BadRequest if there is none, or half of one."""
    part = FilePart(content_type, spare)
    async for chunk in body:
        if piece := part.feed(chunk):
            yield piece
    if not part.found:
        raise BadRequest('file: There is no part named "file".', param="file", code="missing_field")
    if not part.ended:
        raise BadRequest("The upload broke off before its end.", param="file", code="incomplete_upload")


def _broken(error: FormParserError) -> BadRequest:
    return BadRequest(f"The multipart body cannot be read: {error}", code="invalid_multipart")
