"""The causal embedding: vectors of texts in which the nearest text with another value of a concept is a good counterfactual."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whybox.concepts._classifiers import ConceptClassifier
from whybox.concepts._concept import Concept, by_name
from whybox.concepts._contrast import ContrastSets, contrastive_loss
from whybox.concepts._embedding_bases import Frozen, ProjectedEncoder, Retuned, Tuned, check_probe, probe, together, unit
from whybox.concepts._graph import CausalGraph, Estimand, check_estimand
from whybox.concepts._source import CounterfactualSource, check_texts
from whybox.concepts._training import TrainingHistory, TrainingOptions, fit, read_tensors, split, write_tensors
from whybox.concepts.encoders import Embedding, Encoder, TransformerEncoder
from whybox.errors import InputError, MissingDependencyError, OptionError
from whybox.explanations.counterfactuals import Counterfactuals
from whybox.typing import Ints

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "whybox.causal_embedding", 1
_ALL = ""  # the name of the one encoder that serves every concept


@dataclass(frozen=True, eq=False)
class CausalEmbedding:
    """An encoder trained so that nearness means "the same text, were it not for the concept". Made by :meth:`fit`.

    For a text and a concept it wants this order of similarity: counterfactuals of the text first, then texts of others that are equal in
    everything the concept must leave alone, then edits of the text that moved such a thing, then all other texts. Each of the six pairs of
    these sets is a term of the loss. Source: Gat et al. (2024), arXiv 2310.00603; many queries share a step here, and each is compared with
    every text of the step.

    Args:
        encoders: concept to encoder, or one encoder under "" that serves all concepts.
        histories: what happened in the training of each.
        settings: how it was trained; JSON values.

    Example:
        >>> from whybox.concepts import CausalEmbedding, StructuralCounterfactuals
        >>> from whybox.datasets import concept_reviews
        >>> data = concept_reviews(30)
        >>> words = ["cheap", "fancy", "food", "waiter", "loud", "return"]
        >>> base = lambda texts: np.array([[1.0 + t.count(w) for w in words] for t in texts])
        >>> labels = {c.name: data.values(c.name) for c in data.concepts}
        >>> source = StructuralCounterfactuals(data, estimand="direct")
        >>> e = CausalEmbedding.fit(base, data.texts, source, data.concepts, labels=labels, options=TrainingOptions(epochs=2))
        >>> e(data.texts).shape, e.histories["food"].stopped
        ((30, 30), 'epochs')
    """

    encoders: Mapping[str, Encoder]
    histories: Mapping[str, TrainingHistory] = field(default_factory=dict, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def fit(
        cls,
        base: Encoder,
        texts: Sequence[str],
        counterfactuals: Counterfactuals | Sequence[Counterfactuals] | CounterfactualSource,
        concepts: Sequence[Concept],
        *,
        labels: Mapping[str, Sequence[str | None]] | None = None,
        classifier: ConceptClassifier | None = None,
        graph: CausalGraph | None = None,
        estimand: Estimand | None = None,
        tune: bool = False,
        treatments: Sequence[str] | None = None,
        shared: bool = False,
        dimension: int = 128,
        temperature: float = 0.1,
        samples: int = 5,
        k: int = 1,
        options: TrainingOptions | None = None,
        seed: int = 0,
        device: str | None = None,
        checkpoint: str | PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> CausalEmbedding:
        """Train on originals and their counterfactuals.

        Args:
            base: where training starts: any encoder. It is not changed.
            texts: n originals.
            counterfactuals: valid edits of them by anybody: results of an LLM, of people, of a structural model; or a source, which is then
                asked for k edits of every text, concept and value.
            concepts: c concepts.
            labels: concept to the value of each original, None where it is not known. None (default) asks the classifier.
            classifier: tells the concepts of edits. None (default) trusts each edit to have moved what it was asked to move.
            graph: tells what setting a concept may move besides. None (default): nothing.
            estimand: "total" or "direct"; None (default) is "total" with a graph and "direct" without.
            tune: train the base itself, which must be a TransformerEncoder. Default False: the base's vectors stay as they are, and a
                matrix is learnt that goes on top, which takes seconds to minutes.
            treatments: the concepts whose counterfactuals will be asked for. Default None: all.
            shared: one encoder for all concepts. Default False: one for each, as published; what must be near for one concept
                must be far for another, and the vectors are better for it.
            dimension: of the vectors, at most the base's. Default 128; with ``tune`` the base's.
            temperature: of the loss. Default 0.1.
            samples: the most texts drawn of each set of a query. Default 5.
            k: edits a text, concept and value, if counterfactuals is a source. Default 1.
            options: epochs, batch, rate, patience. Default: TrainingOptions(), with ``tune`` TrainingOptions(12, 8, 2e-5, patience=2).
            seed: of everything that is drawn. On a CPU the same seed gives the same bits.
            device: where to train, such as "cuda"; None (default): the CPU, with ``tune`` the base's device.
            checkpoint: a folder that a training that was stopped goes on from. Default None.
            progress: show a bar of epochs. Default None: no.

        Raises:
            InputError: texts, edits and labels do not fit together, or no text has counterfactuals.
            OptionError: an option has a value that does not exist.
            CheckpointError: the checkpoint belongs to another training.
            MissingDependencyError: torch is not installed.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError("torch", "torch", "CausalEmbedding.fit") from error
        _check(dimension=dimension, samples=samples, k=k)
        if not isinstance(temperature, (int, float)) or not 0 < temperature < np.inf:
            raise OptionError(f"temperature: expected a positive number, got {temperature!r}")
        if tune and not isinstance(base, TransformerEncoder):
            raise OptionError(f"tune: only a TransformerEncoder can be trained itself, got {type(base).__name__}; leave tune out")
        meant = check_estimand(estimand) if estimand is not None else "direct" if graph is None else "total"
        chosen = options or (TrainingOptions(12, 8, 2e-5, patience=2) if tune else TrainingOptions())
        originals = check_texts(texts)
        results = _results(counterfactuals, originals, concepts, labels, k, seed)
        sets = ContrastSets.of(originals, results, concepts, labels=labels, classifier=classifier, graph=graph, estimand=meant)
        names = [c.name for c in sets.concepts]
        wanted = names if treatments is None else list(treatments)
        if not wanted or isinstance(treatments, str) or not set(wanted) <= set(names):
            raise OptionError(f"treatments: expected some of the concepts {names}, got {treatments!r}")
        where = torch.device(device) if device is not None else next(base.model.parameters()).device if tune else torch.device("cpu")  # type: ignore[attr-defined]  # checked above
        start = (
            Tuned(base, sets.texts, where) if isinstance(base, TransformerEncoder) and tune else Frozen(base, sets.texts, dimension, where)
        )
        settings = {
            "estimand": meant,
            "tune": tune,
            "shared": shared,
            "dimension": dimension,
            "temperature": float(temperature),
            "samples": samples,
            "seed": int(seed),
            "concepts": wanted,
            "texts": len(originals),
            "edits": len(sets.texts) - len(set(originals)),
            "options": {name: value for name, value in vars(chosen).items() if name != "save_seconds"},
        }
        job = hashlib.sha256(repr((sorted(settings.items(), key=str), sets.digest(), start.digest())).encode()).hexdigest()
        if checkpoint is not None:
            Path(checkpoint).mkdir(parents=True, exist_ok=True)
        encoders: dict[str, Encoder] = {}
        histories: dict[str, TrainingHistory] = {}
        units = {_ALL: [names.index(name) for name in wanted]} if shared else {name: [names.index(name)] for name in wanted}
        for number, (name, columns) in enumerate(units.items()):
            query, treatment = sets.examples(columns)
            if not len(query):
                raise InputError(
                    f"counterfactuals: no text has a usable edit for {name or wanted!r}; edit more texts, or look at the labels"
                )
            modules, vectors, encoder = start.begin()

            def loss(part: Ints, rng: np.random.Generator, q: Ints = query, t: Ints = treatment, embed: Any = vectors) -> Tensor:
                pool = sets.pool(q[part], t[part], samples, rng)
                z = torch.nn.functional.normalize(embed(pool), dim=1)
                return contrastive_loss(z[np.searchsorted(pool, q[part])] @ z.T, sets.masks(q[part], t[part], pool), temperature)

            train, held = split(sets.groups[query], chosen.validation, seed, "causal embedding")
            label = f"causal embedding {name}".strip()
            histories[name] = fit(
                modules,
                loss,
                train=train,
                validation=held,
                options=chosen,
                seed=seed,
                name=label,
                device=where,
                checkpoint=None if checkpoint is None else Path(checkpoint) / f"{number}.safetensors",
                job=f"{job} {name}",
                progress=bool(progress),
            )
            encoders[name] = encoder()
        return cls(encoders, histories, settings)

    @property
    def concepts(self) -> tuple[str, ...]:
        """What it was trained for."""
        return tuple(self.settings.get("concepts", ())) or tuple(self.encoders)

    def for_concept(self, concept: str) -> Encoder:
        """The encoder for interventions on one concept.

        Raises:
            OptionError: it was not trained for the concept.
        """
        if concept not in self.concepts:
            raise OptionError(f"concept: expected one of {sorted(self.concepts)}, got {concept!r}")
        return self.encoders[_ALL] if _ALL in self.encoders else self.encoders[concept]

    def __call__(self, texts: Sequence[str]) -> Embedding:
        """(n, e) vectors for any concept: where there is an encoder for each, all their vectors side by side, so that cosines are averaged.

        What serves one concept best is ``for_concept(concept)``.
        """
        if _ALL in self.encoders:
            return self.encoders[_ALL](texts)
        return np.concatenate([unit(v) for v in together(list(self.encoders.values()), texts)], axis=1)

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights and settings as safetensors. The base is not saved; with ``tune`` its trained weights are."""
        import torch

        tensors, probes = {}, {}
        for i, (name, encoder) in enumerate(self.encoders.items()):
            if isinstance(encoder, ProjectedEncoder):
                tensors[f"{i}.weight"] = torch.from_numpy(np.array(encoder.weight))
                probes[name] = probe(encoder.base)
            elif isinstance(encoder, TransformerEncoder):
                tensors |= Retuned.tensors(encoder, f"{i}.")
        header = {
            "format": FORMAT,
            "version": VERSION,
            "encoders": list(self.encoders),
            "settings": dict(self.settings),
            "probes": probes,
            "histories": {name: vars(history) for name, history in self.histories.items()},
        }
        write_tensors(path, tensors, header)

    @classmethod
    def load(cls, path: str | PathLike[str], base: Encoder) -> CausalEmbedding:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            base: the encoder that training started from; with ``tune``, any TransformerEncoder of the same architecture and tokenizer.

        Raises:
            InputError: it is not such a file, or the base is another one.
        """
        tensors, header = read_tensors(path, FORMAT, VERSION)
        encoders: dict[str, Encoder] = {}
        for i, name in enumerate(header["encoders"]):
            if header["settings"].get("tune"):
                encoders[name] = Retuned.load(fspath(path), base, tensors, f"{i}.")
            else:
                check_probe(base, header["probes"][name], fspath(path))
                encoders[name] = ProjectedEncoder(base, tensors[f"{i}.weight"].numpy())
        histories = {name: TrainingHistory.of(found) for name, found in header["histories"].items()}
        return cls(encoders, histories, header["settings"])


def _results(
    given: Counterfactuals | Sequence[Counterfactuals] | CounterfactualSource,
    texts: tuple[str, ...],
    concepts: Sequence[Concept],
    labels: Mapping[str, Sequence[str | None]] | None,
    k: int,
    seed: int,
) -> list[Counterfactuals]:
    """Results as they are; a source is asked for every concept and value."""
    if isinstance(given, Counterfactuals):
        return [given]
    if isinstance(given, Sequence):
        if wrong := [type(item).__name__ for item in given if not isinstance(item, Counterfactuals)]:
            raise InputError(f"counterfactuals: expected Counterfactuals, got {wrong[0]}")
        return list(given)
    if not isinstance(given, CounterfactualSource):
        raise InputError(f"counterfactuals: expected Counterfactuals or a source of them, got {type(given).__name__}")
    current = {} if labels is None else labels
    return [
        given.counterfactuals(texts, name, to=value, k=k, seed=seed, current=current.get(name))
        for name, concept in by_name(concepts).items()
        for value in concept.values
    ]


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise OptionError(f"{name}: expected a positive integer, got {value!r}")
