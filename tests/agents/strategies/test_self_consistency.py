import pytest

from agents.engines.base import Reply, Token
from tests.agents.stage import WHAT, Perform, sure, thoughts

NAME = "self_consistency"


def test_the_most_common_answer_wins_and_its_share_is_the_confidence(perform: Perform) -> None:
    spec = {"name": NAME, "samples": 5, "stop": "fixed", "diversity": "temperature"}
    done = perform(spec, thoughts(*"ABBBA"))
    assert (done.value, done.confidence, done.samples) == ("B", 0.6, [5])


def test_temperature_draws_from_the_same_frames_in_one_call(perform: Perform) -> None:
    done = perform({"name": NAME, "samples": 8, "stop": "fixed", "diversity": "temperature"}, thoughts(*"A" * 8))
    assert (done.frames, done.samples) == ([32], [8])
    assert done.calls[0].sampling.temperature == 0.7


@pytest.mark.parametrize(("diversity", "temperature"), [("frames", 0.0), ("both", 0.7)])
def test_jitter_shows_each_sample_other_frames(perform: Perform, diversity: str, temperature: float) -> None:
    spec = {"name": NAME, "samples": 3, "frames": 4, "stop": "fixed", "diversity": diversity}
    done = perform(spec, thoughts(*"AAA"))
    assert (done.frames, done.samples) == ([4, 4, 4], [1, 1, 1])
    assert len({call.times for call in done.calls}) == 3
    assert {call.sampling.temperature for call in done.calls} == {temperature}


def test_stops_as_soon_as_the_leader_cannot_be_caught(perform: Perform) -> None:
    spec = {"name": NAME, "samples": 8, "batch": 1, "diversity": "temperature"}
    done = perform(spec, thoughts(*"AABAAABB"))
    assert (len(done.calls), done.stopped, done.value) == (6, "decided", "A")


@pytest.mark.parametrize(
    ("votes", "calls"), [("AAAA", 4), ("ABAAAAA", 7), ("ABABAAAAAA", 10)], ids=["4:0", "6:1", "8:2"]
)
def test_beta_rule_stops_where_the_exact_table_says(perform: Perform, votes: str, calls: int) -> None:
    spec = {"name": NAME, "samples": 20, "batch": 1, "stop": "beta", "diversity": "temperature"}
    done = perform(spec, thoughts(*votes))
    assert (len(done.calls), done.stopped) == (calls, "decided")


def test_direct_answers_on_other_frames_can_be_weighted_by_margin(perform: Perform) -> None:
    spec = {
        "name": NAME,
        "samples": 3,
        "think": False,
        "diversity": "frames",
        "weight": "margin",
        "stop": "fixed",
    }
    unsure_a = {"A": 0.3, "B": 0.25, "C": 0.25, "D": 0.2}
    done = perform(spec, [unsure_a, unsure_a, sure("B", 0.9)])
    assert done.value == "B", "one sure sample outweighs two that barely lean"


def test_mean_log_probability_can_weigh_a_vote(perform: Perform) -> None:
    def chain(letter: str, logprob: float) -> Reply:
        return Reply(f"Answer: {letter}", (Token("Answer: ", logprob), Token(letter, logprob)))

    spec = {"name": NAME, "samples": 3, "weight": "logprob", "stop": "fixed", "diversity": "temperature"}
    done = perform(spec, [chain("A", -3.0), chain("A", -3.0), chain("C", -0.1)])
    assert done.value == "C"


def test_a_sample_that_cannot_be_read_never_votes(perform: Perform) -> None:
    spec = {"name": NAME, "samples": 5, "stop": "fixed", "diversity": "temperature"}
    done = perform(spec, thoughts(*"???DD"))
    assert (done.value, done.confidence) == ("D", 1.0)


def test_open_answers_agree_in_any_case_and_keep_their_first_spelling(perform: Perform) -> None:
    spec = {"name": NAME, "samples": 3, "stop": "fixed", "diversity": "temperature"}
    lines = ["Answer: The Eiffel Tower.", "Answer: eiffel tower", "Answer: Big Ben"]
    done = perform(spec, lines, question=WHAT)
    assert done.outcome.answer.candidates[0].answer == "The Eiffel Tower."
    assert done.confidence == pytest.approx(2 / 3)
