"""Numbers of the odd Gaussian process, which its two implementations share: one game at a time, and stacks of games on a device."""

# of a fit
CYCLES = 1, 3  # where pairs are few and where single interactions are looked for
FIT_PAIRS = 400  # hyper-parameters are fitted to the first pairs, at most so many; the values see all of them
BEGIN = 8  # pairs a feature to begin with, where there are twice as many: steps on them cost little, and nearing the optimum is worth it
BEGIN_CYCLES = 5
FEW = 1.25  # pairs a feature below which relevances stay in proportion to the values
REFINED = 6.0  # pairs a feature below which the first guess is worth a second look
WIDEN = 4.0  # how much variance the d fitted relevances add, n pairs: 1 + WIDEN d / n; set by the coverage on trees and networks
TRIPLES = 6.5  # pairs a feature below which no single interactions are looked for
ROUNDS = 4
PLAIN_STRENGTHS = (0.03,)  # first order and noise, in which single interactions show first
PLAIN_NOISES = (0.03, 0.1, 0.3, 1.0, 3.0)
LINEAR = 4.0  # pairs a feature from which the data alone say how strong first order is
AGAIN = 1  # cycles after single interactions were found

# of its hyper-parameters
NOISES = (1e-6, 1e-4, 1e-2)  # noise variance over prior variance to begin with, of which the first strength finds one,
FIRST_STRENGTHS = (0.1,)
STRENGTHS = (0.03, 0.1, 0.3)  # and with it one of these: largest relevance to begin with
GRID_PAIRS = 64  # the grid looks at the first pairs alone
LEAST_NOISE, MOST_NOISE = 1e-7, 0.2
LEAST, MOST = 1e-5, 0.6  # bounds of a relevance
FLOOR = 0.01  # relevance of a feature whose first guess is zero, over the largest
EVIDENCE = 1.0  # prior weight of the present relevances: as much as one well determined coefficient for each
EVEN_WEIGHT = 0.5
ENDS = 1e-8  # noise of the full coalition's observation, which is known exactly; for conditioning alone
VAGUE = 100.0  # prior variance of first order at a point where relevances say nothing of it, over the variance of the process
CONSTANT = 100.0  # prior variance of the even part's constant, over the variance of the odd part
LONGEST = 2.0  # of an extrapolation, where 1 is the second step itself; longer ones overshoot
LEAST_SPREAD = 0.6  # of the errors of leaving one out: where features that matter are few, pairs have likes that give them away
TINY = 1e-300


def schedule(pairs: int, d: int) -> list[tuple[int, int]]:
    """How hyper-parameters are fitted to so many pairs of d features: pairs and cycles of each stage."""
    seen, few = min(pairs, FIT_PAIRS), BEGIN * d
    return [(few, BEGIN_CYCLES), (seen, AGAIN)] if seen >= 2 * few else [(seen, CYCLES[pairs >= TRIPLES * d])]
