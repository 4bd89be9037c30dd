"""A search of many integers at once among ascending ones that are cut into buckets.

The bucket of an integer is found by arithmetic and holds about one value, so that a search takes a few steps, where
bisection takes one for each doubling of the values. Values that crowd into few buckets bring the steps of bisection
back, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

#: Buckets for each value, at most: more take fewer steps, and more memory.
BUCKETS_PER_VALUE = 2


@dataclass(frozen=True, slots=True)
class Buckets:
    """Groups of ascending integers; the range of all values is cut into buckets of 2**shift, for each group anew.

    Attributes:
        values: The values of group 0, of group 1 and so on, ascending in each; followed by as many as the first step
            may go beyond the end.
        firsts: The position of the first value of each bucket, and the position after the last value.
        each: How many buckets a group has.
        low: The smallest value.
        high: The greatest value.
        shift: The bits of a value that do not choose its bucket.
        first_step: A power of two; steps of half the width follow until they are one.
    """

    values: Integers
    firsts: npt.NDArray[np.int32]
    each: int
    low: int
    high: int
    shift: int
    first_step: int

    @classmethod
    def of(cls, values: Integers, groups: Integers, count: int) -> Buckets:
        """The buckets of values.

        Args:
            values: The values, ascending in each group.
            groups: The group of each value, ascending from 0.
            count: How many groups there are.
        """
        low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
        width = (high - low + 1) * count // (BUCKETS_PER_VALUE * len(values) + 1) + 1
        shift = (width - 1).bit_length()
        each = ((high - low) >> shift) + 1
        sizes = np.bincount(_bucket(values, groups, each=each, low=low, shift=shift), minlength=each * count)
        firsts = np.zeros(len(sizes) + 1, np.int32)
        np.cumsum(sizes, out=firsts[1:])
        first_step = 1 << int(sizes.max(initial=0)).bit_length() >> 1
        beyond = np.full(first_step + 1, np.iinfo(np.int64).max)
        return cls(np.concatenate([values, beyond]), firsts, each, low, high, shift, first_step)

    def positions(self, wanted: Integers, groups: Integers | int) -> tuple[Integers, Integers]:
        """For each integer, where its group begins, and the position after the last value that is not greater.

        Args:
            wanted: The integers.
            groups: The group in which each is sought.
        """
        within = np.clip(wanted, self.low, self.high)
        bucket = _bucket(within, groups, each=self.each, low=self.low, shift=self.shift)
        position = self.firsts.take(bucket, mode="clip").astype(np.int64)
        end = self.firsts.take(bucket + 1, mode="clip").astype(np.int64)
        start = self.firsts.take(np.multiply(groups, self.each), mode="clip").astype(np.int64)
        if not self.shift:  # the values of a bucket are equal
            return start, np.where(wanted < self.low, start, end)
        step = self.first_step
        while step:
            further = self.values.take(position + (step - 1), mode="clip") <= wanted
            further &= position + step <= end
            position += further * step
            step >>= 1
        return start, position


def _bucket(values: Integers, groups: Integers | int, *, each: int, low: int, shift: int) -> Integers:
    """The bucket of each value, which lies in the range of all; as unsigned integers, since the range may be wide."""
    distance = (values - low).view(np.uint64) >> np.uint64(shift)
    return groups * each + distance.view(np.int64)
