from tests.agents.stage import Perform, sure, thoughts

LADDER = {"name": "escalate", "confidence": 0.9, "strategies": [{"name": "direct", "frames": 4}, "chain_of_thought"]}


def test_a_sure_first_stage_is_the_end(perform: Perform) -> None:
    done = perform(LADDER, [sure("A", 0.95)])
    assert (done.frames, done.value, done.stopped) == ([4], "A", "confident")


def test_doubt_goes_on_to_the_next_stage(perform: Perform) -> None:
    done = perform(LADDER, [sure("A", 0.5), *thoughts("C")])
    assert (done.frames, done.value, done.confidence) == ([4, 32], "C", 0.9)


def test_the_last_stage_that_can_answer_decides(perform: Perform) -> None:
    done = perform(LADDER, [sure("A", 0.5), *thoughts("?")])
    assert done.value == "A"


def test_or_the_surest_stage_decides(perform: Perform) -> None:
    spec = {**LADDER, "pick": "surest", "confidence": 0.97}
    done = perform(spec, [sure("A", 0.95), *thoughts("C")])
    assert (done.value, done.confidence, done.stopped) == ("A", 0.95, "complete")


def test_auto_answers_with_one_cheap_call_when_that_is_enough(perform: Perform) -> None:
    done = perform("auto", [sure("B", 0.99)])
    assert (done.frames, done.value) == ([8], "B")
    assert done.outcome.strategy["name"] == "escalate"
