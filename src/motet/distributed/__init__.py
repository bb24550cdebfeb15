"""One ensemble on several processes: members, rows of the batch, or both are shared out among ranks.

Members that share no parameters need nothing of each other but their mean natural parameter (Joint training of Neural
Network Ensembles, section 3.3): a step sends B x C numbers, whatever the size of the networks. Start the processes
with ``torchrun``; see docs/distributed.md.
"""

from motet.distributed.grid import Grid, start
from motet.distributed.launch import launched, mine_to_say
from motet.distributed.member_state import join_members, own_name, split_members
from motet.distributed.share import Communication, Share

__all__ = [
    "Communication",
    "Grid",
    "Share",
    "join_members",
    "launched",
    "mine_to_say",
    "own_name",
    "split_members",
    "start",
]
