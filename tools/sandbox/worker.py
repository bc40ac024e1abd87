"""The inside of a worker: take one task, put up the fence, do it, answer, end."""

import os
import pickle
import socket
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel

from tools.limits import BadVideo
from tools.sandbox.fence import Allowance, Fence, untouched
from tools.sandbox.tasks import Task
from tools.sandbox.wire import Line, Message

_FROM_THE_SERVICE = 1 << 40
_LONGEST = 1000


class Order(NamedTuple):
    """What the service sends a worker, pickled: it comes from above, so it can be trusted."""

    task: Task[object]
    allowance: Allowance


class Failed(BaseModel):
    """Why there is no answer. bad: in words for the caller; memory: too little; error: for the log."""

    failed: Literal["bad", "memory", "error"]
    words: str = ""


def work(stream: socket.socket, film: int, fence: Fence) -> None:
    """Serve one order."""
    line = Line(stream)
    order: Order = pickle.loads(line.receive(_FROM_THE_SERVICE).text)
    fence.go_up(order.allowance, film)
    line.send(_answer(order, Path(f"/dev/fd/{film}")))


def _answer(order: Order, file: Path) -> Message:
    try:
        return order.task.do(file)
    except BadVideo as bad:
        failed = Failed(failed="bad", words=str(bad))
    except MemoryError:
        failed = Failed(failed="memory")
    except Exception as error:
        failed = Failed(failed="error", words=f"{type(error).__name__}: {error}"[:_LONGEST])
    return Message(failed.model_dump_json().encode())


class Report(BaseModel):
    """What confines workers on this machine, and what is all the same not held back."""

    means: tuple[str, ...]
    open: tuple[str, ...]


def try_out(fence: Fence, allowance: Allowance, film: int) -> Report:
    """Put the fence up around this very process and see what it holds."""
    parent = os.getppid()
    means = fence.go_up(allowance, film)
    return Report(means=means, open=untouched(allowance, parent))
