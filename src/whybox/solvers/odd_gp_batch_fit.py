"""Hyper-parameters and covariances of the odd Gaussian process for many games at once: :mod:`whybox.solvers.odd_gp_fit`, in stacks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox.solvers import odd_gp_settings as settings
from whybox.solvers.odd_gp_kernel import log_nodes, nodes


@dataclass(frozen=True)
class Games:
    """What games show: points (N, d), odd (g, N), even (g, N) or None, and whether first order has a vague prior of its own."""

    points: Any
    odd: Any
    even: Any
    linear: bool = False

    def first(self, pairs: int) -> Games:
        """The first pairs and the full coalition."""
        if pairs >= self.odd.shape[1] - 1:
            return self
        index = [*range(pairs), self.odd.shape[1] - 1]
        return Games(self.points[index], self.odd[:, index], None if self.even is None else self.even[:, index], self.linear)

    def vague(self, level: Any) -> Any:
        """Variance of each feature's own term beside the process, (g,)."""
        return settings.VAGUE * level / self.points.shape[1] if self.linear else 0.0 * level

    def first_order(self, level: Any) -> Any:
        """Covariances (g, N, N) of these terms; 0.0 without them."""
        return self.vague(level)[:, None, None] * (self.points @ self.points.T) if self.linear else 0.0

    @property
    def observations(self) -> list[tuple[Any, float]]:
        """Each part that is used, and its weight."""
        return [(self.odd, 1.0)] if self.even is None else [(self.odd, 1.0), (self.even, settings.EVEN_WEIGHT)]


@dataclass(frozen=True)
class Prior:
    """Hyper-parameters of each game: q (g, d), and noise, spread and scale (g,)."""

    q: Any
    noise: Any
    spread: Any
    scale: Any

    def at(self, index: Any) -> Prior:
        """Those of some games."""
        return Prior(self.q[index], self.noise[index], self.spread[index], self.scale[index])

    def put(self, index: Any, part: Prior) -> Prior:
        """These with some games replaced."""
        whole = [getattr(self, name).clone() for name in ("q", "noise", "spread", "scale")]
        for mine, name in zip(whole, ("q", "noise", "spread", "scale"), strict=True):
            mine[index] = getattr(part, name)
        return Prior(*whole)

    def where(self, chosen: Any, other: Prior) -> Prior:
        """These where chosen (g,), the other's elsewhere."""
        torch = sys.modules["torch"]
        pick = torch.where
        return Prior(
            pick(chosen[:, None], self.q, other.q),
            pick(chosen, self.noise, other.noise),
            pick(chosen, self.spread, other.spread),
            pick(chosen, self.scale, other.scale),
        )


def scaled(guess: Any) -> Any:
    """(g, d) relevances in proportion to guesses, the largest 1."""
    size = guess.abs()
    return (size / size.amax(1, keepdim=True).clamp(min=settings.TINY)).clamp(min=settings.FLOOR)


def below(factor: Any, right: Any) -> Any:
    """The inverse of lower triangular factors, times right sides."""
    return sys.modules["torch"].linalg.solve_triangular(factor, right, upper=False)


def factorised(k: Any, level: Any, noise: Any) -> tuple[Any, Any]:
    """Lower Cholesky factors of covariances (g, N, N) with noise, and where rounding made that impossible (g,)."""
    k = k.clone()
    diagonal = k.diagonal(dim1=1, dim2=2)
    diagonal[:, :-1] += (noise * level)[:, None]
    diagonal[:, -1] += settings.ENDS * level
    factor, info = sys.modules["torch"].linalg.cholesky_ex(k)
    failed = info != 0
    return unit(factor).where(failed[:, None, None], factor), failed  # what failed is looked at no further, and must not stop the others


def unit(like: Any) -> Any:
    """(g, N, N) unit matrices."""
    return sys.modules["torch"].eye(like.shape[-1], dtype=like.dtype, device=like.device).expand(like.shape)


def solved(factor: Any, y: Any) -> Any:
    """The inverse of covariances times observations (g, N). Two triangular solves are one call each for all games, on every device."""
    torch = sys.modules["torch"]
    return torch.linalg.solve_triangular(factor.mT, below(factor, y[:, :, None]), upper=True)[:, :, 0]


