"""Tells what a pack refuses from what only sounds like it: its lessons are questions that it answers.

An intent head learns from a few hundred examples, and takes "will this medicine make me gain weight?" for a wish to
change a dose. A second head reads words and characters beside the embedding, and learned from every question that has
an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from assistant.detectors import features
from assistant.head import Predicted
from domains.pack import Domain
from retrieval.embedder import Vectors

REFUSE_AT = 1.2  # log-odds, of both heads added, from which a question is refused; see NOTES.md
STRENGTH = 10.0  # inverse L2 regularisation
FLOOR = 1e-4  # a probability is taken for no less, and for no more than the rest of one


@dataclass(frozen=True, slots=True)
class Refusals:
    """What one pack refuses."""

    names: frozenset[str]  # of its intents that refuse
    weights: NDArray[np.float64]  # [columns of ``detectors.features``]
    bias: float

    def refused(self, intents: Sequence[Predicted], text: str, vector: Vectors) -> str | None:
        """The intent for which a question is refused; None where it is not.

        Args:
            intents: what the pack's intent head says, likeliest first.
            text: the question.
            vector: [d], its embedding.
        """
        ours = [(name, probability) for name, probability in intents if name in self.names]
        if not ours:
            return None
        share = min(max(sum(probability for _, probability in ours), FLOOR), 1 - FLOOR)
        heard = (features([text], vector[None]) @ self.weights).item() + self.bias
        return ours[0][0] if float(logit(share)) + heard >= REFUSE_AT else None


def fit(domain: Domain, examples: Vectors, lessons: Vectors) -> Refusals | None:
    """Learn what ``domain`` refuses; None where it refuses nothing by intent, or answers no lesson.

    Args:
        domain: the pack.
        examples: [n, d], embeddings of its examples.
        lessons: [m, d], embeddings of its lessons.
    """
    responders = {intent.name: intent.responder for intent in domain.manifest.intents}
    names = frozenset(name for name, responder in responders.items() if responder == "refuse")
    # who is in danger is neither refused nor an honest asker
    told = [n for n, example in enumerate(domain.examples) if responders.get(example.intent) != "escalate"]
    honest = [n for n, lesson in enumerate(domain.lessons) if lesson.answer is not None]
    refused = np.array([domain.examples[n].intent in names for n in told] + [False] * len(honest), dtype=bool)
    if not honest or not refused.any():
        return None
    texts = [domain.examples[n].text for n in told] + [domain.lessons[n].ask for n in honest]
    rows = features(texts, np.concatenate([examples[told], lessons[honest]]))
    model = LogisticRegression(C=STRENGTH, solver="liblinear", class_weight="balanced").fit(rows, refused)
    return Refusals(names, model.coef_[0], float(model.intercept_[0]))
