"""Every rule that decides something here: its number, what it says, and what happens to people where it is not kept.

The audit line, the errors, the contract's clauses and the tests cite these numbers; ``make docs`` shows where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import attrs


@attrs.frozen
class Rule:
    """One rule.

    Attributes:
        number: A letter for its subject (A access, E sessions, F form and facts, L loading, S storage, W
            the servers of workspaces), and a digit.
        sentence: What it says.
        threat: What happens without it.
    """

    number: str
    sentence: str
    threat: str


def _by_number(rules: Iterable[Rule]) -> Mapping[str, Rule]:
    return MappingProxyType({rule.number: rule for rule in rules})


RULES: Mapping[str, Rule] = _by_number(
    (
        Rule(
            "A1",
            "A workspace opens from its first day to its last, the earlier of its own and the grant's, both days of "
            "access in the hub's time zone.",
            "Somebody works on data after their access has ended.",
        ),
        Rule(
            "A2",
            "A person is their whole name as the hub compares it, and has what is granted for certain.",
            "One person is taken for another whose name looks alike.",
        ),
        Rule(
            "A3",
            "Nothing starts without a workspace that was chosen, and that the backend itself confirms for the pod.",
            "A guessed name, or a grant that was taken away a moment ago, opens a workspace.",
        ),
        Rule(
            "A4",
            'Without a certain answer the answer is "not now", never "no" and never "yes"; a refusal tells nothing of '
            "other people's workspaces.",
            "An outage reads as access that was taken away, or a refusal tells who works on what.",
        ),
        Rule(
            "E1",
            "A running server rests on its user's access: the backend is asked again as it is for a start, and access "
            "that has ended is told from access that goes on, for each person alone.",
            "Somebody works on after their access was taken away, or loses a server to a change for somebody else.",
        ),
        Rule(
            "E2",
            "A person is told beforehand when their access ends, where that is known.",
            "Somebody's work is cut off in the middle, and what they had not saved is lost.",
        ),
        Rule(
            "E3",
            "A pod has its last day as its own deadline, which Kubernetes keeps to.",
            "Somebody works on after their last day, because the hub was away.",
        ),
        Rule(
            "E4",
            "What is not certain ends no running server, unless it stays so for as long as the operator allows.",
            "An outage of the backend takes everybody's work away at once, or keeps access open for ever.",
        ),
        Rule(
            "E5",
            "A hub that starts reviews every server that runs before it answers anybody's form.",
            "Access that was taken away while the hub was down goes on.",
        ),
        Rule(
            "E6",
            "What the identity provider says of a person is asked anew before a start, where the authenticator can. "
            "Lost, unreadable or too old, it is unknown, and then grants and denies nothing.",
            "A lost sign-in reads as access that was taken away, or an old one keeps it open.",
        ),
        Rule(
            "E7",
            "A server is shared with nobody who may not open its workspace.",
            "Somebody without a grant works in a colleague's server, also after that one went on to another workspace.",
        ),
        Rule(
            "F1",
            "Texts of others are shown as text and bounded wherever they go; tokens and identity claims go nowhere.",
            "A title runs as a script in a colleague's browser, or a log hands out a session.",
        ),
        Rule(
            "F2",
            "The form shows each workspace of its reader once, with its state in words.",
            "Somebody whose workspace has closed is left to guess why.",
        ),
        Rule(
            "F3",
            "A workspace whose facts are wrong is set aside by name, with its reason, and hides no other.",
            "One mistake in one workspace closes the hub to everybody.",
        ),
        Rule(
            "F4",
            "A workspace that asks for more than the operator's policy allows is set aside whole, with its reason.",
            "Whoever may write a workspace takes rights, nodes or images that the site has not meant it to have.",
        ),
        Rule(
            "L1",
            "The plugin is the one that is named, or the hub does not start.",
            "Another plugin decides who may open what.",
        ),
        Rule(
            "L2",
            "A plugin is verified before it is used, and every problem is told at once.",
            "What is missing shows at the first person's start, as a failure.",
        ),
        Rule(
            "L3",
            "Loading reads the environment once, whole, and asks no API.",
            "A hub that restarts during an outage does not come back, or runs on half of its settings.",
        ),
        Rule(
            "S1",
            "A pod mounts exactly its workspace's volumes, and nothing else that could hold somebody's files.",
            "Files of one project leave with another's pod.",
        ),
        Rule(
            "S2",
            "A claim is used by the workspace that its owner annotation names; the shared one is read-only; none is "
            "made twice, shrunk or deleted.",
            "One project reads, overwrites or loses another's files.",
        ),
        Rule(
            "S3",
            "A claim without an owner is taken over only where it is certain to be the workspace's.",
            "A database's claim, or another project's, is mounted into a workspace.",
        ),
        Rule(
            "S4",
            "Names made for Kubernetes are legal, and no two workspaces come to the same.",
            "Two workspaces share what is named after them.",
        ),
        Rule(
            "S5",
            "Nothing of one start is left for the next.",
            "A server goes on with the image, limits or volumes of the workspace before.",
        ),
        Rule(
            "S6",
            "An owner is a workspace, not a name: one that is made anew under an old name is another.",
            "A new project is given the files of the one that had its name.",
        ),
        Rule(
            "S7",
            "Which claim is a workspace's own is written down once and not changed.",
            "Files seem to be lost, because a start looks for them in another claim.",
        ),
        Rule(
            "S8",
            "A person's claim is mounted for that person in that workspace alone; it has a name that nobody chooses, "
            "and is never adopted.",
            "Somebody reads what another person keeps in their own home folder, or takes it to another project.",
        ),
        Rule(
            "S9",
            "A workspace with a namespace of its own has its pods and claims there and nowhere else; it is one that "
            "the operator's policy and the namespace's own label allow.",
            "Pods of a project run among another's, or among those of the cluster itself.",
        ),
        Rule(
            "W1",
            "A server with a name opens the workspace that it is named after, and no other; the one without a name "
            "opens the one that is chosen.",
            "Somebody believes to be in one workspace, and saves into another.",
        ),
        Rule(
            "W2",
            "A person has no more workspaces running at once than the operator allows, however they are started.",
            "Somebody takes files from one project's server to another's, side by side, or takes the room of many.",
        ),
    )
)
"""Every rule, by its number."""
