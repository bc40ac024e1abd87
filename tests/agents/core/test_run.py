import asyncio

import pytest

from agents.core.run import Run
from agents.core.trace import Event
from agents.engines.base import EngineError, Picture, Sampling
from agents.engines.scripted import ScriptedEngine
from tests.agents.stage import COLOURS, Perform, sure, thoughts
from tools.video.sampling import grid, uniform
from tools.video.video import Video


def test_the_prompt_shows_frames_first(perform: Perform) -> None:
    done = perform({"name": "direct", "frames": 2}, [sure("A", 0.9)])
    first, second, words = done.calls[0].prompt[0].parts
    assert isinstance(first, Picture)
    assert isinstance(second, Picture)
    assert words == (
        "\nQuestion: Which colour?\nA. red\nB. green\nC. blue\nD. grey\nAnswer with the letter of the best option only."
    )


def test_a_moment_is_decoded_once(video: Video) -> None:
    run = Run(COLOURS, video, ScriptedEngine([]))

    async def look_twice() -> bool:
        sparse = await run.look(grid(run.span, 4))
        dense = await run.look(grid(run.span, 8))
        return all(picture in dense for picture in sparse)

    assert asyncio.run(look_twice())


def test_the_first_failure_cancels_the_other_asks(video: Video) -> None:
    engine = ScriptedEngine(thoughts("A"), pause=0.01)
    run = Run(COLOURS, video, engine)

    async def race() -> None:
        pictures = await run.look(uniform(run.span, 1))
        await run.gather(run.ask(pictures, Sampling()) for _ in range(3))

    with pytest.raises(EngineError, match="no more lines"):
        asyncio.run(race())


def test_cancelling_a_run_cancels_the_engine(video: Video) -> None:
    engine = ScriptedEngine(thoughts("A"), pause=60)
    run = Run(COLOURS, video, engine)

    async def leave() -> None:
        pictures = await run.look(uniform(run.span, 1))
        task = asyncio.create_task(run.gather([run.ask(pictures, Sampling())]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert engine.cancelled == 1


def test_a_listener_hears_every_event_as_it_happens(video: Video) -> None:
    heard: list[Event] = []
    run = Run(COLOURS, video, ScriptedEngine(thoughts("A")), on_event=heard.append)

    async def ask() -> None:
        with run.round("one"):
            await run.ask(await run.look(uniform(run.span, 2)), Sampling())
        run.propose("A", 0.5)
        run.note("done", share=1)

    asyncio.run(ask())
    assert [event.event for event in heard] == ["began", "looked", "asked", "ended", "proposed", "noted"]
    assert heard == run.trace.events
    assert [event.at for event in heard] == sorted(event.at for event in heard)
