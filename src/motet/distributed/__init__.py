"""One ensemble on several processes: members, rows of the batch, or both are distributed over ranks.

Members that share no parameters exchange only their mean natural parameter (Joint training of neural network ensembles,
section 3.3): a step sends B x C numbers, for networks of any size. Start the processes with ``torchrun``; see
docs/distributed.md.
"""

from motet._internal.moved import moved_names
from motet.distributed.grid import Grid, start
from motet.distributed.launch import current_launch, should_print_message
from motet.distributed.member_shard import Communication, MemberShard
from motet.distributed.member_state import join_members, own_name, split_members

__getattr__ = moved_names(
    __name__,
    {
        "Share": "motet.distributed.MemberShard",
        "launched": "motet.distributed.current_launch",
        "mine_to_say": "motet.distributed.should_print_message",
    },
)

__all__ = [
    "Communication",
    "Grid",
    "MemberShard",
    "current_launch",
    "join_members",
    "own_name",
    "should_print_message",
    "split_members",
    "start",
]
