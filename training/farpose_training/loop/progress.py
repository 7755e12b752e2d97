"""How far a run is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

Record = dict[str, float]
"""Numbers by name: the losses of a step, or the log's line of an epoch."""


@dataclass
class Progress:
    """What a run has done; as text it is exact, so that a resumed run has the same means."""

    epoch: int = 0
    """Epochs that are done."""

    losses: list[Record] = field(default_factory=list)
    """Of the steps that are done in the epoch that is not."""

    records: list[Record] = field(default_factory=list)
    """The log, a record per epoch."""

    @property
    def step(self) -> int:
        """Steps that are done in the epoch that is not."""
        return len(self.losses)

    def means(self) -> Record:
        """Of the epoch's losses."""
        return {name: sum(x[name] for x in self.losses) / self.step for name in self.losses[0]}

    def end_epoch(self, record: Record) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self.losses = []
        self.records.append(record)

    def to_json(self) -> str:
        """Everything as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """What `to_json` wrote."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        if self.step == 0:
            return f"the end of epoch {self.epoch}"
        return f"epoch {self.epoch + 1} up to step {self.step}"
