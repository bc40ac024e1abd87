"""Find the one file in a multipart body while it streams by: nothing is spooled before it is checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BadRequest, TooLarge, TooSlow, WrongType


class FileForm:
    """Give it the body piece by piece, get the pieces of the part named `file`. Raises BadRequest, WrongType.

    `spare` is how many bytes all the rest of the body may have, `known` what parts it may have. At the end,
    `filename` is the client's name for the file, and `fields` has the other parts as text.
    """

    def __init__(self, content_type: str, spare: int, known: Collection[str]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise WrongType('Send the video as multipart/form-data, in a part named "file".')
        self.filename = ""
        self._found = False
        self._ended = False
        self._name = ""
        self._spare = spare
        self._known = frozenset(known)
        self._pieces: list[bytes] = []
        self._texts: dict[str, bytearray] = {}
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        try:
            self._parser = MultipartParser(options[b"boundary"], self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise _broken(error) from None

    @property
    def fields(self) -> dict[str, str]:
        """The parts beside the file."""
        return {name: bytes(text).decode("utf-8", "replace") for name, text in self._texts.items()}

    async def read(self, body: AsyncIterator[bytes], patience: float) -> AsyncIterator[bytes]:
        """The file in a body, piece by piece. Raises TooSlow after so many seconds without any."""
        while True:
            try:
                async with asyncio.timeout(patience):
                    chunk = await anext(body)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise TooSlow(f"Nothing of the upload arrived for {patience:g} s.") from None
            if piece := self.feed(chunk):
                yield piece
        self._check_whole()

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

    def _check_whole(self) -> None:
        """Raise BadRequest if there was no file, or half of one."""
        if not self._found:
            raise BadRequest('file: There is no part named "file".', param="file", code="missing_field")
        if not self._ended:
            raise BadRequest("The upload broke off before its end.", param="file", code="incomplete_upload")

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
        options = parse_options_header(self._disposition)[1]
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self._found:
                raise BadRequest("Send one file at a time.", param="file")
            self._found = True
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        elif self._name not in self._known:
            raise BadRequest(f"{self._name}: There is no such field.", param=self._name, code="unknown_field")
        elif self._name in self._texts:
            raise BadRequest(f"{self._name}: Send this field once.", param=self._name)
        else:
            self._texts[self._name] = bytearray()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self._pieces.append(data[start:end])
        else:
            self._texts[self._name] += data[start:end]

    def _on_end(self) -> None:
        self._ended = True


def _broken(error: FormParserError) -> BadRequest:
    return BadRequest(f"The multipart body cannot be read: {error}", code="invalid_multipart")
