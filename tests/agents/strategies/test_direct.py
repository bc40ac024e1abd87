import pytest

from agents.engines.base import Reply, Token
from tests.agents.stage import HOW_MANY, IS_IT, Perform, sure


def test_one_call_on_evenly_spread_frames(perform: Perform) -> None:
    done = perform({"name": "direct", "frames": 8}, [sure("C", 0.7)])
    assert (done.frames, done.value, done.stopped) == ([8], "C", "complete")
    assert done.confidence == 0.7
    times = done.calls[0].times
    assert all(8 * i + 2 <= time <= 8 * i + 6 for i, time in enumerate(times)), "middle half of each bin"


def test_candidates_carry_every_option_probability(perform: Perform) -> None:
    done = perform("direct", [{"A": 0.1, "B": 0.2, "C": 0.3, "D": 0.4}])
    shares = {each.option: each.share for each in done.outcome.answer.candidates}
    assert shares == {"A": 0.1, "B": 0.2, "C": 0.3, "D": 0.4}


def test_rotating_the_options_cancels_a_taste_for_a_letter(perform: Perform) -> None:
    likes_a = {"A": 0.5, "B": 0.3, "C": 0.1, "D": 0.1}
    done = perform({"name": "direct", "rotations": 4}, [likes_a] * 4)
    assert len(done.calls) == 4
    shares = [each.share for each in done.outcome.answer.candidates]
    assert max(shares) - min(shares) < 1e-9, "a model that only likes letters knows nothing"


def test_rotation_maps_letters_back_to_the_original_options(perform: Perform) -> None:
    done = perform({"name": "direct", "rotations": 2}, [sure("B", 0.9), sure("A", 0.9)])
    assert "A. green" in done.calls[1].text
    assert done.value == "B"
    assert done.confidence is not None
    assert abs(done.confidence - 0.9) < 1e-9


def test_yes_or_no_has_probabilities_too(perform: Perform) -> None:
    done = perform("direct", [{"yes": 0.2, "no": 0.8}], question=IS_IT)
    assert (done.value, done.confidence) == ("no", 0.8)


def test_an_open_question_takes_the_least_certain_token_of_the_answer(perform: Perform) -> None:
    reply = Reply("12", (Token("1", -0.1), Token("2", -0.5)))
    done = perform("direct", [reply], question=HOW_MANY)
    assert done.value == "12"
    assert done.confidence is not None
    assert abs(done.confidence - 0.6065) < 1e-4


def test_an_engine_without_probabilities_still_answers_with_unknown_confidence(perform: Perform) -> None:
    done = perform("direct", [Reply("B")], capabilities=frozenset())
    assert (done.value, done.confidence) == ("B", None)


def test_a_server_that_promised_probabilities_and_sent_none_still_gets_its_answer_read(perform: Perform) -> None:
    done = perform("direct", [Reply("C"), Reply("C")])
    assert (done.value, done.confidence, len(done.calls)) == ("C", None, 2)


def test_a_model_that_answers_in_words_is_asked_for_them_and_read_back_to_letters(perform: Perform) -> None:
    words = {"red": 0.1, "green": 0.6, "blue": 0.2, "grey": 0.1}
    turned = {"green": 0.6, "blue": 0.2, "grey": 0.1, "red": 0.1}
    done = perform({"name": "direct", "rotations": 2}, [words, turned], answer_format="text")
    assert done.calls[1].sampling.choices == ("green", "blue", "grey", "red")
    assert done.calls[0].text.endswith("Answer with the best option only.")
    assert done.value == "B"
    assert done.confidence == pytest.approx(0.6)