def covariance(points: Any, q: Any) -> Any:
    """Of the odd part, (g, N, N)."""
    return ((points * q.atanh()[:, None, :]) @ points.T).sinh() * (0.5 * (-q * q).log1p().sum(1)).exp()[:, None, None]


def covariances(points: Any, q: Any) -> tuple[Any, Any]:
    """Of the odd and of the even part, (g, N, N) each."""
    up = ((points * q.atanh()[:, None, :]) @ points.T).exp()
    scale = (0.5 * (0.5 * (-q * q).log1p().sum(1)).exp())[:, None, None]
    return (up - 1.0 / up) * scale, (up + 1.0 / up) * scale


def value_covariance(points: Any, q: Any) -> Any:
    """Of the Shapley values and the observations, (g, d, N); see :func:`whybox.solvers.odd_gp_kernel.value_covariance`."""
    t, weight = (_there(part, q) for part in nodes(points.shape[1]))
    tq = t[:, None] * q[:, None, :]  # (g, nodes, d)
    field = points @ tq.atanh().transpose(1, 2)  # (g, N, nodes)
    scale = (weight * (0.5 * (-(tq**2)).log1p().sum(2)).exp())[:, None, :]
    lift = 1.0 / (1.0 - tq**2)
    without = (field.cosh() * scale) @ lift - points * ((field.sinh() * scale) @ (lift * tq))
    return (2.0 * q[:, None, :] * points * without).transpose(1, 2)


def value_variance(q: Any) -> Any:
    """Prior variance of each Shapley value, (g, d)."""
    t, weight = (_there(part, q) for part in log_nodes())
    tq = t[:, None] * q[:, None, :]
    both = sum((part.sum(2, keepdim=True) - part).exp() for part in (tq.log1p(), (-tq).log1p()))
    return 2.0 * q * (weight @ both)


def _there(host: Any, like: Any) -> Any:
    return sys.modules["torch"].from_numpy(np.array(host)).to(like.device)


def first_prior(games: Games, relevance: Any, noises: Any = settings.NOISES, strengths: tuple[float, ...] = settings.STRENGTHS) -> Prior:
    """The strength and noise under which the first pairs of each game are most likely.

    Args:
        games: the games.
        relevance: (g, d), the largest 1.
        noises: candidates of all games, or (g, 1) the only one of each.
        strengths: candidates.
    """
    torch = sys.modules["torch"]
    seen = games.first(settings.GRID_PAIRS)
    g, n = seen.odd.shape
    noises = torch.tensor(noises, dtype=torch.float64, device=relevance.device).expand(g, -1) if isinstance(noises, tuple) else noises
    scores, noted = [], []
    for strength in strengths:
        both = covariances(seen.points, strength * relevance)
        level = both[0][:, 0, 0].clone()
        for noise in noises.unbind(1):
            square, log_det, count = torch.zeros_like(level), torch.zeros_like(level), 0.0
            for which, (y, weight) in enumerate(seen.observations):
                factor, failed = factorised(both[which] + (settings.CONSTANT * level[:, None, None] if which else 0.0), level, noise)
                white = below(factor, y[:, :, None])[:, :, 0]
                square = square + weight * (white**2).sum(1)
                log_det = log_det + weight * factor.diagonal(dim1=1, dim2=2).log().sum(1)
                log_det = torch.where(failed, torch.nan, log_det)
                count += weight * n
            scores.append(-0.5 * count * square.clamp(min=settings.TINY).log() - log_det)
            noted.append((strength, noise))
    score = torch.stack(scores, 1)
    lost = score.isnan()
    best = torch.where(lost, -torch.inf, score).argmax(1)
    best = torch.where(lost.all(1), len(noted) - 1, best)
    strength = torch.tensor([s for s, _ in noted], dtype=torch.float64, device=relevance.device)[best]
    noise = torch.stack([noise for _, noise in noted], 1).gather(1, best[:, None])[:, 0]
    return Prior(strength[:, None] * relevance, noise, torch.ones_like(noise), torch.ones_like(noise))


