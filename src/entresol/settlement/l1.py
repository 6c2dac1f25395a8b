"""A typed client of one L1 node: reads, contract calls, event logs, raw transactions."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import requests
from eth_abi import abi
from web3 import HTTPProvider
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from entresol.crypto.keccak import keccak256
from entresol.settlement.compile import compile_contract

REQUEST_TIMEOUT_SECONDS: Final = 60
LOG_RANGE_BLOCKS: Final = 2_000
"""Blocks asked for in one `eth_getLogs`; public nodes refuse more."""


class L1Error(Exception):
    """The L1 node answered with an error; `message` is its own text."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class L1UnavailableError(L1Error):
    """The L1 node cannot be reached; try again when it is back."""


class RevertError(L1Error):
    """A contract refused a call; `message` is its reason, `contract: reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockId:
    """A block as far as reorgs are concerned."""

    number: int
    digest: bytes
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A decoded log of one of our contracts."""

    name: str
    arguments: Mapping[str, Any]
    block: int
    block_hash: bytes
    transaction: bytes
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction that L1 included."""

    transaction: bytes
    block: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    gas_price: int
    blob_gas_used: int
    blob_gas_price: int
    contract: bytes | None

    @property
    def fee(self) -> int:
        """Wei paid in all."""
        return self.gas_used * self.gas_price + self.blob_gas_used * self.blob_gas_price


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


class L1Client:
    """Talks to the JSON-RPC of the L1 node at `url`; holds no state but the connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        # The library's own retries would hide from the caller how long a node is away.
        self._provider = HTTPProvider(
            url,
            request_kwargs={"timeout": REQUEST_TIMEOUT_SECONDS},
            exception_retry_configuration=None,
        )

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Result of one JSON-RPC call; raises L1UnavailableError, RevertError or L1Error."""
        try:
            answer = self._provider.make_request(RPCEndpoint(method), list(parameters))
        except (requests.RequestException, OSError) as error:
            raise L1UnavailableError(f"The L1 node at {self.url} is not reachable.") from error
        except (Web3Exception, ValueError) as error:
            raise L1UnavailableError(f"The L1 node at {self.url} answers nonsense.") from error
        if not isinstance(answer, Mapping):
            raise L1UnavailableError(f"The L1 node at {self.url} answers nonsense.")
        problem = answer.get("error")
        if problem is None:
            return answer.get("result")
        message = str(problem.get("message") if isinstance(problem, Mapping) else problem)
        reason = _revert_reason(problem)
        if reason is not None:
            raise RevertError(reason)
        raise L1Error(message)

    @functools.cached_property
    def chain_id(self) -> int:
        """The chain's id (EIP-155)."""
        return int(self.rpc("eth_chainId"), 16)

    def block(self, number: int | str = "latest") -> BlockId | None:
        """The block with that number or tag, None if the node has none."""
        label = hex(number) if isinstance(number, int) else number
        header = self.rpc("eth_getBlockByNumber", label, False)
        if header is None:
            return None
        return BlockId(
            number=int(header["number"], 16),
            digest=_bytes(header["hash"]),
            time=int(header["timestamp"], 16),
        )

    def head(self) -> BlockId:
        """The newest block."""
        block = self.block()
        if block is None:
            raise L1UnavailableError(f"The L1 node at {self.url} has no blocks.")
        return block

    def pending_time(self) -> int:
        """Time, in seconds, that the next block would have."""
        block = self.rpc("eth_getBlockByNumber", "pending", False)
        return int(block["timestamp"], 16)

    def balance(self, address: bytes) -> int:
        """Wei held by `address`."""
        return int(self.rpc("eth_getBalance", "0x" + address.hex(), "latest"), 16)

    def nonce(self, address: bytes, block: int | None = None) -> int:
        """Transactions of `address` in the chain, up to `block` if one is given."""
        label = "latest" if block is None else hex(block)
        return int(self.rpc("eth_getTransactionCount", "0x" + address.hex(), label), 16)

    def transaction_of(self, address: bytes, nonce: int, block: int) -> str | None:
        """Hash (plain hexadecimal) of the transaction of `address` with `nonce` in `block`."""
        body = self.rpc("eth_getBlockByNumber", hex(block), True)
        for transaction in body["transactions"] if body is not None else []:
            if _bytes(transaction["from"]) == address and int(transaction["nonce"], 16) == nonce:
                return str(transaction["hash"][2:])
        return None

    def code(self, address: bytes) -> bytes:
        """Runtime code at `address`."""
        return _bytes(self.rpc("eth_getCode", "0x" + address.hex(), "latest"))

    def base_fee(self) -> int:
        """Wei per gas that the newest block burned."""
        header = self.rpc("eth_getBlockByNumber", "latest", False)
        return int(header["baseFeePerGas"], 16)

    def blob_base_fee(self) -> int:
        """Wei per blob gas in the next block."""
        return int(self.rpc("eth_blobBaseFee"), 16)

    def knows_transaction(self, digest: bytes) -> bool:
        """True while the node has the transaction, in its pool or in the chain."""
        return self.rpc("eth_getTransactionByHash", "0x" + digest.hex()) is not None

    def receipt(self, digest: bytes) -> Receipt | None:
        """The transaction's receipt, None while it is not in the chain."""
        found = self.rpc("eth_getTransactionReceipt", "0x" + digest.hex())
        if found is None or found.get("blockNumber") is None:
            return None
        contract = found.get("contractAddress")
        return Receipt(
            transaction=digest,
            block=int(found["blockNumber"], 16),
            block_hash=_bytes(found["blockHash"]),
            succeeded=int(found["status"], 16) == 1,
            gas_used=int(found["gasUsed"], 16),
            gas_price=int(found["effectiveGasPrice"], 16),
            blob_gas_used=int(found.get("blobGasUsed") or "0x0", 16),
            blob_gas_price=int(found.get("blobGasPrice") or "0x0", 16),
            contract=None if contract is None else _bytes(contract),
        )

    def send_raw(self, raw: bytes) -> bytes:
        """Hand a signed transaction to the node; its hash."""
        return _bytes(self.rpc("eth_sendRawTransaction", "0x" + raw.hex()))

    def call(self, contract: "Contract", function: str, *arguments: Any) -> Any:
        """Result of a view function at the newest block."""
        request = _request(contract, function, arguments)
        return contract.decode(function, _bytes(self.rpc("eth_call", request, "latest")))

    def simulate(
        self,
        contract: "Contract",
        function: str,
        *arguments: Any,
        sender: bytes,
        value: int = 0,
        versioned_hashes: Sequence[bytes] = (),
    ) -> None:
        """Run a state-changing function in the next block without sending it.

        Raises RevertError with the contract's reason, as L1 would.
        """
        request = _request(contract, function, arguments)
        request |= {"from": "0x" + sender.hex(), "value": hex(value)}
        if versioned_hashes:
            request["blobVersionedHashes"] = ["0x" + digest.hex() for digest in versioned_hashes]
            request["maxFeePerBlobGas"] = hex(2 * self.blob_base_fee())
        self.rpc("eth_call", request, "pending")

    def events(self, contracts: Sequence["Contract"], first: int, last: int) -> list[Event]:
        """Events of `contracts` in blocks `first` to `last`, both included, in chain order."""
        by_address = {contract.address: contract for contract in contracts}
        query = {
            "address": ["0x" + address.hex() for address in by_address],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        logs = self.rpc("eth_getLogs", query)
        events = [by_address[_bytes(log["address"])].decode_event(log) for log in logs]
        return sorted(events, key=lambda event: (event.block, event.log_index))


def _request(contract: "Contract", function: str, arguments: Sequence[Any]) -> dict[str, Any]:
    return {
        "to": "0x" + contract.address.hex(),
        "data": "0x" + contract.encode(function, *arguments).hex(),
    }


def _revert_reason(problem: Any) -> str | None:
    """The reason string of a reverted call, None when the error is another one."""
    if not isinstance(problem, Mapping):
        return None
    data = problem.get("data")
    message = str(problem.get("message", ""))
    if isinstance(data, str) and data.startswith("0x08c379a0"):
        raw = _bytes(data)[4:]
        size = int.from_bytes(raw[32:64], "big")
        return raw[64 : 64 + size].decode(errors="replace")
    if "revert" in message.lower():
        return message
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[Mapping[str, Any], ...]


@functools.cache
def _interface(name: str) -> tuple[dict[str, _Function], dict[bytes, Mapping[str, Any]]]:
    """Functions by name and events by topic of the contract of that name."""
    functions: dict[str, _Function] = {}
    events: dict[bytes, Mapping[str, Any]] = {}
    for item in compile_contract(name).abi:
        if item["type"] == "event":
            events[keccak256(_signature(item).encode())] = item
        elif item["type"] == "function":
            functions[item["name"]] = _Function(
                selector=keccak256(_signature(item).encode())[:4],
                inputs=tuple(_canonical(part) for part in item["inputs"]),
                outputs=tuple(item["outputs"]),
            )
    return functions, events


class Contract:
    """One of our contracts at an address: encodes calls, decodes results and events.

    Addresses are 20 bytes and structs are mappings (tuples in arguments).
    """

    def __init__(self, name: str, address: bytes) -> None:
        self.name = name
        self.address = address
        self._functions, self._events = _interface(name)

    def encode(self, function: str, *arguments: Any) -> bytes:
        """Calldata of a call."""
        target = self._functions[function]
        return target.selector + abi.encode(target.inputs, arguments)

    def decode(self, function: str, result: bytes) -> Any:
        """The value (a tuple if there are several) that `function` returned."""
        outputs = self._functions[function].outputs
        values = abi.decode([_canonical(output) for output in outputs], result)
        named = tuple(_named(part, value) for part, value in zip(outputs, values, strict=True))
        return named[0] if len(named) == 1 else named

    def decode_event(self, log: Any) -> Event:
        """The event in a log of this contract."""
        event = self._events[_bytes(log["topics"][0])]
        topics = [_bytes(topic) for topic in log["topics"][1:]]
        plain = [_canonical(part) for part in event["inputs"] if not part["indexed"]]
        rest = iter(abi.decode(plain, _bytes(log["data"])))
        arguments: dict[str, Any] = {}
        for part in event["inputs"]:
            if part["indexed"]:
                value = abi.decode([_canonical(part)], topics.pop(0))[0]
            else:
                value = next(rest)
            arguments[part["name"]] = _named(part, value)
        return Event(
            name=event["name"],
            arguments=arguments,
            block=int(log["blockNumber"], 16),
            block_hash=_bytes(log["blockHash"]),
            transaction=_bytes(log["transactionHash"]),
            log_index=int(log["logIndex"], 16),
        )


def _named(component: Mapping[str, Any], value: Any) -> Any:
    """A decoded value with structs as mappings and addresses as 20 bytes."""
    if component["type"] == "tuple":
        pairs = zip(component["components"], value, strict=True)
        return {part["name"]: _named(part, member) for part, member in pairs}
    if component["type"] == "address":
        return _bytes(value)
    return value


def _canonical(component: Mapping[str, Any]) -> str:
    """The type as the ABI spells it in signatures, structs expanded."""
    kind = str(component["type"])
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_canonical(member) for member in component["components"])
    return f"({inner}){kind[5:]}"


def _signature(item: Mapping[str, Any]) -> str:
    return f"{item['name']}({','.join(_canonical(part) for part in item['inputs'])})"
