from tests.agents.stage import Perform, thoughts

NAME = "sparse_to_dense"


def test_doubles_the_frames_until_all_samples_agree(perform: Perform) -> None:
    done = perform({"name": NAME, "samples": 3}, thoughts(*"AABBBB"))
    assert (done.frames, done.samples) == ([8, 16], [3, 3])
    assert (done.value, done.stopped, done.confidence) == ("B", "agreed", 1.0)


def test_a_denser_round_keeps_every_frame_of_the_round_before(perform: Perform) -> None:
    done = perform({"name": NAME, "samples": 2}, thoughts(*"ABABAB"))
    sparse, middle, dense = (set(call.times) for call in done.calls)
    assert sparse < middle < dense
    assert done.run.usage.frames_viewed == 56
    assert done.run.usage.frames_unique == 32


def test_by_arrival_new_frames_come_after_the_old_ones(perform: Perform) -> None:
    done = perform({"name": NAME, "samples": 2, "limit": 16, "order": "arrival"}, thoughts(*"ABAB"))
    sparse, dense = (call.times for call in done.calls)
    assert dense[:8] == sparse and dense[8:] == tuple(sorted(dense[8:])) and len(set(dense)) == 16


def test_stops_at_the_limit_and_lets_only_the_last_round_vote(perform: Perform) -> None:
    done = perform({"name": NAME, "samples": 3, "limit": 16}, thoughts(*"AABCCB"))
    assert (done.frames, done.value, done.stopped) == ([8, 16], "C", "complete")


def test_pooled_votes_count_all_rounds(perform: Perform) -> None:
    done = perform({"name": NAME, "samples": 3, "limit": 16, "vote": "pooled"}, thoughts(*"AABCAB"))
    assert (done.value, done.confidence) == ("A", 0.5)


def test_unreadable_samples_do_not_count_as_agreement(perform: Perform) -> None:
    done = perform({"name": NAME, "samples": 2, "limit": 16}, thoughts(*"A?AA"))
    assert (done.frames, done.stopped) == ([8, 16], "agreed")


def test_video_rts_preset_starts_at_32_and_ends_at_128_frames(perform: Perform) -> None:
    done = perform("video_rts", thoughts(*"AABBBABABAAAAAB"))
    assert (done.frames, done.samples, done.value) == ([32, 64, 128], [5, 5, 5], "A")
