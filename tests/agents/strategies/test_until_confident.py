from tests.agents.stage import Perform, sure

NAME = "until_confident"


def test_looks_denser_until_the_answer_is_probable_enough(perform: Perform) -> None:
    done = perform(NAME, [sure("A", 0.5), sure("A", 0.7), sure("B", 0.95)])
    assert done.frames == [8, 16, 32]
    assert (done.value, done.confidence, done.stopped) == ("B", 0.95, "confident")


def test_one_look_is_enough_when_it_is_sure(perform: Perform) -> None:
    done = perform(NAME, [sure("D", 0.9)])
    assert (done.frames, done.stopped) == ([8], "confident")


def test_the_most_confident_round_wins_when_none_is_sure(perform: Perform) -> None:
    done = perform({"name": NAME, "rounds": 3}, [sure("A", 0.5), sure("B", 0.8), sure("C", 0.6)])
    assert (done.value, done.confidence, done.stopped) == ("B", 0.8, "complete")


def test_elsewhere_looks_at_as_many_other_frames(perform: Perform) -> None:
    done = perform({"name": NAME, "where": "elsewhere", "rounds": 3}, [sure("A", 0.5)] * 3)
    assert done.frames == [8, 8, 8]
    assert len({call.times for call in done.calls}) == 3


def test_pooled_rounds_average_their_probabilities(perform: Perform) -> None:
    spec = {"name": NAME, "rounds": 2, "pick": "pooled"}
    done = perform(spec, [{"A": 0.8, "B": 0.2, "C": 0, "D": 0}, {"A": 0.1, "B": 0.6, "C": 0.2, "D": 0.1}])
    assert done.value == "A"
    assert done.confidence is not None
    assert abs(done.confidence - 0.45) < 1e-9


def test_never_more_frames_than_the_limit(perform: Perform) -> None:
    done = perform({"name": NAME, "limit": 16, "rounds": 4}, [sure("A", 0.5)] * 2)
    assert done.frames == [8, 16]
