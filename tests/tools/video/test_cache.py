"""The frame cache keeps within its bytes, forgets the least used, and is safe under threads."""

from __future__ import annotations

import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tools.video.cache import FrameCache, FrameKey
from tools.video.frame import Frame


def frame(size: int = 10) -> Frame:
    return Frame(0.0, np.zeros((size, 10, 3), np.uint8))


def key(number: int) -> FrameKey:
    return ("film", "pyav", 448, number)


def test_the_least_recently_used_goes_first() -> None:
    cache = FrameCache(900)
    frames = [frame() for _ in range(4)]
    for index in range(3):
        cache.put(key(index), frames[index])
    assert cache.get(key(0)) is frames[0]
    cache.put(key(3), frames[3])
    assert cache.get(key(1)) is None
    assert [cache.get(key(i)) for i in (0, 2, 3)] == [frames[0], frames[2], frames[3]]
    assert (cache.bytes, len(cache), cache.hits, cache.misses) == (900, 3, 4, 1)


def test_all_or_none() -> None:
    cache = FrameCache(900)
    frames = [frame() for _ in range(4)]
    for index in range(3):
        cache.put(key(index), frames[index])
    assert cache.get_all([key(0), key(3)]) is None
    assert (cache.hits, cache.misses) == (0, 0)
    assert cache.get_all([key(0), key(1)]) == frames[:2]
    cache.put(key(3), frames[3])
    assert cache.get(key(2)) is None, "those that were found are the most recently used"
    assert (cache.hits, cache.misses) == (2, 1)


def test_a_frame_larger_than_the_cache_is_not_kept() -> None:
    cache = FrameCache(500)
    cache.put(key(0), frame())
    cache.put(key(1), frame(100))
    assert (len(cache), cache.bytes) == (1, 300)


def test_putting_a_frame_again_does_not_count_it_twice() -> None:
    cache = FrameCache(1000)
    for size in (10, 20, 5):
        cache.put(key(0), frame(size))
    assert (len(cache), cache.bytes) == (1, 150)


def test_threads_never_break_the_bound() -> None:
    cache = FrameCache(300 * 20)

    def use(seed: int) -> int:
        rng, highest = random.Random(seed), 0
        for _ in range(3000):
            if cache.get(key(rng.randrange(60))) is None:
                cache.put(key(rng.randrange(60)), frame(rng.choice([5, 10, 20])))
            highest = max(highest, cache.bytes)
        return highest

    with ThreadPoolExecutor(8) as pool:
        highest = max(pool.map(use, range(8)))
    kept = [cache.get(key(i)) for i in range(60)]
    assert cache.bytes == sum(f.image.nbytes for f in kept if f is not None) <= cache.max_bytes
    # Readers may see the bytes of the frame just being put before the oldest has gone.
    assert highest <= cache.max_bytes + 600


def test_it_pickles_as_an_empty_cache_of_the_same_size() -> None:
    cache = FrameCache(900)
    cache.put(key(0), frame())
    back = pickle.loads(pickle.dumps(cache))
    assert (back.max_bytes, len(back)) == (900, 0)
