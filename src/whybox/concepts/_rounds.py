"""Ask, read, judge, tell what was wrong, and ask again, a bounded number of times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whybox.concepts._checks import Candidate, Check
from whybox.concepts._parse import edited_text
from whybox.concepts._verdicts import UNJUDGED, judge
from whybox.explanations.counterfactuals import GenerationCost
from whybox.llms import Prompt, Reply, Sampling, TextGenerator

_REPAIR = (
    "That cannot be used: {reasons}.\nWrite the edited text again, without these faults, between the two marker lines {open} and {close}, "
    "and nothing else."
)


@dataclass(frozen=True)
class Task:
    """One edit to be written.

    Args:
        original: position of the text.
        sample: number among the k.
        text: the original.
        source: the concept's value in it, None if not known.
        prompt: what is asked first.
        opening: marker line before the edit.
        closing: marker line after it.
        concept: what is set, None for a flip.
        target: the value asked for.
        fixed: concepts that must keep their values.
    """

    original: int
    sample: int
    text: str
    source: str | None
    prompt: Prompt
    opening: str
    closing: str
    concept: str | None
    target: str
    fixed: tuple[str, ...] = ()

    @property
    def candidate(self) -> Candidate:
        """The task as a candidate without an edit."""
        return Candidate(self.text, None, Reply(""), self.concept, self.target, self.fixed, self.original)


@dataclass(frozen=True)
class Done:
    """The edit that came out.

    Args:
        text: the last edit; empty if there was none.
        failures: (check, reason) of what is wrong with it.
        attempts: replies that were asked for.
        rejected: the checks that earlier edits of this task failed.
    """

    text: str
    failures: tuple[tuple[str, str], ...]
    attempts: int
    rejected: tuple[str, ...]


def cost_of(replies: Sequence[Reply]) -> GenerationCost:
    """What these replies cost."""
    fresh = [reply for reply in replies if not reply.cached]
    return GenerationCost(
        requests=sum(reply.requests for reply in fresh),
        replies=len(replies),
        cache_hits=len(replies) - len(fresh),
        prompt_tokens=sum(reply.prompt_tokens or 0 for reply in fresh),
        reply_tokens=sum(reply.reply_tokens or 0 for reply in fresh),
    )


def work_off(
    llm: TextGenerator,
    tasks: Sequence[Task],
    checks: Sequence[Check],
    sampling: Sampling,
    repairs: int,
    inspect: Callable[[Sequence[Task], Sequence[str]], list[str | None]] | None = None,
) -> tuple[list[Done], GenerationCost]:
    """Write all edits.

    Args:
        llm: who writes.
        tasks: what is to be written.
        checks: what edits must pass.
        sampling: temperature and length.
        repairs: how often an invalid edit is sent back.
        inspect: a last look at those that passed, such as the explained model's; says why one fails, or None.

    Returns:
        One Done a task, and the cost.
    """
    done: list[Done | None] = [None] * len(tasks)
    prompts = [task.prompt for task in tasks]
    texts: list[str | None] = [None] * len(tasks)
    replies = [Reply("")] * len(tasks)
    rejected: list[tuple[str, ...]] = [()] * len(tasks)
    attempts = [0] * len(tasks)
    spent = GenerationCost()
    waiting = list(range(len(tasks)))
    for last in [False] * repairs + [True]:
        if not waiting:
            break
        answers = llm.generate([prompts[i] for i in waiting], sampling)
        spent += cost_of(answers)
        for i, reply in zip(waiting, answers, strict=True):
            replies[i], texts[i] = reply, edited_text(reply.text, tasks[i].opening, tasks[i].closing)
            attempts[i] += 1
        asked = set(waiting)
        seen = [i for i in range(len(tasks)) if done[i] is not None or i in asked]
        verdict = dict(zip(seen, _verdicts(tasks, texts, replies, seen, waiting, checks, inspect), strict=True))
        again = []
        for i in waiting:
            failures = tuple(verdict[i])
            faults = [(name, why) for name, why in failures if name != UNJUDGED]
            hopeless = replies[i].finish == "failed"  # the client has tried already
            if not faults or last or hopeless:
                done[i] = Done(texts[i] or "", failures, attempts[i], rejected[i])
                continue
            rejected[i] += tuple(name for name, _ in failures)
            reasons = "; ".join(why for _, why in faults)
            repair = _REPAIR.format(reasons=reasons, open=tasks[i].opening, close=tasks[i].closing)
            prompts[i] = prompts[i].then(replies[i].text or "(no text)", repair)
            again.append(i)
        waiting = again
    return [d for d in done if d is not None], spent


def _verdicts(
    tasks: Sequence[Task],
    texts: Sequence[str | None],
    replies: Sequence[Reply],
    seen: Sequence[int],
    fresh: Sequence[int],
    checks: Sequence[Check],
    inspect: Callable[[Sequence[Task], Sequence[str]], list[str | None]] | None,
) -> list[list[tuple[str, str]]]:
    """Verdicts on the fresh edits; edits that are done stand before them so that duplicates are noticed, and are not judged again."""
    new = set(fresh)
    order = [i for i in seen if i not in new] + list(fresh)
    candidates = [
        Candidate(tasks[i].text, texts[i], replies[i], tasks[i].concept, tasks[i].target, tasks[i].fixed, _group(tasks[i])) for i in order
    ]
    whole = [check for check in checks if check.name == "duplicate"]
    rest = [check for check in checks if check.name != "duplicate"]
    settled = len(order) - len(fresh)
    failures: list[list[tuple[str, str]]] = [[] for _ in range(settled)] + judge(rest, candidates[settled:])
    for i, found in enumerate(judge(whole, candidates)):
        if i >= settled:
            failures[i] += found
    if inspect is not None:
        passed = [j for j in range(settled, len(order)) if not failures[j]]
        looks = inspect([tasks[order[j]] for j in passed], [texts[order[j]] or "" for j in passed]) if passed else []
        for j, why in zip(passed, looks, strict=True):
            if why is not None:
                failures[j].append(("label", why))
    at = dict(zip(order, failures, strict=True))
    return [at[i] for i in seen]


def _group(task: Task) -> int:
    return task.original
