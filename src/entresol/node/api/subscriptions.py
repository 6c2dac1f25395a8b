"""Methods of a WebSocket connection: subscribe, unsubscribe, and their private twins."""

from typing import Any

from entresol.node.api.errors import ApiError, invalid_params
from entresol.node.api.parameters import Channels, Nothing
from entresol.node.api.rpc import Answer, Method
from entresol.node.feed import Feed

_MUST_BE_WEBSOCKET = 10030


class Subscriptions:
    """Subscribes connections to the feed."""

    def __init__(self, feed: Feed, channels_per_connection: int) -> None:
        self._feed = feed
        self._limit = channels_per_connection

    def methods(self) -> list[Method]:
        """Every subscription method of the API."""
        return [
            *(
                Method(f"{scope}/subscribe", Channels, call=self._subscribe)
                for scope in ("public", "private")
            ),
            *(
                Method(f"{scope}/unsubscribe", Channels, call=self._unsubscribe)
                for scope in ("public", "private")
            ),
            Method("public/unsubscribe_all", Nothing, call=self._unsubscribe_all),
        ]

    @staticmethod
    def _connection(caller: Any) -> Any:
        if caller.connection is None:
            raise ApiError(
                _MUST_BE_WEBSOCKET, "Subscriptions need a WebSocket.", reason="MUST_BE_WEBSOCKET"
            )
        return caller.connection

    def _subscribe(self, caller: Any, params: Channels, answer: Answer) -> None:
        connection = self._connection(caller)
        wanted = [name for name in dict.fromkeys(params.channels) if len(name) <= 128]
        if len(wanted) != len(dict.fromkeys(params.channels)):
            raise invalid_params("A channel's name has at most 128 characters.")
        new = [name for name in wanted if name not in connection.channels]
        if len(connection.channels) + len(new) > self._limit:
            raise invalid_params(f"A connection may have {self._limit} channels.")
        self._feed.check(new)
        answer(wanted)
        for name in new:
            connection.channels.add(name)
            self._feed.subscribe(connection, name)

    def _unsubscribe(self, caller: Any, params: Channels, answer: Answer) -> None:
        connection = self._connection(caller)
        for name in params.channels:
            connection.channels.discard(name)
            self._feed.unsubscribe(connection, name)
        answer(params.channels)

    def _unsubscribe_all(self, caller: Any, _: Nothing, answer: Answer) -> None:
        connection = self._connection(caller)
        self._feed.forget(connection)
        connection.channels.clear()
        answer("ok")
