"""The odd Gaussian process of many games at once, on the device that answered them.

The same steps as :meth:`whybox.solvers.odd_gp.Design.posterior`, which takes one game after the other, and the same values to rounding:
games are stacked along the first axis, what a step finds for one game and not for another is a mask, and lists of single interactions are
padded to the longest. torch, which is loaded wherever answers are its tensors, has stacks of Cholesky factors and triangular solves.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox._arrays import is_out_of_memory
from whybox.solvers import odd_gp_batch_fit as fit
from whybox.solvers import odd_gp_settings as settings
from whybox.solvers.odd_gp_batch_fit import Games, Prior
from whybox.solvers.odd_gp_triples import CHANCE, MOST_SHARE, Triples
from whybox.typing import Array, Floats

if TYPE_CHECKING:
    from whybox.solvers.odd_gp import Design

_BYTES = 1 << 30  # of covariances that are held at once


@dataclass(frozen=True)
class _Terms:
    """Single interactions of each game: members (g, t, 3), signs (g, N, t), variance (g, t); empty places have no sign and no variance."""

    members: Any
    signs: Any
    variance: Any
    count: Any

    def at(self, index: Any) -> _Terms:
        return _Terms(self.members[index], self.signs[index], self.variance[index], self.count[index])

    def shares(self, d: int) -> Any:
        """(g, d, t)."""
        torch = sys.modules["torch"]
        g, t, _ = self.members.shape
        out = torch.zeros((g, d, t), dtype=torch.float64, device=self.signs.device)
        there = (torch.arange(t, device=self.signs.device) < self.count[:, None]).to(torch.float64)
        return out.scatter_(1, self.members.transpose(1, 2), (2.0 / 3.0 * there)[:, None, :].expand(g, 3, t))


@dataclass(frozen=True)
class _Posterior:
    q: Any
    vague: Any
    terms: _Terms | None
    factor: Any
    alpha: Any
    s2: Any

    def at(self, index: Any) -> _Posterior:
        terms = None if self.terms is None else self.terms.at(index)
        return _Posterior(self.q[index], self.vague[index], terms, self.factor[index], self.alpha[index], self.s2[index])

    def cross(self, points: Any) -> Any:
        """(g, d, N)."""
        cross = fit.value_covariance(points, self.q) + 2.0 * self.vague[:, None, None] * points.T
        if self.terms is not None:
            cross = cross + (self.terms.shares(points.shape[1]) * self.terms.variance[:, None, :]) @ self.terms.signs.transpose(1, 2)
        return cross

    def values(self, points: Any) -> tuple[Any, Any]:
        """Means and variances of the Shapley values, (g, d) each."""
        cross = self.cross(points)
        white = fit.below(self.factor, cross.transpose(1, 2))
        prior = fit.value_variance(self.q) + 4.0 * self.vague[:, None]
        if self.terms is not None:
            prior = prior + (self.terms.shares(points.shape[1]) ** 2 @ self.terms.variance[:, :, None])[:, :, 0]
        mean = (cross @ self.alpha[:, :, None])[:, :, 0]
        return mean, (self.s2[:, None] * (prior - (white**2).sum(1))).clamp(min=0.0)


def posteriors(design: Design, g: Floats, even: Floats, total: Floats, guess: Floats, like: Array) -> tuple[Floats, Floats]:
    """Shapley values and standard errors (r, d) of games g (r, n), even (r, n + 1) and total (r,), from guesses (r, d).

    Args:
        design: points and triples that all games share.
        g: odd part.
        even: even part.
        total: value of the full coalition less that of the empty one.
        guess: of the values.
        like: a torch tensor on the device that is to compute.
    """
    torch = sys.modules["torch"]
    d = design.points.shape[1]
    step = max(_BYTES // (8 * 12 * len(design.points) ** 2), 1)
    values, errors = np.empty((len(g), d)), np.empty((len(g), d))
    done = 0
    while done < len(g):
        here = slice(done, done + step)
        parts = (design.points, g[here], even[here], total[here], guess[here])
        there = [torch.from_numpy(np.array(part, dtype=np.float64)).to(like.device) for part in parts]
        try:
            found = _Solver(there[0], design.triples)(*there[1:])
        except Exception as error:
            if not is_out_of_memory(error) or step == 1:
                raise
            step = (step + 1) // 2  # answers are paid for, and the model may have left little room
            continue
        values[here], errors[here] = (part.cpu().numpy() for part in found)
        done += step
    return values, errors


class _Solver:
    """All games of one design.

    Args:
        points: (N, d), the full coalition last.
        triples: products of three features, or None.
    """

    def __init__(self, points: Any, triples: Triples | None) -> None:
        torch = sys.modules["torch"]
        self.points, self.torch = points, torch
        self.triples = triples is not None
        if triples is not None:
            self.first, self.second = (torch.from_numpy(part.copy()).to(points.device) for part in (triples.first, triples.second))
            self.products = torch.from_numpy(triples.products).to(points.device)  # (p, N)

    def __call__(self, g: Any, even: Any, total: Any, guess: Any) -> tuple[Any, Any]:
        """Values and standard errors, (r, d) each."""
        torch, points = self.torch, self.points
        n, d = g.shape[1], points.shape[1]
        odd = torch.cat([g, 0.5 * total[:, None]], 1)
        scale = odd.abs().amax(1)
        odd = odd / scale[:, None]
        games = Games(points, odd, (even - even.mean(1, keepdim=True)) / scale[:, None], linear=n >= settings.LINEAR * d)
        prior, better = fit.first_prior(games, fit.scaled(guess), strengths=settings.FIRST_STRENGTHS), guess
        if n < settings.REFINED * d:
            seen = self._posterior(games, prior, None)
            better = (seen.cross(points) @ seen.alpha[:, :, None])[:, :, 0]
        prior = fit.first_prior(games, fit.scaled(better), prior.noise[:, None])
        terms, rest, s2 = None, games, torch.ones_like(scale)
        if self.triples:
            plain = fit.first_prior(replace(games, even=None), fit.scaled(guess), settings.PLAIN_NOISES, settings.PLAIN_STRENGTHS)
            terms, rest, s2, _ = self._screened(games, self._posterior(games, plain, None), plain)
        if n >= settings.FEW * d:
            for pairs, cycles in settings.schedule(n, d):
                prior = fit.improved(rest.first(pairs), prior, cycles)
        if terms is not None:
            terms = replace(terms, variance=terms.variance * (s2 / prior.scale)[:, None])
        found = self._posterior(games, prior, terms)
        found, prior = self._rounds(games, found, prior) if self.triples else (found, prior)
        phi, variance = found.values(points)
        phi = phi + (2.0 * odd[:, -1] - phi.sum(1))[:, None] / d
        return phi * scale[:, None], (variance * (prior.spread * (1.0 + settings.WIDEN * d / n))[:, None]).sqrt() * scale[:, None]

    def _rounds(self, games: Games, found: _Posterior, prior: Prior) -> tuple[_Posterior, Prior]:
        """Further interactions, each time of the games in which some were found."""
        open_ = self.torch.arange(len(games.odd), device=games.odd.device)
        for _ in range(settings.ROUNDS):
            mine = Games(games.points, games.odd[open_], None, games.linear)
            terms, rest, s2, new = self._screened(mine, found.at(open_), prior.at(open_))
            if terms is None:
                break
            open_, terms, s2 = open_[new], terms.at(new), s2[new]
            moved = fit.improved(replace(rest, odd=rest.odd[new]).first(settings.FIT_PAIRS), prior.at(open_), settings.AGAIN)
            terms = replace(terms, variance=terms.variance * (s2 / moved.scale)[:, None])
            found = _put(found, open_, self._posterior(replace(mine, odd=games.odd[open_]), moved, terms))
            prior = prior.put(open_, moved)
        return found, prior

    def _screened(self, games: Games, found: _Posterior, prior: Prior) -> tuple[_Terms | None, Games, Any, Any]:
        """Terms with those that newly stand out, games without what these explain, their scale, and in which games there are new ones."""
        terms, new = self._search(found)
        ones = self.torch.ones_like(found.s2)
        if terms is None:
            return None, games, ones, new
        refit = self._posterior(games, prior, terms)
        explained = (terms.signs @ (terms.variance[:, :, None] * (terms.signs.transpose(1, 2) @ refit.alpha[:, :, None])))[:, :, 0]
        return (
            terms,
            replace(games, odd=self.torch.where(new[:, None], games.odd - explained, games.odd)),
            self.torch.where(new, refit.s2, ones),
            new,
        )

    def _search(self, found: _Posterior) -> tuple[_Terms | None, Any]:
        torch, points, known = self.torch, self.points, found.terms
        n, d = points.shape
        games = len(found.alpha)
        score = self.products @ (points * found.alpha[:, :, None])  # (g, p, d)
        score = score * (torch.arange(d, device=points.device) > self.second[:, None])
        if known is not None:
            a, b, c = known.members.unbind(2)
            place = (a * d - a * (a + 1) // 2 + b - a - 1) * d + c
            slots = torch.arange(place.shape[1], device=points.device) < known.count[:, None]
            flat = torch.cat([score.reshape(games, -1), torch.zeros((games, 1), dtype=score.dtype, device=score.device)], 1)
            flat = flat.scatter(1, torch.where(slots, place, flat.shape[1] - 1), 0.0)
            score = flat[:, :-1].reshape(score.shape)
        inverse = fit.below(found.factor, fit.unit(found.factor))
        limit = CHANCE * float(np.log(d * (d - 1) * (d - 2) / 6.0))
        size = (score**2).reshape(games, -1) / (found.s2 * (inverse**2).sum((1, 2)))[:, None]
        before = torch.zeros(games, dtype=torch.int64, device=points.device) if known is None else known.count
        most = min(n // MOST_SHARE, size.shape[1])
        largest, top = size.topk(most, dim=1)
        taken = (largest > limit) & (torch.arange(most, device=points.device) < (n // MOST_SHARE - before)[:, None])
        new = taken.any(1)
        if not bool(new.any()):
            return None, new
        added = taken.sum(1)
        t = int((before + added).max())
        pair, third = top // d, top % d
        members = torch.zeros((games, t + 1, 3), dtype=torch.int64, device=points.device)  # one place more for what is not taken
        variance = torch.zeros((games, t + 1), dtype=torch.float64, device=points.device)
        if known is not None:
            width = min(known.members.shape[1], t)
            members[:, :width], variance[:, :width] = known.members[:, :width], known.variance[:, :width]
        place = torch.where(taken, before[:, None] + torch.arange(most, device=points.device), t).clamp(max=t)
        members.scatter_(1, place[:, :, None].expand(-1, -1, 3), torch.stack([self.first[pair], self.second[pair], third], 2))
        members, variance, count = members[:, :t], variance[:, :t], before + added
        slots = (torch.arange(t, device=points.device) < count[:, None]).to(torch.float64)
        signs = (points.T[members].prod(2) * slots[:, :, None]).transpose(1, 2)  # (g, N, t)
        seen = (signs.transpose(1, 2) @ found.alpha[:, :, None])[:, :, 0]
        expected = ((inverse @ signs) ** 2).sum(1)
        s2 = found.s2[:, None]
        fresh = (seen**2 / s2 - expected).clamp(min=0.0) / torch.where(slots > 0, expected, 1.0) ** 2
        again = ((variance * seen) ** 2 / s2 + variance - variance**2 * expected).clamp(min=0.0)
        variance = torch.where(variance > 0.0, again, fresh) * slots
        empty = ~new[:, None]  # a game in which nothing stands out has no terms here
        return _Terms(members, signs * ~empty[:, :, None], variance * ~empty, torch.where(new, count, 0)), new

    def _posterior(self, games: Games, prior: Prior, terms: _Terms | None) -> _Posterior:
        y = games.odd
        k = fit.covariance(self.points, prior.q)
        level = k[:, 0, 0].clone()
        k = k + games.first_order(level)
        if terms is not None:
            k = k + (terms.signs * terms.variance[:, None, :]) @ terms.signs.transpose(1, 2)
        noise = prior.noise
        factor, failed = fit.factorised(k, level, noise)
        while bool(failed.any()):
            noise = self.torch.where(failed, noise * 10.0, noise)
            factor, failed = fit.factorised(k, level, noise)
        alpha = fit.solved(factor, y)
        return _Posterior(prior.q, games.vague(level), terms, factor, alpha, (y * alpha).sum(1) / y.shape[1])


def _put(whole: _Posterior, at: Any, part: _Posterior) -> _Posterior:
    """The whole with some games replaced; lists of terms grow to the longer one."""
    torch = sys.modules["torch"]
    assert part.terms is not None
    games, t = len(whole.q), part.terms.members.shape[1]
    before = 0 if whole.terms is None else whole.terms.members.shape[1]
    width = max(t, before)
    old = (
        whole.terms
        if whole.terms is not None
        else _Terms(
            part.terms.members.new_zeros((games, 0, 3)),
            part.terms.signs.new_zeros((games, part.terms.signs.shape[1], 0)),
            part.terms.variance.new_zeros((games, 0)),
            part.terms.count.new_zeros(games),
        )
    )

    def grown(a: Any, axis: int) -> Any:
        shape = list(a.shape)
        shape[axis] = width - shape[axis]
        return torch.cat([a, a.new_zeros(shape)], axis)

    def put(a: Any, b: Any) -> Any:
        a = a.clone()
        a[at] = b
        return a

    terms = _Terms(
        put(grown(old.members, 1), grown(part.terms.members, 1)),
        put(grown(old.signs, 2), grown(part.terms.signs, 2)),
        put(grown(old.variance, 1), grown(part.terms.variance, 1)),
        put(old.count, part.terms.count),
    )
    q, vague = put(whole.q, part.q), put(whole.vague, part.vague)
    return _Posterior(q, vague, terms, put(whole.factor, part.factor), put(whole.alpha, part.alpha), put(whole.s2, part.s2))
