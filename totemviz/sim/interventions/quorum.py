"""What can be done to the quorum: the device's vote, and what the operator expects."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention


class QuorumDevice(Intervention, frozen=True, kw_only=True, tag="quorum_device"):
    """The quorum device gives its votes to ``node`` (``vote``: granted), withdraws them (withdrawn), or falls silent.

    The first time its daemon starts on the node and registers. It polls at half of the device's timeout, and at once
    when there is a new ring. A device that is silent is lost when its timeout is over.
    """

    node: int
    vote: str = "granted"

    @property
    def text(self) -> str:  # noqa: D102
        words = {
            "granted": "let the quorum device vote for node {}",
            "withdrawn": "let the quorum device withdraw its vote from node {}",
            "silent": "let the quorum device of node {} fall silent",
        }
        return words.get(self.vote, "{}").format(self.node)


class ExpectedVotes(Intervention, frozen=True, kw_only=True, tag="expected_votes"):
    """An operator on ``node`` tells the cluster how many votes to expect (``pvecm expected VOTES``)."""

    node: int
    votes: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"pvecm expected {self.votes} on node {self.node}"
