from agents.engines.base import Reply, Token
from tests.agents.stage import Perform, thoughts


def test_one_thought_with_the_answer_at_its_end(perform: Perform) -> None:
    done = perform({"name": "chain_of_thought", "frames": 16}, thoughts("D"))
    assert (done.frames, done.samples, done.value) == ([16], [1], "D")
    assert done.calls[0].sampling.temperature == 0
    assert "Think step by step" in done.calls[0].text


def test_confidence_is_that_of_the_answer_not_of_the_thought(perform: Perform) -> None:
    tokens = (Token("hmm", -5.0), Token(" Answer: ", -1.0), Token("B", -0.1))
    done = perform("chain_of_thought", [Reply("hmm Answer: B", tokens)])
    assert done.confidence is not None
    assert abs(done.confidence - 0.9048) < 1e-4


def test_a_thought_that_is_cut_off_is_not_an_answer(perform: Perform) -> None:
    cut = Reply("first I see a red", (Token("first I see ", -0.1), Token("a red", -0.1)), finish="length")
    done = perform("chain_of_thought", [cut])
    assert (done.value, done.stopped) == (None, "unparsed")
    assert done.run.usage.degraded == ["no reply of the model could be read as an answer"]
