"""A model behind vLLM: frames as pictures or as one video, and what they cost."""

from __future__ import annotations

import asyncio
import base64
import logging

import pytest

from agents.core.model_client import compose_prompt
from agents.engines.base import Message, Picture, Prompt, Sampling, ToolCall, prompt_token_bound
from agents.engines.openai.engine import OpenAIEngine
from agents.engines.openai.media import FrameClip, pack_clips
from tests.agents.engines.asking import engine_of, once, probed
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import picture, strip, words
from tests.agents.engines.stub import Answer, Json, Stub, models, parts_of, talkative
from tools.video.frame import Frame

QWEN = "Qwen/Qwen3-VL-8B-Instruct"


def named(serve: Serve, name: str, answer: object = talkative) -> Stub:
    stub = serve(answer)
    stub.models = models(name=name)
    return stub


def at(second: float, seed: int = 0, width: int = 56, height: int = 42) -> Picture:
    return Picture(Frame(second, picture(seed, width, height).frame.image), f"film:{second}:{width}")


def untrusting(body: Json) -> Answer:
    if "media_io_kwargs" in body or "mm_processor_kwargs" in body:
        return Answer({"error": {"message": "Per-request media_io_kwargs are disabled by default"}}, 400)
    return talkative(body)


def test_frames_become_one_video_with_their_true_seconds(serve: Serve) -> None:
    stub = named(serve, QWEN)
    prompt = compose_prompt([at(0.5), at(1.25, 1), at(60.0, 2)], "What?")
    once(engine_of(stub), prompt, Sampling())
    body = stub.asked[-1]
    video, text = body["messages"][0]["content"]
    head, _, data = video["video_url"]["url"].partition(",")
    assert head == "data:video/jpeg;base64" and text["text"] == "\nWhat?"
    shown = [part for part in prompt[0].parts if isinstance(part, Picture)]
    assert [base64.b64decode(each) for each in data.split(",")] == [each.file.data for each in shown]
    clock = body["media_io_kwargs"]["video"]
    assert clock["num_frames"] == -1 and clock["do_sample_frames"] is False
    assert [tick / clock["fps"] for tick in clock["frames_indices"]] == [0.5, 1.25, 60.0]
    assert clock["total_num_frames"] == clock["frames_indices"][-1] + 1
    assert clock["duration"] == clock["total_num_frames"] / clock["fps"]


def test_where_the_model_knows_a_mean_rate_alone_the_seconds_are_written(serve: Serve) -> None:
    stub = named(serve, "Qwen/Qwen2.5-VL-7B-Instruct")
    once(engine_of(stub), compose_prompt([at(100.0), at(101.5, 1), at(103.0, 2)], "What?"), Sampling())
    label, video, _ = stub.asked[-1]["messages"][0]["content"]
    assert label["text"] == "Frames at the seconds 100.0, 101.5, 103.0:\n" and video["type"] == "video_url"
    clock = stub.asked[-1]["media_io_kwargs"]["video"]
    assert clock["frames_indices"][0] == 0
    mean_rate = len(clock["frames_indices"]) / clock["total_num_frames"] * clock["fps"]
    assert mean_rate == pytest.approx(1 / 1.5, rel=0.01)


def test_a_clip_is_sent_once_and_a_longer_one_is_another(serve: Serve) -> None:
    stub = named(serve, QWEN)

    async def act() -> None:
        engine = engine_of(stub)
        for prompt in (strip(3, "?"), strip(3, "Again?"), strip(4, "?"), compose_prompt([at(0.0), at(2.0, 1)], "?")):
            await engine.generate(prompt, Sampling(), 1)
        await engine.close()

    asyncio.run(act())
    clips = [next(part for part in parts_of(body) if part["type"] == "video_url") for body in stub.asked]
    assert [clip["video_url"]["url"] is None for clip in clips] == [False, True, False, False]
    assert clips[0]["uuid"] == clips[1]["uuid"] and len({clip["uuid"] for clip in clips}) == 3
    assert stub.asked[0]["media_io_kwargs"] == stub.asked[1]["media_io_kwargs"]  # part of vLLM's own name for it


