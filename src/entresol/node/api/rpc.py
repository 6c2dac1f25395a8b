"""JSON-RPC 2.0: requests in, answers out, methods by name with typed parameters.

A handler either returns its result (reads), or answers later through a callback (signed writes
and what needs the database).  Every request gets exactly one answer.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from entresol.node.api.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    ApiError,
    invalid_params,
)

_EMPTY: Final = msgspec.Raw(b"{}")
RequestId = int | str | None


class Request(msgspec.Struct):
    """One call; `params` stay undecoded until the method is known."""

    method: str
    jsonrpc: str = "2.0"
    id: RequestId = None
    params: msgspec.Raw = _EMPTY


Answer = Callable[[Any], None]
"""Takes a result or an ApiError."""


@dataclass(frozen=True, slots=True)
class Method:
    """A name, the type of its parameters, and what runs.

    Exactly one of `read(params) -> result` and `call(caller, params, answer)` is set.
    """

    name: str
    parameters: type
    read: Callable[[Any], Any] | None = None
    call: Callable[[Any, Any, Answer], None] | None = None


ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_REQUEST: Final = msgspec.json.Decoder(Request)
_ANY: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Dispatcher:
    """Finds the method, decodes its parameters and composes the answer."""

    def __init__(self, methods: list[Method], testnet: bool, batch_limit: int) -> None:
        self._methods = {method.name: method for method in methods}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            method.name: msgspec.json.Decoder(method.parameters) for method in methods
        }
        self._testnet = testnet
        self._batch_limit = batch_limit
        self.on_error: Callable[[Exception], None] = lambda _: None
        """Told of a handler's bug; the caller gets INTERNAL_ERROR."""

    @property
    def names(self) -> list[str]:
        """Every method's name."""
        return sorted(self._methods)

    def split(self, data: bytes | str) -> list[bytes] | None:
        """The calls of a batch, or None when `data` is one call; raises ApiError."""
        start = data.lstrip()[:1]
        if start not in (b"[", "["):
            return None
        try:
            calls = _ANY.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _parse_error(error) from None
        if not 1 <= len(calls) <= self._batch_limit:
            raise ApiError(
                INVALID_REQUEST,
                f"A batch holds 1 to {self._batch_limit} calls.",
                reason="INVALID_REQUEST",
            )
        return [bytes(call) for call in calls]

    def handle(self, caller: Any, data: bytes | str, send: Callable[[bytes], None]) -> None:
        """Run one call; `send` gets its encoded answer, perhaps before this returns."""
        started = time.time_ns() // 1000
        request_id: RequestId = None

        def answer(value: Any) -> None:
            send(self._compose(request_id, value, started))

        try:
            request = _REQUEST.decode(data)
            request_id = request.id
            self._run(caller, request, answer)
        except ApiError as error:
            answer(error)
        except msgspec.ValidationError as error:
            answer(ApiError(INVALID_REQUEST, f"Not a JSON-RPC call: {error}.", reason="REQUEST"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            answer(_parse_error(error))
        except Exception as error:  # a bug: the caller still gets an answer, the log the rest
            self.on_error(error)
            answer(ApiError(INTERNAL_ERROR, "The node made a mistake.", reason="INTERNAL_ERROR"))

    def _run(self, caller: Any, request: Request, answer: Answer) -> None:
        if request.jsonrpc != "2.0":
            raise ApiError(INVALID_REQUEST, 'jsonrpc must be "2.0".', reason="INVALID_REQUEST")
        method = self._methods.get(request.method)
        if method is None:
            raise ApiError(
                METHOD_NOT_FOUND,
                f"There is no method {request.method[:64]!r}.",
                reason="METHOD_NOT_FOUND",
            )
        try:
            params = self._decoders[method.name].decode(request.params)
        except msgspec.ValidationError as error:
            raise invalid_params(f"{error}.") from None
        self._invoke(method, caller, params, answer)

    @staticmethod
    def _invoke(method: Method, caller: Any, params: Any, answer: Answer) -> None:
        if method.read is not None:
            answer(method.read(params))
        elif method.call is not None:
            method.call(caller, params, answer)

    def handle_query(
        self, caller: Any, name: str, query: dict[str, str], send: Callable[[bytes], None]
    ) -> None:
        """Run one call given as a path and a query string (reads over HTTP GET)."""
        started = time.time_ns() // 1000

        def answer(value: Any) -> None:
            send(self._compose(None, value, started))

        try:
            method = self._methods.get(name)
            if method is None:
                raise ApiError(METHOD_NOT_FOUND, f"There is no method {name[:64]!r}.")
            try:
                params: Any = msgspec.convert(query, type=method.parameters, strict=False)
            except msgspec.ValidationError as error:
                raise invalid_params(f"{error}.") from None
            self._invoke(method, caller, params, answer)
        except ApiError as error:
            answer(error)
        except Exception as error:  # as in handle
            self.on_error(error)
            answer(ApiError(INTERNAL_ERROR, "The node made a mistake.", reason="INTERNAL_ERROR"))

    def _compose(self, request_id: RequestId, value: Any, started: int) -> bytes:
        now = time.time_ns() // 1000
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id}
        if isinstance(value, ApiError):
            body["error"] = value.encode()
        else:
            body["result"] = value
        body["usIn"], body["usOut"], body["usDiff"] = started, now, now - started
        body["testnet"] = self._testnet
        return ENCODER.encode(body)

    def refuse(self, data: bytes | str, error: ApiError) -> bytes:
        """The answer to a call that is not run; carries its id if it has one."""
        try:
            request_id = _REQUEST.decode(data).id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            request_id = None
        return self._compose(request_id, error, time.time_ns() // 1000)

    def compose_error(self, error: ApiError) -> bytes:
        """An answer without an id, for bytes that are no call at all."""
        return self._compose(None, error, time.time_ns() // 1000)


def _parse_error(error: Exception) -> ApiError:
    return ApiError(PARSE_ERROR, f"Not JSON: {error}.", reason="PARSE_ERROR")
