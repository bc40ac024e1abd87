"""Where videos are decoded: in confined processes, unless the operator wants it otherwise."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from app.settings import Settings
from tools.decoders import Decoder, InProcess
from tools.sandbox import Sandbox

_LOG = logging.getLogger("secondlook")
_THREADS = 64


class Unconfined(Exception):
    """The operator requires confinement that this machine does not offer."""


def decoder_for(settings: Settings) -> Decoder:
    """The decoder that the settings name. A sandbox starts no process before its first use."""
    if settings.sandbox == "off":
        return InProcess(settings.decoder)
    return Sandbox(
        settings.decoder,
        workers=settings.decode_workers,
        memory=settings.decode_bytes,
        open_seconds=settings.max_open_seconds,
    )


@asynccontextmanager
async def at_work(decoder: Decoder, settings: Settings) -> AsyncIterator[None]:
    """Start a decoder's processes, say what they are not kept from, and end them at the end. Raises Unconfined."""
    if not isinstance(decoder, Sandbox):
        yield
        return
    # Many of asyncio's own few threads would wait for a decoder, and files are read and written in the same ones.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "waiting"))
    telling = asyncio.ensure_future(asyncio.to_thread(_tell, decoder))
    try:
        if settings.sandbox == "required" and (gaps := await telling):
            raise Unconfined(f"Decoding cannot be kept from {', '.join(gaps)} here, which SECONDLOOK_SANDBOX requires.")
        yield
    finally:
        await asyncio.gather(telling, return_exceptions=True)
        await asyncio.to_thread(decoder.close)


def _tell(sandbox: Sandbox) -> tuple[str, ...]:
    """What the workers are not kept from; for the log too."""
    try:
        report = sandbox.report
    except OSError as error:
        _LOG.error("the processes that decode cannot be started: %s", error)
        return ("anything",)
    means = ", ".join(report.means)
    if report.open:
        _LOG.warning("decoding is confined by %s, which does not keep it from: %s", means, ", ".join(report.open))
    else:
        _LOG.info("decoding is confined by %s", means)
    return report.open