def improved(games: Games, prior: Prior, cycles: int) -> Prior:
    """Relevances and noise of a larger marginal likelihood; a game in which rounding makes a step impossible keeps what it had."""
    torch = sys.modules["torch"]
    alive = torch.ones(len(games.odd), dtype=torch.bool, device=games.odd.device)
    for _ in range(cycles):
        first, sound = _stepped(games, prior)
        second, still = _stepped(games, first)
        ended = alive & sound & ~still
        going = alive & sound & still
        moved = _extrapolated(prior, first, second)
        prior = moved.where(going, first.where(ended, prior))
        alive = going
    return prior


def _extrapolated(start: Prior, first: Prior, second: Prior) -> Prior:
    torch = sys.modules["torch"]
    a, b, c = (torch.cat([prior.q, prior.noise[:, None]], 1).log() for prior in (start, first, second))
    step = b - a
    turn = (c - b) - step
    length = (step.norm(dim=1) / turn.norm(dim=1).clamp(min=settings.TINY)).clamp(1.0, settings.LONGEST)[:, None]
    moved = (a + 2.0 * length * step + length**2 * turn).exp()
    q, noise = moved[:, :-1].clamp(settings.LEAST, settings.MOST), moved[:, -1].clamp(settings.LEAST_NOISE, settings.MOST_NOISE)
    return Prior(q, noise, second.spread, second.scale)


def _stepped(games: Games, prior: Prior) -> tuple[Prior, Any]:
    """One multiplicative step of each game, and where rounding left it possible; see :func:`whybox.solvers.odd_gp_fit._stepped`."""
    torch = sys.modules["torch"]
    q, points = prior.q, games.points
    n = games.odd.shape[1] - 1
    both = covariances(points, q)
    level = both[0][:, 0, 0].clone()
    shown, expected = torch.zeros_like(q), torch.zeros_like(q)
    noise_shown, noise_expected, square = (torch.zeros_like(level) for _ in range(3))
    count, spread = 0.0, prior.spread
    sound = torch.ones_like(level, dtype=torch.bool)
    for which, (y, weight) in enumerate(games.observations):
        k, slope = both[which], both[1 - which]
        factor, failed = factorised(
            k + (settings.CONSTANT * level[:, None, None] if which else games.first_order(level)), level, prior.noise
        )
        sound &= ~failed
        alpha = solved(factor, y)[:, :, None]
        low = below(factor, unit(factor))
        inverse = low.mT @ low
        diagonal = inverse.diagonal(dim1=1, dim2=2)[:, :n]
        ya = (y * alpha[:, :, 0]).sum(1)
        if not which:
            squares = alpha[:, :n, 0] ** 2 / diagonal / (ya / (n + 1)).clamp(min=settings.TINY)[:, None]
            together = (squares / diagonal).sum(1) / (1.0 / diagonal).sum(1)
            spread = torch.maximum(squares.mean(1), together).clamp(min=settings.LEAST_SPREAD)
        moved = points * alpha
        shown = shown + weight * ((moved * (slope @ moved)).sum(1) - q * (alpha.transpose(1, 2) @ k @ alpha)[:, 0])
        expected = expected + weight * ((points * ((inverse * slope) @ points)).sum(1) - q * (inverse * k).sum((1, 2))[:, None])
        noise_shown = noise_shown + weight * (alpha[:, :n, 0] ** 2).sum(1)
        noise_expected = noise_expected + weight * diagonal.sum(1)
        square = square + weight * ya
        count += weight * (n + 1)
    s2 = (square / count).clamp(min=settings.TINY)
    share, own = q / (1.0 - q * q), settings.EVIDENCE
    q = q * ((shown / s2[:, None]).clamp(min=0.0) * share + own) / (expected.clamp(min=0.0) * share + own)
    q = q.clamp(settings.LEAST, settings.MOST)
    rest = prior.noise * level
    rest = rest * (noise_shown / s2 * rest + own) / (noise_expected * rest + own)
    variance = 0.5 * (q.log1p().sum(1).exp() - (-q).log1p().sum(1).exp())
    return Prior(q, (rest / variance).clamp(settings.LEAST_NOISE, settings.MOST_NOISE), spread, s2), sound
