"""The HTTP and WebSocket server: JSON-RPC at the paths Deribit uses, metrics and health beside it.

WebSocket  /ws/api/v2              JSON-RPC text frames, and binary frames (binary.py)
POST       /api/v2                 one JSON-RPC call or a batch
GET        /api/v2/public/...      reads, parameters in the query string
GET        /metrics, /health
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from entresol.node.api.connection import (
    GOING_AWAY,
    TRY_AGAIN_LATER,
    Caller,
    Connection,
    TokenBucket,
    too_many_requests,
)
from entresol.node.api.errors import INVALID_REQUEST, ApiError
from entresol.node.api.rpc import Dispatcher
from entresol.node.config import ApiConfig
from entresol.node.metrics import Metrics

_JSON: Final = "application/json"

ConnectionFactory = Callable[[Receive, Send], Connection]


class Server:
    """Binds the address, serves until `stop`."""

    def __init__(
        self,
        config: ApiConfig,
        dispatcher: Dispatcher,
        metrics: Metrics,
        make_connection: ConnectionFactory,
        is_healthy: Callable[[], bool],
    ) -> None:
        self._config = config
        self.dispatcher = dispatcher
        self._metrics = metrics
        self._make_connection = make_connection
        self._is_healthy = is_healthy
        self._connections: set[Connection] = set()
        self._http_bucket = TokenBucket(config.calls_per_second, config.burst_calls)
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = config.port
        """The port that is bound, also when the configuration asked for any."""

    async def start(self) -> None:
        """Bind and begin to serve; raises OSError when the address is taken."""
        listener = socket.socket(socket.AF_INET6 if ":" in self._config.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._config.host, self._config.port))
        except OSError as error:
            listener.close()
            raise OSError(
                error.errno,
                f"{self._config.host}:{self._config.port} cannot be bound ({error.strerror}): "
                "stop what listens there or choose another port",
            ) from None
        self.port = listener.getsockname()[1]
        self._server = _Quiet(
            uvicorn.Config(
                self._application(),
                log_config=None,
                access_log=False,
                lifespan="off",
                loop="none",
                ws="websockets-sansio",
                ws_max_size=self._config.maximum_request_bytes,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=2,
                server_header=False,
                limit_concurrency=None,
            )
        )
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._task.done():
                await self._task
                raise OSError("The API server stopped while it started.")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        for connection in list(self._connections):
            connection.end(GOING_AWAY, "the node is stopping")
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task

    def _application(self) -> ASGIApp:
        """WebSockets go straight to a connection, everything else through Starlette's routes."""
        routes = self._routes()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket" and scope["path"] == "/ws/api/v2":
                await self._websocket(receive, send)
            else:
                await routes(scope, receive, send)

        return application

    def _routes(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/v2", self._post, methods=["POST"]),
                Route("/api/v2/{method:path}", self._get, methods=["GET"]),
                Route("/metrics", self._get_metrics, methods=["GET"]),
                Route("/health", self._health, methods=["GET"]),
            ]
        )

    # --- HTTP ----------------------------------------------------------------------------------

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._config.maximum_request_bytes:
                raise ApiError(
                    INVALID_REQUEST,
                    f"A request has at most {self._config.maximum_request_bytes} bytes.",
                    reason="TOO_LARGE",
                )
        return bytes(body)

    async def _post(self, request: Request) -> Response:
        try:
            body = await self._body(request)
            calls = self.dispatcher.split(body)
        except ApiError as error:
            return Response(self.dispatcher.compose_error(error), 400, media_type=_JSON)
        except ClientDisconnect:
            return Response(status_code=400)
        if calls is None:
            return Response(await self._call(body), media_type=_JSON)
        answers = await asyncio.gather(*map(self._call, calls))
        return Response(b"[" + b",".join(answers) + b"]", media_type=_JSON)

    async def _call(self, data: bytes) -> bytes:
        if not self._http_bucket.take(1):
            return self.dispatcher.refuse(data, too_many_requests())
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.dispatcher.handle(Caller(), data, _setter(future))
        return await future

    async def _get(self, request: Request) -> Response:
        name = request.path_params["method"]
        if not name.startswith("public/"):
            error = ApiError(
                INVALID_REQUEST, "Only public reads by GET; POST the call.", reason="GET"
            )
            return Response(self.dispatcher.compose_error(error), 400, media_type=_JSON)
        if not self._http_bucket.take(1):
            answer = self.dispatcher.compose_error(too_many_requests())
            return Response(answer, 429, media_type=_JSON)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        query = dict(request.query_params)
        self.dispatcher.handle_query(Caller(), name, query, _setter(future))
        answer = await future
        return Response(answer, 400 if b'"error":' in answer[:64] else 200, media_type=_JSON)

    async def _get_metrics(self, _: Request) -> Response:
        body, media_type = self._metrics.render()
        return Response(body, media_type=media_type)

    async def _health(self, _: Request) -> Response:
        return Response(
            "ok\n" if self._is_healthy() else "failed\n", 200 if self._is_healthy() else 503
        )

    # --- WebSocket -----------------------------------------------------------------------------

    async def _websocket(self, receive: Receive, send: Send) -> None:
        await receive()
        if len(self._connections) >= self._config.maximum_connections:
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "full"})
            return
        await send({"type": "websocket.accept"})
        connection = self._make_connection(receive, send)
        self._connections.add(connection)
        self._metrics.connections.set(len(self._connections))
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._metrics.connections.set(len(self._connections))
            if connection.end_reason:
                self._metrics.dropped_connections.labels(connection.end_reason.split(":")[0]).inc()


def _setter(future: "asyncio.Future[bytes]") -> Callable[[bytes], None]:
    """Take an answer; a caller that hung up meanwhile does not want it."""

    def put(answer: bytes) -> None:
        if not future.done():
            future.set_result(answer)

    return put


class _Quiet(uvicorn.Server):
    """The node handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signal handlers as they are."""
        yield
