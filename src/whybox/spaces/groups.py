"""Several features that go together: one code for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, OptionError, SchemaError
from whybox.spaces.hierarchy import similarity_tree
from whybox.spaces.marginal import MarginalBound
from whybox.typing import Ask, Bools, Bound, Floats, Ints, Model, Rows, Space


@dataclass(frozen=True)
class Groups:
    """Features of another space, joined: one-hot columns of one variable, pixels of one region, lags of one series.

    Args:
        space: what varies.
        groups: name to features, each by name or position. Features in no group stay on their own, under their own names.

    Raises:
        OptionError: no space, or no lists of features.
        InputError: no group, an empty group, or a feature in two groups (on binding: an unknown feature).

    Example:
        >>> from whybox.spaces import Baseline
        >>> Groups(Baseline([0.0, 0.0, 0.0]), {"colour": [0, 1]}).groups["colour"]
        [0, 1]
    """

    space: Space
    groups: Mapping[str, Sequence[int | str]]

    def __post_init__(self) -> None:
        space, given = self.space, self.groups
        if isinstance(space, type) or not isinstance(space, Space):
            raise OptionError(f"Groups: expected a space first, such as whybox.spaces.Marginal(background), got a {type(space).__name__}")
        if not isinstance(given, Mapping) or any(isinstance(group, str) or not isinstance(group, Collection) for group in given.values()):
            raise OptionError(f'groups: expected names with lists of features, such as {{"colour": ["red", "blue"]}}, got {given!r}')
        if not self.groups:
            raise InputError("groups: expected at least one group, got none")
        members = [feature for group in self.groups.values() for feature in group]
        if any(len(group) == 0 for group in self.groups.values()):
            raise InputError("groups: a group is empty; every group needs at least one feature")
        twice = {feature for feature in members if members.count(feature) > 1}
        if twice:
            raise InputError(f"groups: features {sorted(map(str, twice))} stand in more than one group; groups may not overlap")

    def bind(self, x: Any, model: Model) -> GroupsBound:
        """Bind the inner space, and find the members."""
        inner = self.space.bind(x, model)
        d, names = inner.n_features(0), inner.feature_names(0)
        if any(inner.n_features(i) != d for i in range(0, inner.n, max(inner.n - 1, 1))):
            raise InputError("Groups: the rows have different numbers of features; groups need the same features in every row")
        member = np.full(d, -1, dtype=np.int64)
        for g, (name, group) in enumerate(self.groups.items()):
            for feature in group:
                at = names.index(feature) if isinstance(feature, str) and feature in names else feature
                if isinstance(at, bool) or not isinstance(at, (int, np.integer)) or not 0 <= at < d:
                    raise SchemaError(f"groups: {feature!r} of group {name!r} is no feature; there are {d}: {list(names)[:10]}")
                if member[at] >= 0:
                    raise InputError(f"groups: feature {names[at]!r} stands in more than one group; groups may not overlap")
                member[at] = g
        single = np.flatnonzero(member < 0)
        member[single] = len(self.groups) + np.arange(len(single))
        return GroupsBound(inner, member, (*map(str, self.groups), *(names[j] for j in single)))


@dataclass(frozen=True)
class GroupsBound:
    """A grouped space bound to rows, see :class:`whybox.typing.Bound`."""

    inner: Bound
    member: Ints  # (d,) the group of each inner feature
    names: tuple[str, ...]

    @property
    def n(self) -> int:
        """Explained rows."""
        return self.inner.n

    @property
    def draws(self) -> int:
        """Draws of the inner space."""
        return self.inner.draws

    @property
    def shared_empty(self) -> bool:
        """As the inner space."""
        return self.inner.shared_empty

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """Inner features of each group."""
        return tuple(tuple(np.flatnonzero(self.member == g).tolist()) for g in range(len(self.names)))

    def n_features(self, instance: int) -> int:
        """Groups and single features."""
        return len(self.names)

    def feature_names(self, instance: int) -> tuple[str, ...]:
        """Names of groups and single features."""
        return self.names

    @cached_property
    def similarity(self) -> Floats | None:
        """(groups, groups) largest similarity between members; None where the inner space knows of none."""
        alike = self.inner.similarity if isinstance(self.inner, (MarginalBound, GroupsBound)) else None
        if alike is None:
            return None
        rows = np.zeros((len(self.names), len(self.member)))
        np.maximum.at(rows, self.member, alike)
        both = np.zeros((len(self.names),) * 2)
        np.maximum.at(both, self.member, rows.T)
        return both

    @cached_property
    def _tree(self) -> Any:
        return list(range(len(self.names))) if self.similarity is None else similarity_tree(self.similarity)

    def tree(self, instance: int) -> Any:
        """Groups that go together, as nested pairs."""
        return self._tree

    def _spread(self, ask: Ask) -> Ask:
        codes: Bools = ask.codes[:, self.member]
        return Ask(ask.instances, codes)

    def plain(self, start: int, stop: int) -> Rows:
        """As the inner space."""
        return self.inner.plain(start, stop)

    def row_keys(self) -> NDArray[np.uint64] | None:
        """As the inner space."""
        return self.inner.row_keys()

    def digest(self) -> str:
        """The inner space's, and the groups."""
        return self.inner.digest() + repr((self.names, self.member.tolist()))

    def compose(self, ask: Ask, start: int, stop: int) -> Rows:
        """Rows of the inner space."""
        return self.inner.compose(self._spread(ask), start, stop)

    def take(self, ask: Ask, index: Ints) -> Rows:
        """Rows of the inner space."""
        return self.inner.take(self._spread(ask), index)

    def keys(self, ask: Ask) -> NDArray[np.uint64] | None:
        """Keys of the inner space."""
        return self.inner.keys(self._spread(ask))

    @property
    def folds_arrays(self) -> bool:
        """As the inner space."""
        return bool(getattr(self.inner, "folds_arrays", False))

    def fold(self, ask: Ask, outputs: Floats) -> Floats:
        """As the inner space."""
        return self.inner.fold(ask, outputs)
