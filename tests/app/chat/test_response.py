"""Chat completions: whole by OpenAI's schema, with our report beside it, and the reasoning in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.core.trace import (
    AnswerEvent,
    Event,
    FramesEvent,
    InfoEvent,
    ModelEvent,
    SpanBeginEvent,
    SpanEndEvent,
    StopEvent,
    ToolEvent,
)
from agents.engines.base import Prompt, Reply, Sampling, Token
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.chat.response import describe_event, reasoning_text
from app.settings import Settings
from tests.app.chat.scene import CHOICE, OPEN, chat, filmed, says, shown
from tests.app.conftest import always, over_asgi

pytestmark = pytest.mark.anyio
STAR = "A star on white.\n\nNothing else."


@pytest.fixture
def talker() -> ScriptedEngine:
    """An engine that says the same to every open question."""
    return ScriptedEngine(lambda _prompt, _sampling, n: [STAR] * n)


async def post(
    settings: Settings, engine: ScriptedEngine, request: dict[str, Any], status: int = 200
) -> dict[str, Any]:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/chat/completions", json=request)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def say(found: dict[str, Any]) -> str:
    content: str = found["choices"][0]["message"]["content"]
    return content


async def test_a_completion_is_whole(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    ours = {"strategy": {"name": "direct", "frames": 4}}
    found = await post(settings, engine, chat(filmed(video_path), CHOICE, secondlook=ours, seed=7))
    report = found.pop("secondlook")
    assert found.pop("id") == f"chatcmpl-{report['id'].removeprefix('run_')}"
    assert found.pop("created") > 1_700_000_000
    assert found.pop("system_fingerprint").startswith("fp_")
    prompt = found["usage"].pop("prompt_tokens")
    assert prompt > 4 * engine.tokens_per_frame
    reasoning = found["choices"][0]["message"].pop("reasoning")
    assert found["choices"][0]["message"].pop("reasoning_content") == reasoning
    assert "Looked at 4 frames from 8.0 to 56.0 s." in reasoning
    assert found == {
        "object": "chat.completion",
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "completion_tokens": 1,
            "total_tokens": prompt + 1,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
    }
    assert (report["answer"], report["option"], report["confidence"]) == ("red", "A", 0.97)
    assert report["report"]["seed"] == 7
    assert report["report"]["strategy"]["frames"] == 4
    assert report["report"]["degraded"] == []
    assert report["others"] == []


async def test_an_open_question_is_asked_as_it_stands_and_answered_whole(
    settings: Settings, talker: ScriptedEngine, video_path: Path
) -> None:
    found = await post(settings, talker, chat(filmed(video_path), OPEN))
    assert say(found) == STAR
    assert found["secondlook"]["report"]["strategy"]["name"] == "direct"
    (call,) = talker.calls
    assert call.text.endswith(f"\n{OPEN}")
    assert (call.frames, call.sampling.max_tokens) == (32, 512)


async def test_the_operator_says_how_open_questions_are_answered(
    settings: Settings, talker: ScriptedEngine, video_path: Path
) -> None:
    own = settings.model_copy(update={"open_strategy": "chain_of_thought", "answer_tokens": 100})
    found = await post(own, talker, chat(filmed(video_path), OPEN))
    assert found["secondlook"]["report"]["strategy"]["name"] == "chain_of_thought"
    assert talker.calls[0].sampling.max_tokens == 256 + 100


async def test_tokens_are_summed_over_all_hidden_calls(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(lambda _p, _s, n: ["I see red.\nAnswer: A"] * n)
    ours = {"strategy": {"name": "self_consistency", "samples": 3, "frames": 2, "stop": "fixed"}}
    found = await post(settings, engine, chat(filmed(video_path), CHOICE, secondlook=ours))
    report, usage = found["secondlook"]["report"], found["usage"]
    assert report["calls"] == len(engine.calls) == 3
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
        report["prompt_tokens"],
        report["completion_tokens"],
    )
    assert usage["completion_tokens_details"]["reasoning_tokens"] == usage["completion_tokens"] > 3
    assert found["choices"][0]["message"]["reasoning"].count("I see red.") == 3


@pytest.mark.parametrize(
    ("words", "ours", "content"),
    [
        (CHOICE, {}, "A"),
        ("Which colour?\nA. red\nB. green", {}, "A. red"),
        ("Which colour?", {"options": ["red", "green"]}, "red"),
        ("Which colour? Answer by letter.", {"options": ["red", "green"]}, "A"),
    ],
)
async def test_the_reply_is_what_was_asked_for(
    settings: Settings, engine: ScriptedEngine, video_path: Path, words: str, ours: dict[str, Any], content: str
) -> None:
    assert say(await post(settings, engine, chat(filmed(video_path), words, secondlook=ours))) == content


async def test_yes_or_no_is_written_as_the_question_does(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(lambda _p, _s, n: [{"yes": 0.1, "no": 0.9}] * n)
    found = await post(
        settings, engine, chat(filmed(video_path), "Is it red? Answer Yes or No.", model="scripted:direct")
    )
    assert (say(found), found["secondlook"]["confidence"]) == ("No", 0.9)


async def test_an_earlier_conversation_is_context(settings: Settings, talker: ScriptedEngine, video_path: Path) -> None:
    messages = [
        says("system", "Be brief."),
        says("user", filmed(video_path), "What is it?"),
        says("assistant", "A film."),
        says("developer", "In English."),
        says("user", "Of what?"),
        says("user", "Name one thing."),
    ]
    assert say(await post(settings, talker, {"model": "scripted", "messages": messages})) == STAR
    (call,) = talker.calls
    roles = [(turn.role, "".join(part for part in turn.parts if isinstance(part, str))) for turn in call.prompt]
    assert roles == [
        ("system", "Be brief.\nIn English."),
        ("user", "\nWhat is it?"),
        ("assistant", "A film."),
        ("user", "Of what?\nName one thing."),
    ]
    assert [len([p for p in turn.parts if not isinstance(p, str)]) for turn in call.prompt] == [0, 32, 0, 0]


async def test_given_pictures_are_all_shown_in_order(settings: Settings, talker: ScriptedEngine) -> None:
    found = await post(settings, talker, chat(*shown(*range(0, 240, 6)), OPEN))
    (call,) = talker.calls
    assert call.times == tuple(range(40))
    assert found["secondlook"]["report"]["frames_unique"] == 40
    assert found["secondlook"]["report"]["degraded"] == []


async def test_labels_before_pictures_are_their_seconds(settings: Settings, talker: ScriptedEngine) -> None:
    parts = shown(0, 50, 100, labels=[2.5, 10.0, 11.5])
    await post(settings, talker, chat("Look at this.", *parts, OPEN))
    (call,) = talker.calls
    assert call.times == (2.5, 10.0, 11.5)
    assert call.text.endswith(f"\nLook at this.\n{OPEN}"), "labels are no words of the question"


async def test_what_is_lost_of_the_pictures_form_is_told(settings: Settings, talker: ScriptedEngine) -> None:
    first, second = shown(0, 50, labels=[5, 5])[:2], shown(0, 50, labels=[5, 5])[2:]
    found = await post(settings, talker, chat(*first, "Then:", *second, OPEN))
    assert found["secondlook"]["report"]["degraded"] == [
        "pictures: not every one has a later label than the one before, so they are shown one a second",
        "pictures: all are shown before the words that stand between them",
    ]


async def test_a_strategy_that_leaves_pictures_out_says_so(settings: Settings, engine: ScriptedEngine) -> None:
    ours = {"strategy": {"name": "direct", "frames": 3}}
    found = await post(settings, engine, chat(*shown(*range(0, 200, 20)), CHOICE, secondlook=ours))
    assert found["secondlook"]["report"]["degraded"] == ["pictures: 3 of the 10 given were shown to the model"]


async def test_a_video_of_jpegs_is_pictures(settings: Settings, talker: ScriptedEngine) -> None:
    frames = [part["image_url"]["url"] for part in shown(0, 50)]
    jpegs = ",".join(url.partition(",")[2] for url in frames)
    video = {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{jpegs}"}}
    await post(settings, talker, chat(video, OPEN))
    assert talker.calls[0].frames == 2


@pytest.mark.parametrize("part", ["file_id", "video_url", "file_data", "bare"])
async def test_a_video_may_come_in_every_way(
    settings: Settings, talker: ScriptedEngine, video_path: Path, part: str
) -> None:
    url = filmed(video_path)["video_url"]["url"]
    async with over_asgi(settings, talker) as client:
        with video_path.open("rb") as file:
            kept = (await client.post("/v1/files", files={"file": file}, data={"purpose": "user_data"})).json()["id"]
        parts: dict[str, dict[str, Any]] = {
            "file_id": {"type": "file", "file": {"file_id": kept}},
            "video_url": {"type": "video_url", "video_url": {"url": kept}, "uuid": "mine"},
            "file_data": {"type": "file", "file": {"file_data": url, "filename": "film.mp4"}},
            "bare": {"type": "file", "file": {"file_data": url.partition(",")[2]}},
        }
        response = await client.post("/v1/chat/completions", json=chat(parts[part], OPEN))
    assert response.status_code == 200, response.text
    assert talker.calls[0].frames == 32


async def test_several_choices_are_several_answers(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(lambda _p, sampling, n: [f"reply {sampling.seed}"] * n)
    spec = {"name": "self_consistency", "samples": 1, "frames": 2, "think": False}
    request = chat(filmed(video_path), OPEN, n=3, seed=5, secondlook={"strategy": spec, "budget": {"frames": 9}})
    first, second = [await post(settings, engine, request) for _ in range(2)]
    contents = [choice["message"]["content"] for choice in first["choices"]]
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2]
    assert len(set(contents)) == 3
    assert contents == [choice["message"]["content"] for choice in second["choices"]], "the seed decides"
    reports = [first["secondlook"], *first["secondlook"]["others"]]
    assert [each["report"]["seed"] for each in reports] == [5, 6, 7]
    assert first["usage"]["prompt_tokens"] == sum(each["report"]["prompt_tokens"] for each in reports)


async def test_without_a_seed_each_request_draws_its_own(
    settings: Settings, talker: ScriptedEngine, video_path: Path
) -> None:
    seeds = {
        (await post(settings, talker, chat(filmed(video_path), OPEN)))["secondlook"]["report"]["seed"] for _ in range(3)
    }
    assert len(seeds) == 3


async def test_a_model_name_may_choose_the_strategy(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    found = await post(settings, engine, chat(filmed(video_path), CHOICE, model="scripted:video_rts"))
    assert found["model"] == "scripted:video_rts"
    assert found["secondlook"]["report"]["strategy"]["preset"] == "video_rts"
    spec = {"name": "direct", "frames": 3}
    both = chat(filmed(video_path), CHOICE, model="scripted:direct", secondlook={"strategy": spec})
    assert (await post(settings, engine, both))["secondlook"]["report"]["strategy"]["frames"] == 3


async def test_wishes_reach_the_strategy_or_the_report(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    request = chat(
        filmed(video_path),
        CHOICE,
        temperature=0.3,
        top_p=0.5,
        max_completion_tokens=40,
        media_io_kwargs={"video": {"num_frames": 6, "fps": 30}},
        secondlook={"strategy": "chain_of_thought"},
    )
    report = (await post(settings, engine, request))["secondlook"]["report"]
    used = report["strategy"]
    assert (used["frames"], used["temperature"], used["max_tokens"]) == (6, 0.3, 40)
    assert report["degraded"] == ["top_p: chain_of_thought has no top_p"]


async def test_fps_looks_so_often(settings: Settings, talker: ScriptedEngine, video_path: Path) -> None:
    request = chat(filmed(video_path), OPEN, media_io_kwargs={"video": {"fps": 0.25, "num_frames": -1}})
    await post(settings, talker, request)
    assert talker.calls[0].frames == 16


async def test_unknown_fields_are_let_through_and_those_that_say_something_are_told(
    settings: Settings, talker: ScriptedEngine, video_path: Path
) -> None:
    unknown = {"extra_body": {}, "user": "u", "logprobs": False, "ignore_eos": True, "tools": None, "stop": ["."],
               "presence_penalty": 0, "frequency_penalty": 1.0}  # fmt: skip
    found = await post(settings, talker, chat(filmed(video_path), OPEN, **unknown))
    assert found["secondlook"]["report"]["degraded"] == [
        "frequency_penalty: not known here, ignored",
        "stop: not known here, ignored",
    ]


async def test_a_reply_that_is_cut_off_says_so(settings: Settings, video_path: Path) -> None:
    def cut(_p: Prompt, _s: Sampling, n: int) -> list[ScriptLine]:
        return [Reply("A very long", (Token("A", -0.1),), "length")] * n

    found = await post(settings, ScriptedEngine(cut), chat(filmed(video_path), OPEN, max_tokens=3))
    assert found["choices"][0]["finish_reason"] == "length"
    assert say(found) == "A very long"


async def test_what_the_model_said_stands_though_it_is_none_of_the_options(
    settings: Settings, video_path: Path
) -> None:
    engine = ScriptedEngine(lambda _p, _s, n: ["It cannot be seen."] * n, capabilities=frozenset())
    found = await post(settings, engine, chat(filmed(video_path), CHOICE, secondlook={"strategy": "direct"}))
    assert say(found) == "It cannot be seen."
    assert found["secondlook"]["answer"] is None
    assert found["secondlook"]["report"]["degraded"] == ["no reply of the model could be read as an answer"]


async def test_no_answer_within_the_budget_is_no_content(settings: Settings, video_path: Path) -> None:
    slow = ScriptedEngine(always("A"), pause=30)
    ours = {"budget": {"seconds": 0.2}}
    found = await post(settings, slow, chat(filmed(video_path), CHOICE, secondlook=ours))
    choice = found["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "")
    assert found["secondlook"]["report"]["stopped"] == "budget"


def asked(purpose: str, *replies: str) -> ModelEvent:
    bill: dict[str, Any] = {"prompt_tokens": 1, "cached_tokens": 0, "completion_tokens": 1, "seconds": 0.1}
    return ModelEvent(purpose=purpose, times=(), replies=replies, **bill)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (SpanBeginEvent(span="samples 1-5"), "Samples 1-5:\n"),
        (SpanEndEvent(span="samples 1-5"), ""),
        (FramesEvent(times=(1.0, 3.5), seconds=0.1), "Looked at 2 frames from 1.0 to 3.5 s.\n"),
        (FramesEvent(times=(1.0,), seconds=0.1), "Looked at 1 frame from 1.0 to 1.0 s.\n"),
        (FramesEvent(times=(), seconds=0.1), ""),
        (asked("think", "It is red. \nAnswer: A", "Answer: B"), "It is red. \nAnswer: A\nAnswer: B\n"),
        (asked("direct", "A star."), ""),
        (asked("verify", "yes"), "Asked to verify: yes\n"),
        (ToolEvent(tool="zoom", arguments={}, summary="one frame", seconds=0.1), "Used zoom: one frame\n"),
        (AnswerEvent(answer="red", confidence=0.876), "Best answer so far: red (88% sure)\n"),
        (AnswerEvent(answer="red", confidence=None), "Best answer so far: red\n"),
        (AnswerEvent(answer=None, confidence=None), ""),
        (InfoEvent(text="The run begins again."), "The run begins again.\n"),
        (StopEvent(reason="agreed"), ""),
    ],
)
def test_in_words(event: Event, words: str) -> None:
    assert describe_event(event) == words


def test_nothing_to_say_is_nothing() -> None:
    assert reasoning_text([StopEvent(reason="agreed")]) is None
    assert reasoning_text([SpanBeginEvent(span="a"), InfoEvent(text="b")]) == "A:\nb\n"