def test_the_longest_run_of_like_pictures_is_the_video_and_others_are_pictures(serve: Serve) -> None:
    large = at(9.0, 5, width=80)
    again = at(1.0)
    prompt: Prompt = (
        Message("user", (again, "first", at(1.0), at(2.0, 1), at(3.0, 2), large, at(0.5, 4), "?")),
        Message("assistant", ("I see.",)),
        Message("user", (at(4.0), at(5.0, 1), "and now?")),
    )
    kinds = [["clip" if isinstance(p, FrameClip) else type(p).__name__ for p in parts] for parts in pack_clips(prompt)]
    assert kinds == [["Picture", "str", "clip", "Picture", "Picture", "str"], ["str"], ["Picture", "Picture", "str"]]
    stub = named(serve, QWEN)
    once(engine_of(stub), prompt, Sampling())
    first, _, last = (message["content"] for message in stub.asked[-1]["messages"])
    assert [part["type"] for part in first].count("video_url") == 1
    assert [part.get("text") for part in last] == ["<4.0 seconds>", None, "<5.0 seconds>", None, "and now?"]


def test_one_picture_twice_is_shown_twice() -> None:
    one, two = at(1.0), at(2.0, 1)
    prompt: Prompt = (Message("user", (one, one, two)), Message("user", (one,)))
    (clip,), (left,) = pack_clips(prompt)
    assert isinstance(clip, FrameClip) and clip.pictures == (one, one, two) and left is one
    assert FrameClip((one, one)).clock(absolute=False)["total_num_frames"] == 2  # no time passes between them


def test_single_pictures_stay_pictures(serve: Serve) -> None:
    stub = named(serve, QWEN)
    once(engine_of(stub), compose_prompt([at(1.0)], "?"), Sampling())
    assert "media_io_kwargs" not in stub.asked[-1]
    assert [part["type"] for part in parts_of(stub.asked[-1])] == ["text", "image_url", "text"]


