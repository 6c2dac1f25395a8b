"""History after a restart: the journal's replay told to it as the sequencer tells it live."""

from entresol.kernel import layout
from entresol.node.history import History
from entresol.sequencing.entries import (
    BatchSealed,
    BlockClosed,
    BlockOpened,
    Entry,
    MessageAccepted,
)
from entresol.sequencing.execution import Execution
from entresol.sequencing.lane_state import read_lane_tip
from entresol.sequencing.receipts import Receipt
from entresol.sequencing.sequencer import Committed


class CatchUp:
    """Feeds replayed blocks to the history as the sequencer did live."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._index = 0

    def note(self, execution: Execution, entry: Entry) -> None:
        """An entry was just applied."""
        events = execution.read_events()
        header = execution.header
        receipts = []
        match entry:
            case BlockOpened():
                self._index = 0
            case MessageAccepted(_, message):
                if message[6] == layout.LANE_MESSAGE:
                    receipts.append(self._receipt(execution, message))
                self._index += 1
            case BatchSealed(_, _, next_block):
                self._history.note_sealed(next_block)
                return
            case BlockClosed():
                return
        time_ms = int(header["last_time_ms"])
        self._history.note_waiting(Committed(execution.next_block, time_ms, events, receipts))

    def _receipt(self, execution: Execution, message: bytes) -> Receipt:
        header = execution.header
        lane = int.from_bytes(message[:4], "little")
        return Receipt(
            inbox_position=int(header["inbox_position"]),
            inbox_hash=header["inbox_hash"].tobytes(),
            block=execution.next_block,
            index=self._index,
            lane=lane,
            sequence=int.from_bytes(message[16:24], "little"),
            tip=read_lane_tip(execution.memory, lane),
            previous_header_hash=header["last_header_hash"].tobytes(),
        )