def test_a_server_that_takes_no_clock_is_sent_pictures_and_the_operator_is_told(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    stub = named(serve, QWEN, untrusting)
    engine = engine_of(stub)
    once(engine, strip(2, "?"), Sampling())
    assert "video" not in engine.capabilities
    assert [part["type"] for part in parts_of(stub.asked[-1])] == ["text", "image_url", "text", "image_url", "text"]
    assert any("--trust-request-mm-kwargs" in each for each in caplog.messages)
    trusting = engine_of(named(serve, QWEN))
    assert "video" in probed(trusting).capabilities
    assert trusting.picture_tokens(strip(8, "?")) < engine.picture_tokens(strip(8, "?"))


def test_the_packing_may_be_said_in_the_address(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert "video" not in probed(engine_of(named(serve, QWEN), packing="images")).capabilities
    assert not caplog.messages
    assert "video" in probed(engine_of(serve(), packing="video")).capabilities
    elsewhere = serve(owner="somebody")
    assert "video" not in probed(engine_of(elsewhere, packing="video")).capabilities
    assert "media_io_kwargs" not in str(elsewhere.bodies)


def test_arguments_that_make_pictures_cheap_are_sent_where_they_are_taken(serve: Serve) -> None:
    stub = named(serve, "OpenGVLab/InternVL3_5-8B")
    once(engine_of(stub), compose_prompt([at(1.0)], "?"), Sampling())
    once(engine_of(stub), words("?"), Sampling())
    assert [body.get("mm_processor_kwargs") for body in stub.asked] == [{"max_dynamic_patch": 1}, None]
    refusing = named(serve, "OpenGVLab/InternVL3_5-8B", untrusting)
    once(engine_of(refusing), compose_prompt([at(1.0)], "?"), Sampling())
    assert "mm_processor_kwargs" not in refusing.asked[-1]


def priced(stub: Stub, **options: str) -> OpenAIEngine:
    return probed(engine_of(stub, **options))


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 9])
def test_a_video_is_reserved_what_it_costs(serve: Serve, frames: int) -> None:
    """By the profile: patches of 32 pixels, two frames one, a label for each two; a frame alone is a picture."""
    engine = priced(named(serve, QWEN))
    prompt = compose_prompt([at(float(second), second, 448, 252) for second in range(frames)], "?")
    spent = 20 + 14 * 8 + 2 + 12 if frames == 1 else 20 + -(-frames // 2) * (14 * 8 + 10)
    assert spent <= prompt_token_bound(engine, prompt) <= 3 * spent + 200
    smaller = compose_prompt([at(float(second), second, 224, 126) for second in range(frames)], "?")
    assert engine.picture_tokens(smaller) < engine.picture_tokens(prompt)


def test_a_price_that_is_too_low_is_raised_to_what_was_measured(serve: Serve) -> None:
    def expensive(body: Json) -> Answer:
        media = [part for part in parts_of(body) if part["type"] != "text"]
        frames = sum(2 if part["type"] == "video_url" else 1 for part in media)
        answer = talkative(body)
        assert isinstance(answer.body, dict)
        answer.body["usage"]["prompt_tokens"] = 20 + 1000 * frames + 30 * len(body.get("tools", ()))
        return answer

    engine = priced(named(serve, QWEN, expensive))
    side = engine.side
    assert 1000 <= engine.frame_tokens(side) <= 1002
    assert engine.picture_tokens(compose_prompt([at(1.0, 0, side, side), at(2.0, 1, side, side)], "?")) >= 2000
    assert engine.frame_tokens(side // 2) < 500  # in proportion


def test_an_unknown_model_is_priced_by_the_dearest_of_several_shapes(serve: Serve) -> None:
    def tiled(body: Json) -> Answer:
        answer = talkative(body)
        for part in parts_of(body):
            if part["type"] == "image_url" and part["image_url"]["url"]:
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                height = int.from_bytes(data[data.index(b"\xff\xc0") + 5 :][:2], "big")
                assert isinstance(answer.body, dict)
                answer.body["usage"]["prompt_tokens"] = 3348 if height == 336 else 276
        return answer

    assert priced(serve(tiled)).frame_tokens(448) >= 3328


def test_pictures_that_a_tool_shows_follow_in_the_users_turn(serve: Serve) -> None:
    calls = (ToolCall("1", "zoom", '{"t": 1}'), ToolCall("2", "zoom", "not json"))
    prompt: Prompt = (
        *strip(1, "Which?"),
        Message("assistant", ("Let me look.",), calls=calls),
        Message("tool", ("At 1.0:", at(1.0)), call=calls[0]),
        Message("tool", ("At 2.0:", at(2.0, 1), at(3.0, 2)), call=calls[1]),
        Message("assistant", (), calls=calls[:1]),
        Message("tool", ("Nothing.",), call=calls[0]),
        Message("user", ("So?",)),
    )
    stub = serve()
    once(engine_of(stub), prompt, Sampling())
    messages = stub.asked[-1]["messages"]
    assert [message["role"] for message in messages] == [
        *("user", "assistant", "tool", "tool", "user", "assistant", "tool", "user")
    ]
    assert messages[1]["content"] == "Let me look." and messages[5]["content"] is None
    first, second = messages[1]["tool_calls"]
    assert first == {"id": "1", "type": "function", "function": {"name": "zoom", "arguments": '{"t": 1}'}}
    assert second["function"]["arguments"] == '{"unreadable": "not json"}'  # servers refuse what is no object
    assert [message.get("tool_call_id") for message in messages[2:4]] == ["1", "2"]
    assert messages[2]["content"].startswith("At 1.0:") and isinstance(messages[3]["content"], str)
    assert [part["type"] for part in messages[4]["content"]].count("image_url") == 3
    assert (messages[6]["content"], messages[7]["content"]) == ("Nothing.", "So?")


def test_pictures_of_a_tool_join_the_users_next_words(serve: Serve) -> None:
    call = ToolCall("1", "zoom", "{}")
    asked = Message("assistant", (), calls=(call,))
    shown = Message("tool", (at(1.0),), call=call)
    stub = serve()
    for prompt in ((*words("?"), asked, shown, Message("user", ("So?",))), (*words("?"), asked, shown)):
        once(engine_of(stub), prompt, Sampling())
    joined, alone = (body["messages"][3:] for body in stub.asked)
    assert len(joined) == len(alone) == 1
    assert joined[0]["content"][-1]["text"] == "So?" and alone[0]["content"][-1]["type"] == "image_url"
